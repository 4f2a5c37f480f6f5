/* The front's life: start, what it is told, what is done every second, and its end. */
#include "api/front.h"
#include "api/server.h"
#include "api/status.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define LEASH_ID 0           /* in the events of watch_fd: the leash; exchanges begin at 1 */
#define TICK_MS 500          /* how often lanes are looked through */
#define MAKE_QUEUE 16        /* images and snapshots that wait to be made */
#define FOLLOW_THREADS 64    /* operations that somebody looks at, */
#define FOLLOW_QUEUE 64      /* and wants to */
#define LIST_QUEUE 512       /* lists that wait to be read */
#define SESSION_THREADS 1024 /* programs and files of sessions that are worked on at a time, at most, */
#define SESSION_QUEUE 256    /* and those that wait */
#define ANSWER_GRACE_MS 3000 /* at the end: for answers to get to their clients */
#define CANCEL_GRACE_S 20    /* at the end: for VMs to go away */
#define ARENAS 4
#define FRESH_NS 200000000 /* a connection has to begin a request, however many there are */
#define FILES_EACH 4       /* for a connection, and what is done for it */

/* ---- what it is told ----------------------------------------------------------------------------- */

static void say(enum front_answer_word word)
{
    struct error ignored = {0}; /* who is gone ends this process */

    front_send_answer(FRONT_LEASH_FD, word, -1, NULL, &ignored);
}

static int watch_leash(int watch_fd, struct error *e)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = LEASH_ID};

    return epoll_ctl(watch_fd, EPOLL_CTL_ADD, FRONT_LEASH_FD, &event) < 0 ? error_errno(e, "epoll_ctl") : 0;
}

static void settle(struct api_server *s, const struct front_settings *fresh, struct front_passed *passed)
{
    struct error e = {0};

    s->max_output = fresh->max_output;
    backend_set_timeout(s->backend, fresh->timeout);
    if (passed->count > 0 && tokens_reload(s->tokens, passed->fds[0], &e) < 0)
        log_warning("tokens are as before: %s", e.text);
    else
        log_progress("Settings and tokens were read anew");
    say(FRONT_SETTLED);
}

static void tell(struct api_server *s)
{
    cleanup_fd int fd = status_open(s);
    struct error ignored = {0};

    if (fd >= 0)
        front_send_answer(FRONT_LEASH_FD, FRONT_TOLD, fd, NULL, &ignored);
}

/* True: it is to end. */
static bool obey(struct api_server *s)
{
    struct front_order order;
    struct front_passed passed;
    struct error e = {0};
    int n = front_receive_order(FRONT_LEASH_FD, &order, &passed, &e);

    if (n == 0)
        _exit(1); /* who started it is gone, and with it every VM */
    if (n > 0 && order.word == FRONT_SETTINGS)
        settle(s, &order.options.settings, &passed);
    if (n > 0 && order.word == FRONT_TELL)
        tell(s);
    while (passed.count > 0)
        close(passed.fds[--passed.count]);
    return n > 0 && order.word == FRONT_STOP;
}

/* ---- while it serves ----------------------------------------------------------------------------- */

static void expire(struct api_server *s)
{
    int64_t now = clock_monotonic_ns(), before = now - (int64_t)s->options->queue_seconds * 1000000000;

    connections_expire(&s->connections, now);
    tasks_expire(&s->tasks, LANE_LIST, before);
    tasks_expire(&s->tasks, LANE_SESSION, before);
}

/* Looks at what happened for a while. True: it is to end. */
static bool watch(struct api_server *s, int wait_ms)
{
    struct epoll_event events[64];
    int n = epoll_wait(s->watch_fd, events, 64, wait_ms);
    bool end = false;

    for (int i = 0; i < n; i++) {
        if (events[i].data.u64 == LEASH_ID) {
            end = obey(s) || end;
            continue;
        }
        log_debug("client of exchange %llu went away", (unsigned long long)events[i].data.u64);
        tasks_cancel(&s->tasks, events[i].data.u64);
    }
    expire(s);
    return end;
}

