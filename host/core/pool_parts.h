/* pool_parts: a pool's VMs and those who wait for them, under its lock: what those who take, its keepers and its watcher share.
 * Private to them. */
#ifndef CAPSID_POOL_PARTS_H
#define CAPSID_POOL_PARTS_H

#include "base/waiter.h"
#include "core/host.h"
#include "core/machine.h"
#include "core/pool_figures.h"
#include "core/target.h"
#include "core/template.h"

#include <pthread.h>

/* So many restores in a row fail before those who wait are told; one may be bad luck. */
#define POOL_FAILURES_TOLD 3

enum pool_vm_state {
    POOL_WARMING, /* a keeper restores it */
    POOL_READY,   /* the watcher looks after it */
    POOL_TAKEN,   /* it belongs to who took it */
    POOL_DOOMED,  /* the next keeper destroys it */
    POOL_ENDING,  /* a keeper destroys it */
};

struct pool_vm {
    struct machine machine;
    struct pool_target *target;
    enum pool_vm_state state;
    uint64_t id;           /* also its age: those made later have larger ones */
    int64_t replace_at;    /* of a taken one: not before then, while others are ready */
    int64_t next_check;    /* of a ready one */
    int64_t ping_deadline; /* 0: no PING is under way */
    uint64_t memory;       /* bytes it has for itself, as last seen */
};

/* Someone in pool_take(), on the stack there. */
struct pool_waiter {
    struct waiter waiter;
    struct pool_vm *given; /* or error says why not */
    struct error error;
};

struct pool_target {
    struct run_target run;
    struct template *template; /* NULL once retired */
    unsigned size;
    bool retired;
    struct waiter_line line; /* of struct pool_waiter */
    uint64_t filled;         /* when its last restore began, in restores of the pool */
    unsigned failed;         /* restores in a row */
    int64_t retry_at;
    bool unwarmed; /* the last one took too long to be warmed, so the next is given out as restored */
    struct pool_stats counts; /* those that only grow, and failure */
    struct pool_target *next;
};

struct pool_keeper {
    struct pool *pool;
    pthread_t thread;
};

struct pool {
    struct pool_options options;
    struct host *host; /* borrowed */
    int stop_fd;       /* an eventfd, readable when the pool is closed */
    int watch_fd;      /* an epoll of all that is ready */
    struct call call;  /* nobody's; cancelled by stop_fd */
    pthread_t watcher;
    bool watched; /* it was started */
    struct pool_keeper *keepers;
    unsigned keeper_count; /* of those that were started */

    /* All below is under lock. */
    pthread_mutex_t lock;
    pthread_cond_t work;  /* for keepers: something may have to be done */
    pthread_cond_t left;  /* for pool_close(): a caller left */
    struct pool_vm **vms; /* options.max_vms places */
    unsigned vm_count;    /* the first places are used */
    unsigned waiting;     /* waiters of all targets */
    unsigned callers;     /* threads in pool_take() */
    uint64_t last_id;     /* of a VM */
    bool closing;
    bool memory_bound;
    struct pool_target *targets;
};

/* With the lock held: counts the VMs of a target (NULL: of all) in that state. */
unsigned pool_count(const struct pool *p, const struct pool_target *t, enum pool_vm_state state);

/* With the lock held: a VM has become usable; it goes to who waits, or is kept. */
void pool_offer(struct pool *p, struct pool_vm *vm);

/* With the lock held: a ready VM is the watcher's no more. */
void pool_unwatch(struct pool *p, const struct pool_vm *vm);

/* With the lock held: sets when an idle VM is to be asked whether it is alive. */
void pool_check_later(struct pool *p, struct pool_vm *vm);

/* With the lock held: a VM, whatever its state, is to be destroyed; why is for events, NULL: it was said already. */
void pool_doom(struct pool *p, struct pool_vm *vm, const char *why, const char *detail);

/* With the lock held: everyone who waits for the target gets the error. */
void pool_refuse(struct pool *p, struct pool_target *t, const struct error *e);

#endif
