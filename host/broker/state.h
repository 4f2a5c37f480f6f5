/* state: VMs, pools, owners and memory as they are at the moment, as JSON: for metrics and for people. */
#ifndef CAPSID_STATE_H
#define CAPSID_STATE_H

#include "core/admission.h"
#include "core/pool.h"

#include <jansson.h>

/* C(name, which is that of JSON and of the metric, member of struct pool_stats, kind of metric, "what it is"), of each language. */
#define STATE_POOL_COUNTS(C)                                                                                 \
    C(size, size, "gauge", "VMs that are kept ready.")                                                       \
    C(waiting, waiting, "gauge", "Programs whose turn has come, for a VM that is being restored.")           \
    C(memory_bytes, memory, "gauge", "What the VMs have for themselves.")                                    \
    C(template_bytes, template_size, "gauge", "The snapshot in memory.")                                     \
    C(restored_total, restored, "counter", "VMs that were restored.")                                        \
    C(destroyed_total, destroyed, "counter", "VMs that were destroyed.")                                     \
    C(served_total, served, "counter", "VMs that were given to programs.")                                   \
    C(refused_total, refused, "counter", "Programs that got no VM in time.")                                 \
    C(failures_total, failures, "counter", "Restores that failed.")                                          \
    C(lost_total, lost, "counter", "Idle VMs that ended.")                                                   \
    C(unanswered_total, unanswered, "counter", "Idle VMs that did not answer.")                              \
    C(evicted_total, evicted, "counter", "Idle VMs that made room.")

/* A VM that somebody has; all borrowed. */
struct state_vm {
    const char *id, *trace_id, *language;
    const struct admission_wish *place;
    pid_t pid;
    int64_t since_ns; /* monotonic */
};

json_t *state_vm_json(const struct state_vm *vm);

/* pool NULL: there is none yet. A new reference. */
json_t *state_json(struct pool *pool, struct admission *admission);

#endif
