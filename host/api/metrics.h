/* metrics: counters of what was asked and how it ended. Their text: metrics_text.h. */
#ifndef CAPSID_API_METRICS_H
#define CAPSID_API_METRICS_H

#include "core/run.h"

#include <stdatomic.h>
#include <stdint.h>

#define METRICS_BUCKETS 14
#define METRICS_ROUTES 96
#define METRICS_STATUSES 32

struct histogram {
    atomic_ullong buckets[METRICS_BUCKETS + 1]; /* each its own, not yet summed up; the last is +Inf */
    atomic_ullong sum_us;
};

struct metrics {
    atomic_ullong requests[METRICS_ROUTES + 1][METRICS_STATUSES]; /* the last row: no known path */
    struct histogram duration, queue_wait, load, exec;
    atomic_ullong ends[RUN_ENDS_COUNT];
    atomic_ullong primed;
};

extern const double metrics_bounds[METRICS_BUCKETS]; /* seconds, of the buckets */
extern const int metrics_statuses[METRICS_STATUSES]; /* the last, 0, is for those that are not there */

void metrics_observe(struct histogram *h, int64_t ns);
/* route: its number in api_routes, or METRICS_ROUTES. */
void metrics_request(struct metrics *m, unsigned route, int status, int64_t ns);
void metrics_run(struct metrics *m, enum run_end end, int64_t load_ns, int64_t exec_ns, int primed);

#endif
