#include "job_run.h"

#include "job.h"
#include "job_output.h"
#include "spawn.h"
#include "sys.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* The status pipe has something: execve(2) was done, or could not be. */
static void on_status(struct job *j)
{
    struct spawn_failure failure = {.os_errno = EAGAIN};
    int untaken = 0;
    ssize_t n = read(j->status_fd, &failure, sizeof(failure));

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    /* A spare process that was killed before it took the whole request was never this job; unless initd killed it, for a
     * limit or for its host. */
    ioctl(j->request_fd, FIONREAD, &untaken);
    sys_close(&j->request_fd);
    sys_close(&j->status_fd);
    if (n == (ssize_t)sizeof(failure) || (n == 0 && untaken && !j->cause)) {
        job_fail(j, (struct fault){.code = PROTO_ERR_EXEC,
                                   .os_errno = failure.os_errno,
                                   .text = spawn_step_name(failure.step)});
        return;
    }
    j->state = j->is_prime ? JOB_SETTLING : JOB_RUNNING;
}

/* ---- children ------------------------------------------------------------------------------- */

static void drain(struct job *j)
{
    for (unsigned i = 0; i < 2; i++)
        while (job_read(j, i)) {
        }
    if (channels_ended(&j->io))
        job_finish(j);
}

static uint64_t timeval_ns(struct timeval t)
{
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_usec * 1000;
}

static uint8_t end_cause(const struct job *j, int status, const struct rusage *usage)
{
    uint64_t cpu_ns = timeval_ns(usage->ru_utime) + timeval_ns(usage->ru_stime);

    if (WIFEXITED(status))
        return PROTO_CAUSE_EXITED; /* of itself, even when a kill was under way */
    if (j->cause)
        return j->cause;
    if (WTERMSIG(status) == SIGKILL && cgroup_oom_kills(&j->cgroup) > 0)
        return PROTO_CAUSE_OOM;
    /* Without a cgroup it was RLIMIT_CPU: SIGXCPU, and SIGKILL for those that ignore it. */
    if (j->cpu_max_ns && !cgroup_enabled() && (WTERMSIG(status) == SIGXCPU || cpu_ns >= j->cpu_max_ns))
        return PROTO_CAUSE_CPU;
    return PROTO_CAUSE_SIGNALLED;
}

static struct job *find_living(pid_t pid)
{
    for (unsigned i = 0; i < JOBS_MAX; i++) {
        struct job *j = job_at(i);
        if (job_is_active(i) && j->state != JOB_FREE && j->state != JOB_FINISHED && j->pid == pid &&
            !j->reaped)
            return j;
    }
    return NULL;
}

bool job_is_starting(pid_t pid)
{
    struct job *j = find_living(pid);

    if (!j)
        return false;
    if (j->state == JOB_STARTING)
        on_status(j); /* a program can stop itself sooner than initd looks */
    return j->state == JOB_STARTING;
}

void job_on_child(pid_t pid, int status, const struct rusage *usage, uint64_t now)
{
    struct job *j = find_living(pid);

    if (!j)
        return;
    j->reaped = true;
    if (j->state == JOB_STARTING)
        on_status(j); /* both have come at once; the pipe's end came first */
    if (j->state == JOB_FREE || j->failure.code)
        return;
    /* Somebody else may hold the other end, which must not be taken for a start when it is closed. */
    sys_close(&j->status_fd);
    if (j->state == JOB_SETTLING) {
        job_fail(j, fault_of(PROTO_ERR_EXEC, "the interpreter ended before it slept on its script"));
        return;
    }
    j->exit = (struct msg_exit){
        .cause = end_cause(j, status, usage),
        .status = WIFEXITED(status) ? (uint8_t)WEXITSTATUS(status) : 0,
        .signal = WIFSIGNALED(status) ? (uint8_t)WTERMSIG(status) : 0,
        .wall_ns = now > j->start ? now - j->start : 0,
        .user_ns = timeval_ns(usage->ru_utime),
        .system_ns = timeval_ns(usage->ru_stime),
        .max_rss = (uint64_t)usage->ru_maxrss * 1024,
    };
    j->state = JOB_DRAINING;
    j->drain_deadline = now + JOB_DRAIN_MS * NS_PER_MS;
    drain(j);
}

/* ---- events and time ------------------------------------------------------------------------- */

void job_on_event(struct watch w, uint32_t events)
{
    struct job *j = w.slot < JOBS_MAX ? job_at(w.slot) : NULL;

    if (!j || j->state == JOB_FREE || j->id != w.generation)
        return;
    switch (w.kind) {
    case WATCH_JOB_OUT:
    case WATCH_JOB_ERR:
        /* After a hang-up the rest is there already, and of a terminal all is told at once. Otherwise the others
         * have their turn. */
        while (job_read(j, w.kind == WATCH_JOB_ERR) && (j->io.tty || (events & EPOLLHUP))) {
        }
        break;
    case WATCH_JOB_IN:
        channels_write(&j->io);
        break;
    case WATCH_JOB_STATUS:
        if (j->status_fd >= 0)
            on_status(j);
        break;
    case WATCH_JOB_SCRIPT:
        prime_write(&j->prime, w);
        break;
    default:
        break;
    }
}

