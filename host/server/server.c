#include "server/server.h"

#include "core/look.h"

#include "api/api.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/thread.h"
#include "broker/broker.h"
#include "confine/confine.h"
#include "confine/renounce.h"
#include "core/usage.h"
#include "server/status.h"
#include "service/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MAKERS 2 /* images and snapshots that are made at a time: each takes a processor */
#define ARENAS 4
/* That a request may ask for, where nothing else is set and the machine has twice as much. */
#define MEMORY_MAX_MIB 4096
/* From the end of what the front is told to its own: it has graces of its own. */
#define FRONT_END_MS 60000
#define TOLD_MS 1000 /* for the front to say how it is, to who asks */

struct server {
    const struct server_options *options;
    struct config config; /* as it was at the start */
    struct broker *broker;
    struct child front;
    struct confined held; /* by the front */
    int leash;            /* owned, as all descriptors here; -1: not yet */
    int line;             /* the broker's end of the line */
    int tokens;           /* the file, until the front has it; -1: there is none */
    int state;            /* while it is open, no other server has the place that the front keeps things in */
    int signals;
    int sockets[LISTEN_MAX], socket_count;
    struct front_order order; /* what the front was told last */
    pthread_t serving, warming;
    bool serves, warms;
    int stop_warming; /* an eventfd */
    int status;       /* where one asks how it is */
    int asking;       /* who has asked, until the front has said its part; -1: nobody */
    int64_t asked_until;
    bool stopping;
};

/* ---- signals ------------------------------------------------------------------------------------- */

static int signal_fd = -1;

static void on_signal(int number)
{
    unsigned char byte = (unsigned char)number;
    int saved = errno;

    if (write(signal_fd, &byte, 1) < 0)
        byte = 0; /* the pipe is full of signals */
    errno = saved;
}

static int catch_signals(struct server *s, struct error *e)
{
    const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal};
    int channel[2];

    if (pipe2(channel, O_CLOEXEC | O_NONBLOCK) < 0)
        return error_errno(e, "pipe");
    s->signals = channel[0];
    signal_fd = channel[1];
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        sigaction(signals[i], &action, NULL);
    /* What came until then was for the handlers before. */
    return deadline_poll(NULL, 0, 0, &(struct cancel){.fd = s->options->cancel_fd}, e) < 0 ? -1 : 0;
}

/* ---- what the front is told ---------------------------------------------------------------------- */

static struct request_limits limits_of(const struct server_options *o)
{
    uint64_t half = usage_memory_total() / 2 >> 20;
    struct request_limits ret = {.timeout = o->timeout_max,
                                 .shape.memory_mib = o->memory_max,
                                 .shape.vcpus = o->vcpus_max,
                                 .shape.disk_mib = REQUEST_DISK_MAX};

    if (ret.shape.memory_mib == 0)
        ret.shape.memory_mib = half < REQUEST_MEMORY_MIN ? REQUEST_MEMORY_MIN
                               : half < MEMORY_MAX_MIB   ? half
                                                         : MEMORY_MAX_MIB;
    if (ret.shape.vcpus == 0)
        ret.shape.vcpus = usage_processors();
    return ret;
}

static unsigned workers(const struct server_options *o)
{
    unsigned processors = usage_processors();

    if (o->workers)
        return (unsigned)o->workers;
    return processors > 32 ? 64 : processors * 2;
}

static int put_text(char *out, size_t size, const char *text, const char *what, struct error *e)
{
    if (strlen(text) >= size)
        return error_set(e, ERROR_USAGE, "%s is longer than %zu bytes", what, size - 1);
    strcpy(out, text);
    return 0;
}

static enum log_level log_level(void)
{
    return log_wants(LOG_DEBUG) ? LOG_DEBUG : log_wants(LOG_PROGRESS) ? LOG_PROGRESS : LOG_QUIET;
}

/* What it keeps is in a directory of its own, of which it may be made the owner. */
static int take_state(struct server *s, char out[static PATH_MAX], struct error *e)
{
    cleanup_free char *path = NULL;

    s->state = ledger_take_place(s->config.home, &path, e);
    return s->state < 0 ? -1 : put_text(out, PATH_MAX, path, "the state directory's name", e);
}

