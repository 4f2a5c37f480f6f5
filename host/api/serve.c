/* The server's life: start, signals, what is done every second, and its end. */
#include "api/listen.h"
#include "api/server.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "core/usage.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define SIGNAL_ID 0          /* in the events of watch_fd: the signals' pipe; exchanges begin at 1 */
#define TICK_MS 500          /* how often queues are looked through */
#define MAKE_QUEUE 16        /* images and snapshots that wait to be made */
#define MAKERS 2             /* and that are made at a time: each takes a processor */
#define LIST_QUEUE 512       /* lists that wait to be read */
#define SESSION_THREADS 16   /* programs and files of sessions that are worked on at a time */
#define SESSION_QUEUE 256    /* and those that wait */
#define ANSWER_GRACE_MS 3000 /* at the end: for answers to get to their clients */
#define CANCEL_GRACE_S 20    /* at the end: for VMs to go away */
#define ARENAS 4
/* That a request may ask for, where nothing else is set and the machine has twice as much. */
#define MEMORY_MAX_MIB 4096

static int signal_fd = -1;

static void on_signal(int number)
{
    unsigned char byte = (unsigned char)number;
    int saved = errno;

    if (write(signal_fd, &byte, 1) < 0)
        byte = 0; /* the pipe is full of signals */
    errno = saved;
}

static int catch_signals(int watch_fd, struct error *e)
{
    const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal};
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = SIGNAL_ID};
    int channel[2];

    if (pipe2(channel, O_CLOEXEC | O_NONBLOCK) < 0)
        return error_errno(e, "pipe");
    signal_fd = channel[1];
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        sigaction(signals[i], &action, NULL);
    if (epoll_ctl(watch_fd, EPOLL_CTL_ADD, channel[0], &event) < 0)
        return error_errno(e, "epoll_ctl");
    return channel[0];
}

static void reload(struct api_server *s)
{
    struct config fresh;
    struct error e = {0};

    listen_notify("RELOADING=1");
    if (tokens_reload(s->tokens, &e) < 0)
        log_warning("tokens are as before: %s", e.text);
    e = (struct error){0};
    if (s->options->reload(&fresh, &e) < 0) {
        log_warning("settings are as before: %s", e.text);
    } else {
        s->max_output = fresh.max_output;
        backend_reload(s->backend, &fresh);
        config_done(&fresh);
        log_progress("Settings and tokens were read anew");
    }
    listen_notify("READY=1");
}

/* Refuses those that wait for one of a lane's threads for too long. */
static void expire_lane(struct api_server *s, enum route_lane lane, int64_t before)
{
    for (struct exchange *x; (x = queue_expired(&s->lanes[lane], before));) {
        x->refusal.retry_after = 5;
        refuse(&x->refusal, REFUSAL_OVERLOAD, "no worker was free for %llu seconds",
               (unsigned long long)s->options->queue_seconds);
        exchange_finish(x);
    }
}

static void expire(struct api_server *s)
{
    int64_t now = clock_monotonic_ns(), before = now - (int64_t)s->options->queue_seconds * 1000000000;

    connections_expire(&s->connections, now - (int64_t)s->options->receive_seconds * 1000000000);
    expire_lane(s, LANE_LIST, before);
    expire_lane(s, LANE_SESSION, before);
}

/* Looks at what happened for a while. Returns the signal that asks to end, or 0. */
static int watch(struct api_server *s, int signals, int wait_ms)
{
    struct epoll_event events[64];
    int n = epoll_wait(s->watch_fd, events, 64, wait_ms), end = 0;
    unsigned char number;

    for (int i = 0; i < n; i++) {
        if (events[i].data.u64 != SIGNAL_ID) {
            log_debug("client of exchange %llu went away", (unsigned long long)events[i].data.u64);
            exchange_cancel_id(s, events[i].data.u64);
            continue;
        }
        while (read(signals, &number, 1) == 1) {
            if (number == SIGHUP)
                reload(s);
            else
                end = number;
        }
    }
    expire(s);
    return end;
}

