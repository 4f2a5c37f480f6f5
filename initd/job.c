#include "job.h"

#include "sys.h"

#include <errno.h>
#include <signal.h>

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
    *j = (struct job){.state = j->state,
                      .id = j->id,
                      .status_fd = -1,
                      .request_fd = -1,
                      .cgroup = CGROUP_NONE,
                      .prime = PRIME_NONE};
    channels_init(&j->io, (unsigned)(j - jobs), j->id);
}

void job_init(void)
{
    for (unsigned i = 0; i < JOBS_MAX; i++)
        clear(&jobs[i]);
}

struct job *job_at(unsigned index)
{
    return &jobs[index];
}

bool job_is_active(unsigned index)
{
    return active >> index & 1;
}

void job_set_active(const struct job *j, bool is_active)
{
    uint32_t bit = 1u << (j - jobs);

    active = is_active ? active | bit : active & ~bit;
}

struct job *job_find(uint32_t id)
{
    for (unsigned i = 0; i < JOBS_MAX; i++)
        if (jobs[i].state != JOB_FREE && jobs[i].id == id)
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

bool job_has_left(struct job *j)
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
           (j->state == JOB_DRAINING && channels_blocked(&j->io));
}

uint32_t job_wire_state(const struct job *j)
{
    if (job_has_ended(j))
        return PROTO_JOB_ENDED;
    return j->state == JOB_PRIMED ? PROTO_JOB_PRIMED : PROTO_JOB_RUNNING;
}

/* ---- its end ------------------------------------------------------------------------------------*/

void job_kill_processes(struct job *j)
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

static void close_all(struct job *j)
{
    sys_close(&j->status_fd);
    sys_close(&j->request_fd);
    channels_close(&j->io);
    prime_close(&j->prime);
    cgroup_retire(&j->cgroup);
}

void job_free(struct job *j)
{
    if (job_lives(j))
        job_kill_processes(j);
    close_all(j);
    channels_free(&j->io);
    j->state = JOB_FREE;
    clear(j);
}

struct job *job_take_slot(void)
{
    struct job *best = NULL;

    for (unsigned i = 0; i < JOBS_MAX; i++) {
        struct job *j = &jobs[i];
        if (j->state == JOB_FREE) {
            best = j;
            break;
        }
        if (j->state == JOB_FINISHED && !j->conn && j->delivered &&
            (!best || j->finished_seq < best->finished_seq) && !job_has_left(j))
            best = j;
    }
    if (!best)
        return NULL;
    if (best->state != JOB_FREE)
        job_free(best);
    best->id = next_id++;
    clear(best);
    job_set_active(best, true);
    return best;
}

int job_signal(struct job *j, int signal, bool whole_job)
{
    if (j->state == JOB_FINISHED || (j->reaped && !whole_job))
        return -ESRCH;
    if (whole_job && cgroup_signal(&j->cgroup, signal))
        return 0;
    return kill(whole_job ? -j->pid : j->pid, signal) < 0 ? -errno : 0;
}

void job_fail(struct job *j, struct fault f)
{
    job_kill_processes(j);
    close_all(j);
    j->state = JOB_FINISHED;
    j->failure = f;
    if (!j->conn && j->request)
        job_free(j);
}

/* It ended of itself, and what it has left may live on. */
static bool keeps_processes(const struct job *j)
{
    return j->keeps && !j->cause && !(j->exit.flags & PROTO_EXIT_OUTPUT_LOST) && !cgroup_is_empty(&j->cgroup);
}

/* A host that hears of the end may start what needs the processes and the memory that were killed. What cannot go, as it is traced
 * or waits for a disk, is not waited for. */
uint64_t job_check_leave(struct job *j, uint64_t now)
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

void job_finish(struct job *j)
{
    uint64_t now = sys_now();

    if (!channels_ended(&j->io) && j->cause != PROTO_CAUSE_OUTPUT &&
        !(j->exit.flags & PROTO_EXIT_OUTPUT_LOST))
        j->exit.flags |= PROTO_EXIT_OUTPUT_HELD;
    if (keeps_processes(j))
        j->exit.flags |= PROTO_EXIT_KEPT;
    else
        job_kill_processes(j);
    if (j->cause == PROTO_CAUSE_OUTPUT)
        j->exit.cause = PROTO_CAUSE_OUTPUT;
    j->exit.stdout_size = j->io.out[0].ring.end;
    j->exit.stderr_size = j->io.out[1].ring.end;
    channels_close(&j->io);
    j->wall_deadline = 0;
    j->state = JOB_LEAVING;
    j->leave_deadline = j->exit.flags & PROTO_EXIT_KEPT ? now : now + JOB_LEAVE_MS * NS_PER_MS;
    job_check_leave(j, now);
}

void job_cut_short(struct job *j)
{
    j->exit.flags |= PROTO_EXIT_OUTPUT_LOST;
    job_finish(j);
}

void job_kill(struct job *j, uint8_t cause)
{
    if (!job_lives(j) || j->state == JOB_LEAVING)
        return;
    if (j->state == JOB_FINISHED) {
        job_kill_processes(j);
        cgroup_retire(&j->cgroup);
        return;
    }
    if (job_has_ended(j)) {
        job_cut_short(j);
        return;
    }
    if (!j->cause)
        j->cause = cause;
    j->wall_deadline =
        sys_earlier(j->wall_deadline, sys_now() + JOB_KILL_AGAIN_NS); /* to see whether it went */
    job_kill_processes(j);
}
