/*
 * pool: restored VMs that wait for work, with their guest's connection open and RESUME confirmed. Each serves one
 * run and is destroyed. What is taken is replaced in the background; what does not answer, or ends, as well.
 *
 * A restore takes a whole processor for as long as many a run takes. So what was taken is replaced when it is given back,
 * or replace_ms later, whichever is first; and at once when no other is ready.
 *
 * A pool has targets: a language with its snapshot, of which so many VMs are kept ready. Threads of the pool (keepers)
 * restore and destroy VMs, and live as long as the pool, because a VMM dies with the thread that started it. Another
 * one watches the VMs that are idle. All functions may be called by any thread.
 *
 * Bounds: VMs of all targets together, in whatever state; memory. Who finds no VM ready waits, first come first
 * served for each target; targets that are waited for are refilled in turns, and before those that are not.
 */
#ifndef CAPSID_POOL_H
#define CAPSID_POOL_H

#include "core/run.h"
#include "core/host.h"

#include <stdint.h>
#include <sys/types.h>

struct pool;
struct pool_target;
struct pool_vm;

struct pool_options {
    unsigned max_vms;        /* of all targets, also those at work or being made or destroyed; 0: 64 */
    unsigned max_waiters;    /* who waits beyond that is refused with ERROR_BUSY; 0: 256 */
    unsigned keepers;        /* threads that restore and destroy; 0: as many as processors */
    uint64_t memory_max;     /* bytes that all VMs may have for themselves; 0: no bound but the reserve */
    uint64_t memory_reserve; /* bytes that the machine shall have left when a new VM is as large as it can be;
                                  0: 256 MiB */
    /* How often an idle VM is asked whether it is alive, and with more than 16 VMs in proportion less often: an emulated
     * guest that has slept computes some 4 ms for its answer. 0: 10000. The end of a VMM is seen at once. */
    int64_t check_interval_ms;
    int64_t check_deadline_ms; /* how long its answer may take; 0: 5000 */
    int64_t replace_ms;        /* see above; 0: 20 */
    /* How long the first steps of an emulated guest may take. 0: 20000, or boot_timeout when that is longer. */
    int64_t warm_deadline_ms;
};

/* s is borrowed. Decides the accelerator and the confinement. Starts the threads. */
int pool_open(struct pool **ret, struct host *host, const struct pool_options *options, struct error *e);

/* Ends all VMs. Who waits is refused. Whatever was taken must be discarded by other threads; this waits for it. Accepts
 * NULL. */
void pool_close(struct pool *p);

/* Keeps size VMs of the target ready from now on; takes the target over, which must have a snapshot. Loads the
 * snapshot into memory, after which others may remove its files, unless they hold a scratch disk. The pool owns what it returns. */
int pool_add(struct pool *p, const struct call *call, struct run_target *target, unsigned size,
             struct pool_target **ret, struct error *e);

/*
 * Keeps no VMs of the target ready any more, and gives its template back: its snapshot is not current. Those who wait
 * already, or come nevertheless, are served from the snapshot's files, if they are still there.
 */
void pool_retire(struct pool *p, struct pool_target *t);

const struct run_target *pool_run_target(const struct pool_target *t);

/*
 * A VM that has just answered. Waits for one until the deadline or cancel, which must outlive what is returned:
 *   ERROR_BUSY       too many wait, or none became free in time
 *   ERROR_CANCELLED  cancel, or the pool was closed
 *   others           VMs cannot be restored, and this is why; the pool tries again, less and less often
 */
int pool_take(struct pool *p, struct pool_target *t, int64_t deadline, const struct cancel *cancel,
              struct pool_vm **ret, struct error *e);

struct machine *pool_machine(struct pool_vm *vm);

/* Gives a VM back, to be destroyed; does not wait for that. */
void pool_discard(struct pool *p, struct pool_vm *vm);

/* How long a run waits for its VM, and who wants to know that it has it. */
struct pool_turn {
    int64_t deadline;
    void (*came)(void *context); /* may be NULL */
    void *context;
};

/* A run from taking a VM to giving it back. As run_program(); load_ns of the result is how long it waited. */
int pool_run(struct pool *p, struct pool_target *t, const struct call *call, const struct run_request *r,
             const struct pool_turn *turn, struct run_result *ret, struct error *e);

/* Counts of one target: what there is now, and what happened since it was added. */
struct pool_stats {
    unsigned size, ready, warming, taken, ending; /* ending: being destroyed */
    unsigned waiting;                             /* those who want a VM */
    uint64_t restored, destroyed, served;
    uint64_t refused;    /* takes that ended with ERROR_BUSY */
    uint64_t failures;   /* restores that failed */
    uint64_t lost;       /* idle VMs that ended or broke the protocol */
    uint64_t unanswered; /* idle VMs that did not answer */
    uint64_t evicted;    /* idle VMs that made room for other targets */
    uint64_t memory;     /* bytes that its VMs have for themselves, as last seen */
    uint64_t template_size;
    int64_t retry_ms;     /* until the next restore is tried after failures; 0: nothing is wrong */
    struct error failure; /* the last one */
    bool memory_bound;    /* the pool does not grow because of memory */
};

/* Calls visit for each target in the order they were added, but those that were retired. */
void pool_each(struct pool *p,
               void (*visit)(const struct pool_target *t, const struct pool_stats *host, void *context),
               void *context);

void pool_stats(struct pool *p, const struct pool_target *t, struct pool_stats *ret);

/* The pids of VMMs of a target, at most max; idle ones only, or all. Returns how many. */
size_t pool_pids(struct pool *p, const struct pool_target *t, bool idle, pid_t *ret, size_t max);

#endif
