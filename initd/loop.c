#include "loop.h"

#include "cgroup.h"
#include "conn.h"
#include "handlers.h"
#include "helper.h"
#include "job_run.h"
#include "kmsg.h"
#include "memory.h"
#include "power.h"
#include "service.h"
#include "snapshot.h"
#include "spare.h"
#include "sys.h"
#include "watch.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define EVENTS_MAX 32
#define REAP_MAX 256    /* children in one turn; a flood of zombies must not keep others waiting */
#define AWAKE_READS 500 /* takes some ms where the guest is emulated, less elsewhere */

static int signal_fd = -1;
static bool reap_again;
static bool signal_asked; /* for this end of the guest: */
static uint8_t signal_action;

int loop_init(void)
{
    sigset_t set;

    sigfillset(&set); /* what root sends is taken too: queued signals would use up root's RLIMIT_SIGPENDING */
    signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signal_fd < 0)
        return -errno;
    return watch_add(signal_fd, EPOLLIN, (struct watch){.kind = WATCH_SIGNALS});
}

/* PTRACE_TRACEME makes initd a tracer without asking it. The process is let go, with the signal that stopped it; SIGTRAP
 * comes of the tracing itself. Of the others, those go on whose work is initd's: a job of root can stop everybody. What
 * executes a program already may be stopped. */
static void on_stop(pid_t pid, int signal)
{
    if (ptrace(PTRACE_DETACH, pid, NULL, (long)(signal == SIGTRAP ? 0 : signal)) == 0)
        return;
    if (spare_is(pid) || helper_is(pid) || service_is_starting(pid) || job_is_starting(pid))
        kill(pid, SIGCONT);
}

/* The only place where children are waited for. SIGCHLDs merge, so it goes on until nobody is left. */
static void reap(void)
{
    reap_again = false;
    for (int i = 0; i < REAP_MAX; i++) {
        struct rusage usage;
        int status;
        pid_t pid = wait4(-1, &status, WNOHANG | WUNTRACED, &usage);
        if (pid <= 0)
            return;
        if (WIFSTOPPED(status))
            on_stop(pid, WSTOPSIG(status));
        else if (!spare_on_child(pid) && !helper_on_child(pid, status) &&
                 !service_on_child(pid, status, sys_now()))
            job_on_child(pid, status, &usage, sys_now());
    }
    reap_again = true;
}

static void on_signals(void)
{
    struct signalfd_siginfo infos[16];

    ssize_t size = read(signal_fd, infos, sizeof(infos));

    for (size_t i = 0; size > 0 && i < (size_t)size / sizeof(infos[0]); i++)
        if (!signal_asked && power_signal_asks((int)infos[i].ssi_signo, &signal_action)) {
            signal_asked = true;
            kmsg_log(KMSG_WARNING, "the end of the guest was asked for by a signal", NULL, 0);
        }
    if (size > 0)
        reap(); /* SIGCHLDs merge, so it is no matter what they say */
}

static bool signal_asks_end(uint8_t *ret_action)
{
    *ret_action = signal_action;
    return signal_asked;
}

static void dispatch_event(const struct watch_event *e, uint64_t now)
{
    switch ((enum watch_kind)e->watch.kind) {
    case WATCH_SIGNALS:
        on_signals();
        break;
    case WATCH_LISTENER:
        conn_accept(now);
        break;
    case WATCH_CONN: {
        struct conn *c = conn_at(e->watch.slot);
        if (c->generation == e->watch.generation)
            conn_on_event(c, e->events);
        break;
    }
    case WATCH_JOB_OUT:
    case WATCH_JOB_ERR:
    case WATCH_JOB_IN:
    case WATCH_JOB_STATUS:
    case WATCH_JOB_SCRIPT:
        job_on_event(e->watch, e->events);
        break;
    }
}

/* Takes requests, gives answers and output, for as long as both go on, but not for ever. */
static void serve(struct conn *c)
{
    for (int turn = 0; turn < CONN_TURNS && !c->dead; turn++) {
        handlers_run(c);
        bool more = handlers_emit(c);
        if (!conn_flush(c)) {
            c->again = false; /* there will be an event when the host reads */
            return;
        }
        if (!more && !c->again)
            return;
    }
    c->again = true;
}