static int fill_order(struct server *s, struct error *e)
{
    const struct server_options *o = s->options;
    const struct config *c = &s->config;
    cleanup_free char *data = realpath(c->data, NULL);
    struct api_options *a = &s->order.options;

    *a = (struct api_options){.limits = o->limits,
                              .queue = o->queue,
                              .queue_seconds = o->queue_seconds,
                              .receive_seconds = o->receive_seconds,
                              .connections = o->connections,
                              .client_connections = o->client_connections,
                              .sessions = o->sessions,
                              .client_sessions = o->client_sessions,
                              .grace_seconds = o->grace_seconds,
                              .files_max = c->files_max,
                              .files_owner_max = c->files_owner_max,
                              .places = broker_pool_max(c) + workers(o),
                              .tokens = o->tokens != NULL,
                              .request = limits_of(o),
                              .settings = {.timeout = c->timeout, .max_output = c->max_output},
                              .log_level = log_level()};
    s->order.word = FRONT_BEGIN;
    s->order.sockets = (uint32_t)s->socket_count;
    if (put_text(a->cors, sizeof(a->cors), o->cors ? o->cors : "", "--cors-origin", e) < 0 ||
        put_text(a->data, sizeof(a->data), data ? data : c->data, "CAPSID_DATA", e) < 0 ||
        put_text(a->tokens_path, sizeof(a->tokens_path), o->tokens ? o->tokens : "", "--tokens", e) < 0)
        return -1;
    return take_state(s, a->state, e);
}

static int open_tokens(const struct server_options *o, int *ret, struct error *e)
{
    *ret = o->tokens ? file_open(o->tokens, O_RDONLY, e) : -1;
    return o->tokens && *ret < 0 ? error_wrap(e, "the token file") : 0;
}

static int check_safety(struct server *s, struct error *e)
{
    const struct server_options *o = s->options;
    bool open = listen_is_public(s->sockets, s->socket_count);

    s->order.options.check_host = !open && !o->tokens;
    if (!open || o->tokens)
        return 0;
    if (!o->anonymous)
        return error_set(e, ERROR_USAGE,
                         "others could reach the server and run programs: give --tokens FILE, or "
                         "--anonymous if that is meant, or bind to 127.0.0.1");
    log_warning("everyone who can reach this server can run programs on it");
    return 0;
}

/* ---- the front ----------------------------------------------------------------------------------- */

static int spawn_front(struct server *s, int leash, struct error *e)
{
    const struct confinement *confine = host_confinement(broker_host(s->broker), e);
    cleanup_free char *self = realpath("/proc/self/exe", NULL);
    cleanup_free char *definitions = text_format("%s/languages", s->order.options.data);
    cleanup_free char *look = text_format("%s/" LOOK_PROGRAM, s->order.options.data); /* for guests */
    const char *const argv[] = {self, FRONT_ARGUMENT, NULL};
    const struct child_spec spec = {
        .argv = argv, .stdin_fd = leash, .stdout_fd = STDERR_FILENO, .stderr_fd = STDERR_FILENO};
    const struct confine_front_need need = {
        .program = self, .readable = definitions, .file = look, .writable = s->order.options.state};

    if (!self)
        return error_errno(e, "/proc/self/exe");
    return !confine || confine_spawn_front(&s->front, &s->held, confine, &need, &spec, e) < 0 ? -1 : 0;
}

/* Tells it to begin. The broker serves the line's other end. */
static int begin_front(struct server *s, int line, struct error *e)
{
    int passed[LISTEN_MAX + 2], count = 0;

    passed[count++] = line;
    for (int i = 0; i < s->socket_count; i++)
        passed[count++] = s->sockets[i];
    if (s->tokens >= 0)
        passed[count++] = s->tokens;
    int result = front_send_order(s->leash, &s->order, passed, (size_t)count, e);
    close_fd(&s->tokens);
    return result;
}

static int start_front(struct server *s, struct error *e)
{
    int leash[2], line[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, leash) < 0)
        return error_errno(e, "socketpair");
    s->leash = leash[0];
    int result = spawn_front(s, leash[1], e);
    close_fd(&leash[1]);
    if (result < 0)
        return -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line) < 0)
        return error_errno(e, "socketpair");
    s->line = line[1];
    result = begin_front(s, line[0], e);
    close_fd(&line[0]);
    return result;
}

