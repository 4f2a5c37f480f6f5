#include "memory.h"

#include "cgroup.h"
#include "job.h"
#include "kmsg.h"
#include "limits.h"
#include "messages.h"
#include "service.h"
#include "sys.h"

#include <errno.h>
#include <sys/mman.h>

/* Of the linker, end(3): the first byte of the program, and the first after its text. */
extern const char __executable_start[], etext[];

static uint64_t look_at;  /* 0: nothing runs */
static uint64_t spare_at; /* until then the last victim has the time to go */

void memory_init(void)
{
    /* The tables: what is touched stays, what is not costs nothing. The text: all of it, before it is needed. */
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0 ||
        mlock(__executable_start, (size_t)(etext - __executable_start)) < 0)
        kmsg_log(KMSG_WARNING, "initd may be paged out", NULL, errno);
}

/* A job that waits for its script does not grow. */
static bool anything_runs(void)
{
    if (service_pid() > 0)
        return true;
    for (unsigned i = 0; i < JOBS_MAX; i++)
        if (job_is_active(i) && job_lives(job_at(i)) && job_at(i)->state != JOB_PRIMED)
            return true;
    return false;
}

/* How much more there may be used before somebody has to go; 0: no more. */
static uint64_t room(void)
{
    uint64_t available = sys_memory_free();
    uint64_t jobs = cgroup_jobs_room();

    if (available < MEMORY_FREE_PLENTY)
        available = sys_memory_available();
    available = available > MEMORY_LEAST ? available - MEMORY_LEAST : 0;
    jobs = jobs > MEMORY_SHORT ? jobs - MEMORY_SHORT : 0;
    return jobs < available ? jobs : available;
}

/* What the end of a group's processes gives back. Without a memory cgroup only its first process is known. */
static uint64_t held_by(const struct cgroup *g, pid_t pid)
{
    return cgroup_has(CGROUP_MEMORY) ? cgroup_held(g) : sys_resident_size(pid);
}

/* False: nobody has so much that it would help. */
static bool kill_largest(void)
{
    struct job *largest = NULL;
    uint64_t most = service_pid() > 0 ? held_by(service_group(), service_pid()) : 0;

    for (unsigned i = 0; i < JOBS_MAX; i++) {
        struct job *j = job_at(i);
        uint64_t held = job_lives(j) ? held_by(&j->cgroup, j->pid) : 0;
        if (held > most) {
            most = held;
            largest = j;
        }
    }
    if (most < MEMORY_VICTIM_MIN)
        return false;
    if (largest)
        job_kill(largest, PROTO_CAUSE_OOM);
    else
        service_kill_for_memory();
    return true;
}

uint64_t memory_run_timers(uint64_t now)
{
    if (!anything_runs()) {
        look_at = 0;
        return 0;
    }
    if (look_at && now < look_at)
        return look_at;
    uint64_t left = room();
    if (left == 0 && now >= spare_at && kill_largest())
        spare_at = now + MEMORY_VICTIM_MS * NS_PER_MS;
    uint64_t ms = left / MEMORY_FILLED_PER_MS;
    if (ms < MEMORY_LOOK_MIN_MS)
        ms = MEMORY_LOOK_MIN_MS;
    if (ms > MEMORY_LOOK_MAX_MS)
        ms = MEMORY_LOOK_MAX_MS;
    look_at = now + ms * NS_PER_MS;
    return look_at;
}
