#include "job.h"

#include "kmsg.h"
#include "prime.h"
#include "sys.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILL_AGAIN_NS (1 * NS_PER_S)

static struct job jobs[JOBS_MAX];
/* A bit for each job that may have something to do or to tell. The memory of the others is not even looked at. */
static uint32_t active;
_Static_assert(JOBS_MAX <= 32, "a bit of active for each job");
static uint32_t next_id = 1;
static uint64_t finished_seq;

/* ---- the table ------------------------------------------------------------------------------- */

/* Everything but id and state. */
static void clear(struct job *j)
{
    *j = (struct job){
        .state = j->state, .id = j->id, .status_fd = -1, .request_fd = -1, .cgroup = CGROUP_NONE};
    job_io_init(j);
    prime_init(j);
}

void job_init(void)
{
    job_io_open_devpts();
    for (unsigned i = 0; i < JOBS_MAX; i++)
        clear(&jobs[i]);
}

struct job *job_at(unsigned index)
{
    return &jobs[index];
}

static void activate(const struct job *j)
{
    active |= 1u << (j - jobs);
}

bool job_is_active(unsigned index)
{
    return active >> index & 1;
}

struct job *job_find(uint32_t id)
{
    for (unsigned i = 0; i < JOBS_MAX; i++)
        if (jobs[i].state != JOB_FREE && jobs[i].id == id)
            return &jobs[i];
    return NULL;
}

struct job *job_find_stream(const struct conn *c, uint32_t stream)
{
    for (unsigned i = 0; i < JOBS_MAX; i++)
        if (job_is_active(i) && jobs[i].conn == c && jobs[i].stream == stream)
            return &jobs[i];
    return NULL;
}

struct job *job_find_told(const struct conn *c, uint32_t stream)
{
    for (unsigned i = 0; i < JOBS_MAX; i++)
        if (jobs[i].state == JOB_FINISHED && jobs[i].told == c && jobs[i].told_stream == stream)
            return &jobs[i];
    return NULL;
}

unsigned job_count(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < JOBS_MAX; i++)
        n += jobs[i].state != JOB_FREE;
    return n;
}

bool job_lives(const struct job *j)
{
    return j->state != JOB_FREE && (j->state != JOB_FINISHED || j->cgroup.fd >= 0);
}

/* A finished job: is anybody left of it? If not, its group is given up. */
static bool has_left(struct job *j)
{
    if (job_lives(j) && cgroup_is_empty(&j->cgroup))
        cgroup_retire(&j->cgroup);
    return job_lives(j);
}

bool job_any_settling(void)
{
    for (unsigned i = 0; i < JOBS_MAX; i++)
        if (job_is_active(i) && (jobs[i].state == JOB_STARTING || jobs[i].state == JOB_SETTLING))
            return true;
    return false;
}

bool job_has_ended(const struct job *j)
{
    return j->state == JOB_FINISHED || j->state == JOB_LEAVING ||
           (j->state == JOB_DRAINING && job_io_blocked(j));
}

uint32_t job_wire_state(const struct job *j)
{
    if (job_has_ended(j))
        return PROTO_JOB_ENDED;
    return j->state == JOB_PRIMED ? PROTO_JOB_PRIMED : PROTO_JOB_RUNNING;
}

/* ---- start ----------------------------------------------------------------------------------- */

struct job *job_take_slot(const struct job_request *r, struct fault *ret)
{
    struct job *best = NULL;

    *ret = job_check(r);
    if (ret->code)
        return NULL;
    for (unsigned i = 0; i < JOBS_MAX; i++) {
        struct job *j = &jobs[i];
        if (j->state == JOB_FREE) {
            best = j;
            break;
        }
        if (j->state == JOB_FINISHED && !j->conn && j->delivered &&
            (!best || j->finished_seq < best->finished_seq) && !has_left(j))
            best = j;
    }
    if (!best) {
        *ret = fault_of(PROTO_ERR_LIMIT, "too many jobs run, have left processes or have not told their end");
        return NULL;
    }
    if (best->state != JOB_FREE)
        job_free(best);
    clear(best);
    activate(best);
    best->id = next_id++;
    return best;
}

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

/* ---- streams --------------------------------------------------------------------------------- */

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
    return a + b < a ? UINT64_MAX : a + b;
}