/* Returns the earliest deadline of all connections. */
static uint64_t serve_all(uint64_t now)
{
    uint64_t next = 0;

    for (unsigned i = 0; i < CONNS_MAX; i++) {
        struct conn *c = conn_at(i);
        if (c->kind == CONN_FREE)
            continue;
        conn_check_deadline(c, now);
        serve(c);
        if (c->dead) {
            handlers_drop_streams(c);
            conn_close(c);
        }
        if (c->kind == CONN_FREE)
            continue;
        conn_update_events(c, now);
        next = sys_earlier(next, conn_next_deadline(c));
    }
    /* One connection can have made work for another that was served before it. */
    for (unsigned i = 0; i < CONNS_MAX; i++)
        if (conn_at(i)->kind != CONN_FREE && conn_at(i)->again)
            return now;
    return next;
}

static int milliseconds_until(uint64_t deadline, uint64_t now)
{
    if (!deadline)
        return -1;
    if (deadline <= now)
        return 0;
    uint64_t ms = (deadline - now + NS_PER_MS - 1) / NS_PER_MS;
    return ms < 1000000 ? (int)ms : 1000000;
}

/* Reads the serial port for a while. That is less code than epoll, and the first that a restored guest executes. */
static bool heard_at_port(void)
{
    struct conn *c = conn_at(0);

    for (int i = 0; i < AWAKE_READS && c->kind == CONN_SERIAL && c->events == EPOLLIN; i++) {
        size_t pending = frame_reader_pending(&c->rx);
        conn_on_event(c, EPOLLIN);
        if (c->dead || frame_reader_pending(&c->rx) != pending)
            return true;
    }
    return false;
}

/*
 * Between QUIESCE and RESUME initd asks without sleeping for a while. A guest that was saved in its sleep has to execute,
 * and an emulator to translate, what wakes it, the timers that had no hurry, and the scheduler, before it sees RESUME.
 */
static int wait_for_events(struct watch_event *events, uint64_t next)
{
    uint64_t now;
    bool awake;
    int n;

    do {
        now = sys_now();
        awake = snapshot_awake(now);
        if (awake && heard_at_port())
            return 0;
        n = watch_wait(events, EVENTS_MAX, awake ? 0 : milliseconds_until(next, now));
    } while (n == 0 && awake && (!next || now < next));
    return n;
}

/* True when no connection has an answer left to send. */
static bool all_sent(void)
{
    for (unsigned i = 0; i < CONNS_MAX; i++) {
        const struct conn *c = conn_at(i);
        if (c->kind != CONN_FREE && !c->hung && c->tx_start < c->tx_end)
            return false;
    }
    return true;
}

/* Returns the earliest time at which one of them has to run again. */
static uint64_t run_all_timers(uint64_t now)
{
    uint64_t next = job_run_timers(now);

    next = sys_earlier(next, service_run_timers(now));
    next = sys_earlier(next, memory_run_timers(now));
    next = sys_earlier(next, cgroup_tidy(now));
    return sys_earlier(next, spare_run_timers(now));
}

uint8_t loop_run(uint64_t (*set_up)(uint64_t now))
{
    uint64_t shutdown_by = 0;
    uint8_t action;

    for (;;) {
        struct watch_event events[EVENTS_MAX];
        uint64_t now = sys_now();
        uint64_t next = serve_all(now);

        /* After the requests, which may have set deadlines. What ends here is told in the next turn, at once.
         */
        uint64_t again = set_up(now);
        next = sys_earlier(next, again ? again : run_all_timers(now));
        snapshot_tidy();
        if (handlers_shutdown_asked(&action) || service_asks_end(&action) || signal_asks_end(&action)) {
            shutdown_by = shutdown_by ? shutdown_by : now + SHUTDOWN_FLUSH_MS * NS_PER_MS;
            if (all_sent() || now >= shutdown_by)
                return action;
            next = sys_earlier(next, shutdown_by);
        }
        int n = wait_for_events(events, reap_again ? now : next);
        now = sys_now();
        if (reap_again)
            reap();
        for (int i = 0; i < n; i++)
            dispatch_event(&events[i], now);
    }
}