/* New work is refused; what runs gets the grace; then it is cancelled. A second order shortens the grace. */
static void drain(struct api_server *s, struct MHD_Daemon *const *daemons, int count)
{
    int64_t end = deadline_in_ms((int64_t)s->options->grace_seconds * 1000);

    s->stopping = true;
    say(FRONT_STOPPING);
    log_progress("Shutting down: running programs get %llu seconds",
                 (unsigned long long)s->options->grace_seconds);
    while (!tasks_idle(&s->tasks) && clock_monotonic_ns() < end && !watch(s, 50))
        ;
    for (int64_t last = deadline_in_ms(CANCEL_GRACE_S * 1000);
         !tasks_idle(&s->tasks) && clock_monotonic_ns() < last;) {
        tasks_cancel_all(&s->tasks);
        watch(s, 50);
    }
    sessions_end(&s->sessions);
    for (int i = 0; i < count; i++)
        MHD_quiesce_daemon(daemons[i]);
    for (int64_t last = deadline_in_ms(ANSWER_GRACE_MS); s->exchanges > 0 && clock_monotonic_ns() < last;)
        watch(s, 10);
}

/*
 * A thread for each program that runs or waits for its VM: their number is the bound of all of them. So is there one for each
 * call of a session, as many as sessions may have: none waits for another session's.
 */
static void open_tasks(struct api_server *s)
{
    const struct api_options *o = s->options;
    const uint64_t calls = o->sessions * SESSION_USERS_MAX;
    const struct tasks_options options = {
        .tokens = s->tokens,
        .manner = &s->manner,
        .operations = &s->operations,
        .lanes = {[LANE_RUN] = {backend_places(s->backend) + (unsigned)o->queue, 0, o->tokens},
                  [LANE_MAKE] = {1, MAKE_QUEUE, o->tokens},
                  [LANE_LIST] = {1, LIST_QUEUE, o->tokens},
                  [LANE_FOLLOW] = {FOLLOW_THREADS, FOLLOW_QUEUE, o->tokens},
                  [LANE_SESSION] = {calls < SESSION_THREADS ? (unsigned)calls : SESSION_THREADS,
                                    SESSION_QUEUE, o->tokens}},
    };

    tasks_open(&s->tasks, &options);
}

static int start_daemons(struct api_server *s, const int *sockets, int count, struct MHD_Daemon **daemons,
                         int *ret_started, struct error *e)
{
    for (*ret_started = 0; *ret_started < count; ++*ret_started) {
        daemons[*ret_started] = http_start(s, sockets[*ret_started]);
        if (!daemons[*ret_started])
            return error_set(e, ERROR_GENERAL, "the HTTP server cannot be started");
    }
    return 0;
}

static int serve_front(struct api_server *s, const int *sockets, int count, struct error *e)
{
    struct MHD_Daemon *daemons[FRONT_SOCKETS_MAX];
    int started = 0, result = watch_leash(s->watch_fd, e);

    if (result == 0)
        result = start_daemons(s, sockets, count, daemons, &started, e);
    if (result == 0) {
        say(FRONT_READY);
        while (!watch(s, TICK_MS))
            ;
        drain(s, daemons, started);
    }
    sessions_end(&s->sessions); /* again, where the server did not get to be ready */
    tasks_finish(&s->tasks);
    for (int i = 0; i < started; i++) {
        MHD_quiesce_daemon(daemons[i]); /* or it would close the socket, which is its caller's */
        MHD_stop_daemon(daemons[i]);
    }
    return result;
}

/* Not more than there may be files for: each has a socket, and what is done for it takes others. */
static void open_connections(struct api_server *s)
{
    const struct api_options *o = s->options;
    struct connections_limits limits = {.all = (unsigned)o->connections,
                                        .receive_ns = (int64_t)o->receive_seconds * 1000000000,
                                        .fresh_ns = FRESH_NS};
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
        if (files.rlim_cur / FILES_EACH < limits.all)
            limits.all = (unsigned)(files.rlim_cur / FILES_EACH);
    }
    limits.of_owner = o->client_connections ? (unsigned)o->client_connections : (limits.all + 1) / 2;
    connections_open(&s->connections, &limits);
}

