/* metrics: counters, and their text for Prometheus (exposition format 0.0.4). */
#ifndef CAPSID_API_METRICS_H
#define CAPSID_API_METRICS_H

#include "base/text.h"
#include "core/run.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdint.h>

#define METRICS_BUCKETS 14
#define METRICS_ROUTES 32
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

struct api_server;

void metrics_observe(struct histogram *h, int64_t ns);
/* route: its number in api_routes, or METRICS_ROUTES. */
void metrics_request(struct metrics *m, unsigned route, int status, int64_t ns);
void metrics_run(struct metrics *m, enum run_end end, int64_t load_ns, int64_t exec_ns, int primed);

/* state: the broker's (broker/state.h). */
void metrics_write(struct api_server *s, const json_t *state, struct buffer *out);

/* The lines before those of a metric. */
void metrics_head(struct buffer *out, const char *name, const char *type, const char *help);

/* Those of the pool, of which the broker's state has an object for each language. */
void metrics_admission(const json_t *state, struct buffer *out);
void metrics_pool(const json_t *pools, struct buffer *out);

#endif