void job_bind(struct job *j, struct conn *c, uint32_t stream, uint16_t request, const uint64_t offsets[2],
              uint64_t window)
{
    if (j->conn == c)
        conn_send_error(c, j->stream, 0, PROTO_ERR_GONE, 0,
                        "the job was taken over by an ATTACH"); /* there is room for an answer */
    else if (j->conn)
        conn_note_gone(j->conn, j->stream);
    activate(j);
    j->conn = c;
    j->stream = stream;
    j->request = request;
    j->started_due = true;
    j->unproven = offsets[0];
    for (int i = 0; i < 2; i++) {
        j->out[i].sent = offsets[i];
        j->out[i].limit = add_saturating(offsets[i], window);
        j->out[i].end_sent = false;
    }
}

void job_unbind(struct job *j)
{
    j->conn = NULL;
    j->stream = 0;
    j->started_due = false;
    if (j->failure.code)
        job_free(j); /* nobody is left to hear of it */
}

void job_drop_conn(const struct conn *c)
{
    for (unsigned i = 0; i < JOBS_MAX; i++) {
        if (jobs[i].told == c) {
            /* What was not sent yet is lost, and its EXIT may be among it. */
            jobs[i].delivered = jobs[i].delivered && c->tx_start == c->tx_end;
            jobs[i].told = NULL;
        }
        if (jobs[i].state != JOB_FREE && jobs[i].conn == c)
            job_unbind(&jobs[i]);
    }
}

/* ---- end ------------------------------------------------------------------------------------- */

static void kill_processes(struct job *j)
{
    bool by_cgroup = cgroup_kill(&j->cgroup);

    if (j->pid <= 0)
        return;
    /* The session's first process group is the most that can be found without a cgroup. */
    if (!by_cgroup)
        kill(-j->pid, SIGKILL);
    if (!j->reaped)
        kill(j->pid, SIGKILL);
}

static void finish(struct job *j);

/* Nobody takes its output: the rest of it is given up. */
static void cut_short(struct job *j)
{
    j->exit.flags |= PROTO_EXIT_OUTPUT_LOST;
    finish(j);
}

void job_kill(struct job *j, uint8_t cause)
{
    if (!job_lives(j) || j->state == JOB_LEAVING)
        return;
    if (j->state == JOB_FINISHED) {
        kill_processes(j);
        cgroup_retire(&j->cgroup);
        return;
    }
    if (job_has_ended(j)) {
        cut_short(j);
        return;
    }
    if (!j->cause)
        j->cause = cause;
    j->wall_deadline = sys_earlier(j->wall_deadline, sys_now() + KILL_AGAIN_NS); /* to see whether it went */
    kill_processes(j);
}

int job_signal(struct job *j, int signal, bool whole_job)
{
    if (j->state == JOB_FINISHED || (j->reaped && !whole_job))
        return -ESRCH;
    if (whole_job && cgroup_signal(&j->cgroup, signal))
        return 0;
    return kill(whole_job ? -j->pid : j->pid, signal) < 0 ? -errno : 0;
}

static void close_all(struct job *j)
{
    sys_close(&j->status_fd);
    sys_close(&j->request_fd);
    job_io_close(j);
    prime_close(j);
    cgroup_retire(&j->cgroup);
}

void job_fail(struct job *j, struct fault f)
{
    kill_processes(j);
    close_all(j);
    j->state = JOB_FINISHED;
    j->failure = f;
    if (!j->conn && j->request)
        job_free(j);
}

void job_free(struct job *j)
{
    if (job_lives(j))
        kill_processes(j);
    close_all(j);
    job_io_free(j);
    j->state = JOB_FREE;
    clear(j);
}

/* It ended of itself, and what it has left may live on. */
static bool keeps_processes(const struct job *j)
{
    return j->keeps && !j->cause && !(j->exit.flags & PROTO_EXIT_OUTPUT_LOST) && !cgroup_is_empty(&j->cgroup);
}

/* A host that hears of the end may start what needs the processes and the memory that were killed. What cannot go, as it is traced
 * or waits for a disk, is not waited for. Returns when to look again; now: there is something to tell. */
static uint64_t check_leave(struct job *j, uint64_t now)
{
    struct cgroup kept = CGROUP_NONE;

    if (now < j->leave_deadline && cgroup_processes(&j->cgroup) > 0)
        return sys_earlier(j->leave_deadline, now + JOB_LEAVE_LOOK_MS * NS_PER_MS);
    j->exit.memory_peak = cgroup_memory_peak(&j->cgroup);
    if (j->exit.flags & PROTO_EXIT_KEPT) {
        kept = j->cgroup;
        j->cgroup = CGROUP_NONE; /* not to be given up with the rest */
    }
    close_all(j);
    j->cgroup = kept;
    j->finished_seq = ++finished_seq;
    j->state = JOB_FINISHED;
    return now;
}