static bool is_idle(struct api_server *s)
{
    pthread_mutex_lock(&s->lock);
    bool idle = !s->in_flight;
    pthread_mutex_unlock(&s->lock);
    return idle;
}

/* New work is refused; what runs gets the grace; then it is cancelled. A second signal shortens the grace. */
static void drain(struct api_server *s, struct MHD_Daemon *const *daemons, int count, int signals)
{
    int64_t end = deadline_in_ms((int64_t)s->options->grace_seconds * 1000);

    s->stopping = true;
    listen_notify("STOPPING=1");
    log_progress("Shutting down: running programs get %llu seconds",
                 (unsigned long long)s->options->grace_seconds);
    while (!is_idle(s) && clock_monotonic_ns() < end && !watch(s, signals, 50))
        ;
    for (int64_t last = deadline_in_ms(CANCEL_GRACE_S * 1000); !is_idle(s) && clock_monotonic_ns() < last;) {
        exchange_cancel_all(s);
        watch(s, signals, 50);
    }
    sessions_end(&s->sessions);
    for (int i = 0; i < count; i++)
        MHD_quiesce_daemon(daemons[i]);
    for (int64_t last = deadline_in_ms(ANSWER_GRACE_MS); s->exchanges > 0 && clock_monotonic_ns() < last;)
        watch(s, signals, 10);
}

static unsigned workers(const struct api_options *o)
{
    unsigned processors = usage_processors();

    if (o->workers)
        return (unsigned)o->workers;
    return processors > 32 ? 64 : processors * 2;
}

static struct request_limits limits_of(const struct api_options *o)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t half = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size / 2 >> 20 : MEMORY_MAX_MIB;
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

/* A thread for each program that runs or waits for its VM: their number is the bound of all of them. */
static int open_lanes(struct api_server *s, struct error *e)
{
    unsigned programs = backend_places(s->backend) + (unsigned)s->options->queue;

    if (queue_open(&s->lanes[LANE_RUN], s, programs, 0) < 0 ||
        queue_open(&s->lanes[LANE_MAKE], s, 1, MAKE_QUEUE) < 0 ||
        queue_open(&s->lanes[LANE_LIST], s, 1, LIST_QUEUE) < 0 ||
        queue_open(&s->lanes[LANE_SESSION], s, SESSION_THREADS, SESSION_QUEUE) < 0)
        return error_set(e, ERROR_GENERAL, "cannot start threads");
    return 0;
}

static int check_safety(struct api_server *s, const int *fds, int count, struct error *e)
{
    bool open = listen_is_public(fds, count);

    s->check_host = !open && !s->options->tokens;
    if (!open || s->options->tokens)
        return 0;
    if (!s->options->anonymous)
        return error_set(e, ERROR_USAGE,
                         "others could reach the server and run programs: give --tokens FILE, or "
                         "--anonymous if that is meant, or bind to 127.0.0.1");
    log_warning("everyone who can reach this server can run programs on it");
    return 0;
}

struct warming {
    struct api_server *server;
    struct cancel stop; /* an eventfd */
    pthread_t thread;
    bool started;
};

static void *warm(void *warming)
{
    struct warming *w = warming;

    backend_warm(w->server->backend, w->stop.fd);
    return NULL;
}