/* In the directory of the front, of which nobody else has a part. What an earlier front left half done goes. */
static int open_uploads(struct files *ret, const struct api_options *o, struct error *e)
{
    const struct files_limits limits = {.all = o->files_max << 20, .owner = o->files_owner_max << 20};
    cleanup_free char *directory = text_format("%s/files", o->state);
    cleanup_free char *scratch = text_format("%s/coming", directory);

    return file_remove_tree(scratch, e) < 0 || file_make_directories(scratch, e) < 0 ||
                   files_open(ret, directory, scratch, &limits, e) < 0 || files_sweep(ret, e) < 0
               ? -1
               : 0;
}

static int open_and_serve(const struct api_options *o, const struct front_passed *passed, size_t sockets,
                          struct error *e)
{
    struct api_server *s = memory_allocate(sizeof(*s));
    int tokens = o->tokens ? passed->fds[1 + sockets] : -1, result = -1;
    const struct backend_options how = {.line = passed->fds[0],
                                        .data = o->data,
                                        .timeout = o->settings.timeout,
                                        .places = o->places,
                                        .wait_ms = (int64_t)o->queue_seconds * 1000};

    s->options = o;
    s->started_ns = clock_monotonic_ns();
    s->limits = o->request;
    s->check_host = o->check_host;
    s->manner = (struct refusal_manner){.discreet = o->tokens, .stopping = &s->stopping};
    s->watch_fd = epoll_create1(EPOLL_CLOEXEC);
    s->max_output = o->settings.max_output;
    open_connections(s);
    operations_open(&s->operations, &s->ledger);
    journals_open(&s->journals);
    s->tokens = tokens_open(o->tokens ? o->tokens_path : NULL, tokens, &o->limits, e);
    if (s->tokens && ledger_open(&s->ledger, o->state, e) == 0 && open_uploads(&s->files, o, e) == 0 &&
        backend_open(&s->backend, &how, e) == 0) {
        sessions_open(&s->sessions, &(struct session_options){.backend = s->backend,
                                                              .manner = &s->manner,
                                                              .ledger = &s->ledger,
                                                              .max = o->sessions,
                                                              .client_max = o->client_sessions});
        open_tasks(s);
        result = serve_front(s, &passed->fds[1], (int)sockets, e);
        tasks_close(&s->tasks);
        sessions_close(&s->sessions);
    }
    backend_close(s->backend);
    tokens_close(s->tokens);
    connections_close(&s->connections);
    journals_close(&s->journals);
    operations_close(&s->operations);
    ledger_close(&s->ledger);
    files_close(&s->files);
    close_fd(&s->watch_fd);
    free(s);
    return result;
}

/* Waits for the first order. */
static int begin_of_front(struct front_order *ret, struct front_passed *passed, struct error *e)
{
    if (deadline_wait_fd(FRONT_LEASH_FD, POLLIN, DEADLINE_NEVER, NULL, e) < 0)
        return -1;
    int n = front_receive_order(FRONT_LEASH_FD, ret, passed, e);
    if (n == 1 && ret->word == FRONT_BEGIN && ret->sockets <= FRONT_SOCKETS_MAX &&
        passed->count == 1 + ret->sockets + (ret->options.tokens ? 1 : 0))
        return 0;
    return n < 0 ? -1 : error_set(e, ERROR_USAGE, "%s is for capsid api to use", FRONT_ARGUMENT);
}

int front_main(void)
{
    static struct front_order order;
    struct front_passed passed;
    struct error e = {0}, ignored = {0};

    mallopt(M_ARENA_MAX, ARENAS);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* as for every verb (cli/cli.c): child_spawn() has set both back */
    prctl(PR_SET_NAME, "capsid-front");
    if (begin_of_front(&order, &passed, &e) < 0) {
        fprintf(stderr, "Error: %s\n", e.text);
        return 1;
    }
    log_set_level(order.options.log_level);
    if (open_and_serve(&order.options, &passed, order.sockets, &e) == 0)
        return 0;
    front_send_answer(FRONT_LEASH_FD, FRONT_FAILED, -1, &e, &ignored);
    return 1;
}