/* Everything that lives is killed, but what is kept; what is left to do is to see it go, and to tell. */
static void finish(struct job *j)
{
    uint64_t now = sys_now();

    if (!job_io_ended(j) && j->cause != PROTO_CAUSE_OUTPUT && !(j->exit.flags & PROTO_EXIT_OUTPUT_LOST))
        j->exit.flags |= PROTO_EXIT_OUTPUT_HELD;
    if (keeps_processes(j))
        j->exit.flags |= PROTO_EXIT_KEPT;
    else
        kill_processes(j);
    if (j->cause == PROTO_CAUSE_OUTPUT)
        j->exit.cause = PROTO_CAUSE_OUTPUT;
    j->exit.stdout_size = j->out[0].ring.end;
    j->exit.stderr_size = j->out[1].ring.end;
    job_io_close(j);
    j->wall_deadline = 0;
    j->state = JOB_LEAVING;
    j->leave_deadline = j->exit.flags & PROTO_EXIT_KEPT ? now : now + JOB_LEAVE_MS * NS_PER_MS;
    check_leave(j, now);
}

static void drain(struct job *j)
{
    for (unsigned i = 0; i < 2; i++)
        while (job_io_read(j, i)) {
        }
    if (job_io_ended(j))
        finish(j);
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
    for (unsigned i = 0; i < JOBS_MAX; i++)
        if (job_is_active(i) && jobs[i].state != JOB_FREE && jobs[i].state != JOB_FINISHED &&
            jobs[i].pid == pid && !jobs[i].reaped)
            return &jobs[i];
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
    struct job *j = w.slot < JOBS_MAX ? &jobs[w.slot] : NULL;

    if (!j || j->state == JOB_FREE || j->id != w.generation)
        return;
    switch (w.kind) {
    case WATCH_JOB_OUT:
    case WATCH_JOB_ERR:
        /* After a hang-up the rest is there already, and of a terminal all is told at once. Otherwise the others
         * have their turn. */
        while (job_io_read(j, w.kind == WATCH_JOB_ERR) && (j->tty || (events & EPOLLHUP))) {
        }
        break;
    case WATCH_JOB_IN:
        job_io_write(j);
        break;
    case WATCH_JOB_STATUS:
        if (j->status_fd >= 0)
            on_status(j);
        break;
    case WATCH_JOB_SCRIPT:
        prime_write(j);
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
    uint64_t taken = j->out[0].ring.start + j->out[1].ring.start;
    bool waits = job_io_blocked(j);

    if (waits && j->cause && taken == j->taken) {
        cut_short(j);
        return;
    }
    if (!waits && !j->cause && j->keeps) {
        finish(j); /* what it has left goes on writing, for nobody */
        return;
    }
    if (!waits && !j->cause)
        j->exit.flags |= PROTO_EXIT_OUTPUT_HELD;
    j->cause = j->cause ? j->cause : PROTO_CAUSE_TIMEOUT;
    j->taken = taken;
    j->wall_deadline = now + KILL_AGAIN_NS;
    kill_processes(j);
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
    j->wall_deadline = now + KILL_AGAIN_NS;
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
        j->cpu_look_at = now + KILL_AGAIN_NS;
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
    if (now >= j->drain_deadline && !job_io_blocked(j)) {
        job_io_read(j, 0);
        job_io_read(j, 1);
        if (now >= j->drain_deadline)
            finish(j);
    }
    if (j->state == JOB_DRAINING && job_io_ended(j))
        finish(j);
    if (j->state != JOB_DRAINING)
        return now;
    return job_io_blocked(j) ? j->wall_deadline : sys_earlier(j->wall_deadline, j->drain_deadline);
}

/* For how long a finished job has left somebody is only seen by looking. */
static uint64_t check_left(struct job *j, uint64_t now)
{
    if (now >= j->wall_deadline)
        j->wall_deadline = has_left(j) ? now + KILL_AGAIN_NS : 0;
    return j->wall_deadline;
}

static uint64_t run_timers(struct job *j, uint64_t now)
{
    if (!job_lives(j))
        return 0;
    if (j->state == JOB_FINISHED)
        return check_left(j, now);
    if (j->state == JOB_SETTLING)
        return prime_run_timers(j, now);
    if (j->state == JOB_LEAVING)
        return check_leave(j, now);
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
        struct job *j = &jobs[i];
        if (!job_is_active(i))
            continue;
        next = sys_earlier(next, run_timers(j, now));
        if (!job_lives(j) && !j->conn)
            active &= ~(1u << i);
    }
    return next;
}
