/* pool_figures: the figures that a pool is opened with, and those that it tells. */
#ifndef CAPSID_POOL_FIGURES_H
#define CAPSID_POOL_FIGURES_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

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

#endif