/* The languages that the settings want in the pool, which may take minutes to make, while the server serves. */
static int start_warming(struct warming *w, struct api_server *s, struct error *e)
{
    *w = (struct warming){.server = s, .stop.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (w->stop.fd < 0)
        return error_errno(e, "eventfd");
    w->started = pthread_create(&w->thread, NULL, warm, w) == 0;
    return w->started ? 0 : error_set(e, ERROR_GENERAL, "cannot start threads");
}

static void end_warming(struct warming *w)
{
    if (w->started && eventfd_write(w->stop.fd, 1) == 0)
        pthread_join(w->thread, NULL);
    close_fd(&w->stop.fd);
}

static int serve(struct api_server *s, const int *fds, int count, struct error *e)
{
    struct MHD_Daemon *daemons[LISTEN_MAX];
    struct warming warming = {.stop.fd = -1};
    int started = 0, result = open_lanes(s, e), signals = -1;

    if (result == 0)
        result = signals = catch_signals(s->watch_fd, e);
    /* What came until then was for the handlers before. */
    if (result >= 0)
        result = deadline_poll(NULL, 0, 0, &(struct cancel){.fd = s->options->cancel_fd}, e);
    if (result >= 0)
        result = start_warming(&warming, s, e) < 0 ? -1 : result;
    for (; result >= 0 && started < count; started++) {
        daemons[started] = http_start(s, fds[started]);
        if (!daemons[started]) {
            result = error_set(e, ERROR_GENERAL, "the HTTP server cannot be started");
            break;
        }
    }
    if (result >= 0)
        result = listen_print(fds, count, e) < 0 ? -1 : result;
    if (result >= 0) {
        printf("ready\n");
        fflush(stdout);
        listen_notify("READY=1");
        while (!watch(s, signals, TICK_MS))
            ;
        drain(s, daemons, started, signals);
    }
    sessions_end(&s->sessions); /* again, where the server did not get to be ready */
    end_warming(&warming);
    for (enum route_lane lane = LANE_RUN; lane < LANE_COUNT; lane++)
        queue_close(&s->lanes[lane]);
    for (int i = 0; i < started; i++) {
        MHD_quiesce_daemon(daemons[i]); /* or it would close the socket, which is its caller's */
        MHD_stop_daemon(daemons[i]);
    }
    close_fd(&signals);
    close_fd(&signal_fd);
    return result < 0 ? -1 : 0;
}

int api_serve(const struct api_options *options, const struct config *config, struct error *e)
{
    /* Hundreds of threads wait and few work at a time: heaps for each of them would only keep what they freed. */
    mallopt(M_ARENA_MAX, ARENAS);
    struct api_server *s = memory_allocate(sizeof(*s));
    int fds[LISTEN_MAX], count = 0, result = -1;

    s->options = options;
    s->started_ns = clock_monotonic_ns();
    s->limits = limits_of(options);
    s->watch_fd = epoll_create1(EPOLL_CLOEXEC);
    pthread_mutex_init(&s->lock, NULL);
    s->max_output = config->max_output;
    connections_open(&s->connections);
    operations_open(&s->operations);
    keys_open(&s->keys);
    sessions_open(&s->sessions, options->sessions, options->client_sessions);
    s->tokens = tokens_open(options->tokens, &options->limits, e);
    const struct backend_options how = {
        .broker = {.bounds = {.vms = {[ADMISSION_POOLED] = broker_pool_max(config),
                                      [ADMISSION_OWN] = workers(options),
                                      [ADMISSION_SESSION] = (unsigned)options->sessions},
                              .waiting = (unsigned)options->queue},
                   .shared = options->tokens != NULL,
                   .shape_max = s->limits.shape,
                   .makers = MAKERS,
                   .makers_waiting = MAKE_QUEUE},
        .wait_ms = (int64_t)options->queue_seconds * 1000};
    if (s->tokens && backend_open(&s->backend, config, &how, e) == 0 &&
        listen_open(options, fds, &count, e) == 0) {
        result = check_safety(s, fds, count, e);
        if (result == 0)
            result = serve(s, fds, count, e);
        listen_close(options, fds, count);
    }
    backend_close(s->backend);
    tokens_close(s->tokens);
    sessions_close(&s->sessions);
    keys_close(&s->keys);
    connections_close(&s->connections);
    operations_close(&s->operations);
    pthread_mutex_destroy(&s->lock);
    close_fd(&s->watch_fd);
    free(s);
    return result;
}
