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

#include "core/host.h"
#include "core/pool_figures.h"
#include "core/run.h"

#include <stdint.h>
#include <sys/types.h>

struct pool;
struct pool_target;
struct pool_vm;

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

/* Calls visit for each target in the order they were added, but those that were retired. */
void pool_each(struct pool *p,
               void (*visit)(const struct pool_target *t, const struct pool_stats *host, void *context),
               void *context);

void pool_stats(struct pool *p, const struct pool_target *t, struct pool_stats *ret);

/* The pids of VMMs of a target, at most max; idle ones only, or all. Returns how many. */
size_t pool_pids(struct pool *p, const struct pool_target *t, bool idle, pid_t *ret, size_t max);

#endif