/* It has ended: by itself after FRONT_STOP, or because of something. */
static int reap_front(struct server *s, struct error *e)
{
    char violation[CONFINE_VIOLATION_MAX];
    int status = 0;

    confine_violation(&s->held, &s->front, violation);
    if (child_wait(&s->front, deadline_in_ms(FRONT_END_MS), NULL, &status, e) <= 0)
        return -1;
    if (status == 0)
        return 0;
    if (violation[0])
        return error_set(e, ERROR_GENERAL,
                         "the part that reads requests was ended by its system call filter: %s", violation);
    return error_set(e, ERROR_GENERAL, "the part that reads requests ended with %s %d",
                     WIFSIGNALED(status) ? "signal" : "status",
                     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* ---- while it serves ----------------------------------------------------------------------------- */

static void warn_of(const char *key, void *context)
{
    (void)context;
    if (strcmp(key, "timeout") != 0 && strcmp(key, "max_output") != 0)
        log_warning("the setting \"%s\" has changed; that takes a restart", key);
}

static void reload_settings(struct server *s)
{
    struct error e = {0};
    struct config fresh;

    if (s->options->reload(&fresh, &e) < 0) {
        log_warning("settings are as before: %s", e.text);
        return;
    }
    s->order.options.settings =
        (struct front_settings){.timeout = fresh.timeout, .max_output = fresh.max_output};
    config_compare(&s->config, &fresh, warn_of, NULL);
    config_done(&fresh);
}

static void reload(struct server *s)
{
    struct error e = {0};

    listen_notify("RELOADING=1");
    reload_settings(s);
    if (open_tokens(s->options, &s->tokens, &e) < 0)
        log_warning("tokens are as before: %s", e.text);
    e = (struct error){0};
    if (broker_reload(s->broker, &e) < 0)
        log_warning("where programs may connect to is as before: %s", e.text);
    s->order.word = FRONT_SETTINGS;
    e = (struct error){0};
    if (front_send_order(s->leash, &s->order, &s->tokens, s->tokens >= 0, &e) < 0)
        log_warning("%s", e.text);
    close_fd(&s->tokens);
}

static void stop(struct server *s)
{
    struct error ignored = {0};

    s->stopping = true;
    s->order.word = FRONT_STOP;
    front_send_order(s->leash, &s->order, NULL, 0, &ignored); /* its end is seen elsewhere */
}

static void take_signals(struct server *s)
{
    unsigned char number;

    while (read(s->signals, &number, 1) == 1) {
        if (number == SIGHUP)
            reload(s);
        else
            stop(s);
    }
}

static void answer_status(struct server *s, int told)
{
    json_t *j = broker_state(s->broker), *listening = json_array();

    for (int i = 0; i < s->socket_count; i++) {
        cleanup_free char *name = listen_name(s->sockets[i]);
        json_array_append_new(listening, json_string(name));
    }
    json_object_set_new(j, "pid", json_integer(getpid()));
    json_object_set_new(j, "listening", listening);
    status_answer(&s->asking, j, told);
}

/* One at a time; the others wait in the line of the socket. */
static void take_question(struct server *s)
{
    struct error ignored = {0};

    s->asking = accept4(s->status, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (s->asking < 0)
        return;
    s->asked_until = deadline_in_ms(TOLD_MS);
    s->order.word = FRONT_TELL;
    front_send_order(s->leash, &s->order, NULL, 0, &ignored);
}

/* -1: it cannot go on, and e says why. */
static int hear(struct server *s, struct error *e)
{
    struct front_answer a;
    cleanup_fd int told = -1;
    int n = front_receive_answer(s->leash, &a, &told, e);

    if (n < 0)
        return -1;
    if (n == 0) {
        close_fd(&s->leash); /* its end follows */
        return 0;
    }
    switch ((enum front_answer_word)a.word) {
    case FRONT_READY:
        if (listen_print(s->sockets, s->socket_count, e) < 0)
            return -1;
        printf("ready\n");
        fflush(stdout);
        listen_notify("READY=1");
        break;
    case FRONT_SETTLED:
        listen_notify("READY=1");
        break;
    case FRONT_STOPPING:
        listen_notify("STOPPING=1");
        break;
    case FRONT_TOLD:
        if (s->asking >= 0)
            answer_status(s, told);
        break;
    case FRONT_FAILED:
        *e = a.error;
        return e->kind ? -1 : error_set(e, ERROR_GENERAL, "the part that reads requests failed");
    }
    return 0;
}

/* Until the front has ended. */
static int attend(struct server *s, struct error *e)
{
    for (;;) {
        struct pollfd fds[4] = {{.fd = s->signals, .events = POLLIN},
                                {.fd = s->leash, .events = POLLIN},
                                {.fd = s->front.pidfd, .events = POLLIN},
                                {.fd = s->asking < 0 ? s->status : -1, .events = POLLIN}};
        if (poll(fds, 4, s->asking < 0 ? -1 : TOLD_MS) < 0 && errno != EINTR)
            return error_errno(e, "poll");
        if (fds[3].revents)
            take_question(s);
        else if (s->asking >= 0 && deadline_passed(s->asked_until))
            answer_status(s, -1);
        if (fds[0].revents)
            take_signals(s);
        if (fds[1].revents) {
            if (hear(s, e) < 0)
                return -1;
        } else if (fds[2].revents) {
            return reap_front(s, e);
        }
    }
}

/* ---- the broker ---------------------------------------------------------------------------------- */

static void *serve_line(void *server)
{
    struct server *s = server;

    broker_serve(s->broker, s->line);
    return NULL;
}

/* The languages that the settings want in the pool, which may take minutes to make, while the server serves. */
static void *warm(void *server)
{
    struct server *s = server;

    broker_warm(s->broker, s->stop_warming);
    return NULL;
}

static int open_broker(struct server *s, struct error *e)
{
    const struct server_options *o = s->options;
    const struct broker_options how = {.bounds = {.vms = {[ADMISSION_POOLED] = broker_pool_max(&s->config),
                                                          [ADMISSION_OWN] = workers(o),
                                                          [ADMISSION_SESSION] = (unsigned)o->sessions,
                                                          [ADMISSION_MAKING] = MAKERS},
                                                  .waiting = (unsigned)o->queue},
                                       .shared = o->tokens != NULL,
                                       .shape_max = limits_of(o).shape,
                                       .net_policy = o->net_policy,
                                       .cancel_fd = o->cancel_fd};

    return broker_open(&s->broker, &s->config, &how, e);
}

static int start_threads(struct server *s, struct error *e)
{
    s->status = status_listen(broker_host(s->broker)->home.scratch, e);
    if (s->status < 0)
        return -1;
    s->stop_warming = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->stop_warming < 0)
        return error_errno(e, "eventfd");
    if (thread_start(&s->serving, serve_line, s, e) < 0)
        return -1;
    s->serves = true;
    if (thread_start(&s->warming, warm, s, e) < 0)
        return -1;
    s->warms = true;
    return 0;
}

/* ---- the whole ----------------------------------------------------------------------------------- */

/* The front's end closes the line, upon which the broker gives everything back. */
static void close_server(struct server *s)
{
    child_kill(&s->front);
    close_fd(&s->leash);
    confine_release(&s->held);
    if (s->warms && eventfd_write(s->stop_warming, 1) == 0)
        pthread_join(s->warming, NULL);
    if (s->serves)
        pthread_join(s->serving, NULL);
    broker_close(s->broker);
    listen_close(s->options->listen.socket, s->sockets, s->socket_count);
    close_fd(&s->line);
    close_fd(&s->tokens);
    close_fd(&s->state);
    close_fd(&s->signals);
    close_fd(&signal_fd);
    close_fd(&s->stop_warming);
    close_fd(&s->asking);
    close_fd(&s->status);
    config_done(&s->config);
}

static int give_up_rights(const struct config *config, struct error *e)
{
    struct error why = {0};

    if (config->confine == CONFINE_OFF || !renounce_can() || renounce(&why) == 0)
        return 0;
    if (config->confine == CONFINE_STRICT)
        return error_set(e, ERROR_GENERAL, "confine is strict, but %.600s; capsid doctor says what there is",
                         why.text);
    log_warning("%s", why.text);
    return 0;
}

int server_run(const struct server_options *options, const struct config *config, struct error *e)
{
    struct server *s = memory_allocate(sizeof(*s));

    /* Hundreds of threads wait and few work at a time: heaps for each of them would only keep what they freed. */
    mallopt(M_ARENA_MAX, ARENAS);
    s->options = options;
    s->front = CHILD_NONE;
    s->held = CONFINED_NONE;
    s->leash = s->line = s->tokens = s->state = s->signals = s->stop_warming = s->status = s->asking = -1;
    config_copy(&s->config, config);
    int result = give_up_rights(config, e);
    if (result == 0)
        result = open_tokens(options, &s->tokens, e);
    if (result == 0)
        result = open_broker(s, e);
    if (result == 0)
        result = listen_open(&options->listen, s->sockets, &s->socket_count, e);
    if (result == 0)
        result = fill_order(s, e);
    if (result == 0)
        result = check_safety(s, e);
    if (result == 0)
        result = catch_signals(s, e);
    if (result == 0)
        result = start_front(s, e);
    if (result == 0)
        result = start_threads(s, e);
    if (result == 0)
        result = attend(s, e);
    close_server(s);
    free(s);
    return result;
}