static bool is_zombie(pid_t pid)
{
    char line[512];
    const char *fields = sys_read_stat(pid, line, sizeof(line));

    return fields && fields[0] == 'Z';
}

/* What is left lives no longer than this; and output waits no longer than until nobody has taken any for a while. */
static void check_wall_of_end(struct job *j, uint64_t now)
{
    uint64_t taken = j->io.out[0].ring.start + j->io.out[1].ring.start;
    bool waits = channels_blocked(&j->io);

    if (waits && j->cause && taken == j->taken) {
        job_cut_short(j);
        return;
    }
    if (!waits && !j->cause && j->keeps) {
        job_finish(j); /* what it has left goes on writing, for nobody */
        return;
    }
    if (!waits && !j->cause)
        j->exit.flags |= PROTO_EXIT_OUTPUT_HELD;
    j->cause = j->cause ? j->cause : PROTO_CAUSE_TIMEOUT;
    j->taken = taken;
    j->wall_deadline = now + JOB_KILL_AGAIN_NS;
    job_kill_processes(j);
}

static void check_wall(struct job *j, uint64_t now)
{
    if (!j->wall_deadline || now < j->wall_deadline)
        return;
    if (j->state == JOB_RUNNING && j->cause && is_zombie(j->pid)) {
        /* Somebody traces it and did not wait for it, so its status is not to be had before the tracer ends. */
        job_on_child(j->pid, SIGKILL, &(struct rusage){0}, now);
        return;
    }
    if (j->state == JOB_DRAINING) {
        check_wall_of_end(j, now);
        return;
    }
    job_kill(j, PROTO_CAUSE_TIMEOUT);
    j->wall_deadline = now + JOB_KILL_AGAIN_NS;
}

/* The limit cannot be reached before what is left has been used on every processor. */
static void check_cpu(struct job *j, uint64_t now)
{
    static uint64_t processors;

    if (!j->cpu_look_at || now < j->cpu_look_at)
        return;
    uint64_t used = cgroup_cpu_ns(&j->cgroup) - j->cpu_base_ns;
    if (used >= j->cpu_max_ns) {
        job_kill(j, PROTO_CAUSE_CPU);
        j->cpu_look_at = now + JOB_KILL_AGAIN_NS;
        return;
    }
    if (!processors)
        processors = sys_processors();
    uint64_t wait = (j->cpu_max_ns - used) / processors;
    if (wait < JOB_CPU_CHECK_MS * NS_PER_MS)
        wait = JOB_CPU_CHECK_MS * NS_PER_MS;
    j->cpu_look_at = now + wait;
}

/* Returns when to look again; now: there is something to tell. */
static uint64_t check_drain(struct job *j, uint64_t now)
{
    /* Silence counts only while somebody listens: not while the ring is full, and not when initd itself is
     * late. */
    if (now >= j->drain_deadline && !channels_blocked(&j->io)) {
        job_read(j, 0);
        job_read(j, 1);
        if (now >= j->drain_deadline)
            job_finish(j);
    }
    if (j->state == JOB_DRAINING && channels_ended(&j->io))
        job_finish(j);
    if (j->state != JOB_DRAINING)
        return now;
    return channels_blocked(&j->io) ? j->wall_deadline : sys_earlier(j->wall_deadline, j->drain_deadline);
}

/* For how long a finished job has left somebody is only seen by looking. */
static uint64_t check_left(struct job *j, uint64_t now)
{
    if (now >= j->wall_deadline)
        j->wall_deadline = job_has_left(j) ? now + JOB_KILL_AGAIN_NS : 0;
    return j->wall_deadline;
}

/* The same; now: it is PRIMED, or it has failed. */
static uint64_t check_prime(struct job *j, uint64_t now)
{
    switch (prime_look(&j->prime, j->pid, &j->cgroup, now)) {
    case PRIME_WAITS:
        return j->prime.look_at;
    case PRIME_SLEEPS:
        j->state = JOB_PRIMED;
        break;
    case PRIME_LATE:
        job_fail(j, fault_of(PROTO_ERR_TIMEOUT, j->prime.opened
                                                    ? "the interpreter opened its script but did not sleep"
                                                    : "the interpreter did not open its script"));
        break;
    }
    return now;
}

static uint64_t run_timers_of(struct job *j, uint64_t now)
{
    if (!job_lives(j))
        return 0;
    if (j->state == JOB_FINISHED)
        return check_left(j, now);
    if (j->state == JOB_SETTLING)
        return check_prime(j, now);
    if (j->state == JOB_LEAVING)
        return job_check_leave(j, now);
    check_wall(j, now);
    if (j->state == JOB_LEAVING || j->state == JOB_FINISHED)
        return now;
    if (j->state == JOB_DRAINING)
        return check_drain(j, now);
    check_cpu(j, now);
    return sys_earlier(j->wall_deadline, j->cpu_look_at);
}

uint64_t job_run_timers(uint64_t now)
{
    uint64_t next = 0;

    for (unsigned i = 0; i < JOBS_MAX; i++) {
        struct job *j = job_at(i);
        if (!job_is_active(i))
            continue;
        next = sys_earlier(next, run_timers_of(j, now));
        if (!job_lives(j) && !j->conn)
            job_set_active(j, false);
    }
    return next;
}
