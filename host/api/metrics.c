#include "api/metrics.h"

const double metrics_bounds[METRICS_BUCKETS] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                                0.1,    0.25,  0.5,    1,     2.5,  10,    60};

const int metrics_statuses[METRICS_STATUSES] = {101, 200, 201, 202, 204, 206, 304, 400, 401,
                                                403, 404, 405, 406, 409, 410, 413, 415, 416,
                                                421, 422, 426, 429, 431, 500, 503, 0};

void metrics_observe(struct histogram *h, int64_t ns)
{
    unsigned i = 0;

    while (i < METRICS_BUCKETS && (double)ns / 1e9 > metrics_bounds[i])
        i++;
    h->buckets[i]++;
    h->sum_us += (unsigned long long)(ns > 0 ? ns / 1000 : 0);
}

void metrics_request(struct metrics *m, unsigned route, int status, int64_t ns)
{
    unsigned i = 0;

    while (metrics_statuses[i] && metrics_statuses[i] != status)
        i++;
    if (status) /* or it was not answered: its client went away */
        m->requests[route < METRICS_ROUTES ? route : METRICS_ROUTES][i]++;
    metrics_observe(&m->duration, ns);
}

void metrics_run(struct metrics *m, enum run_end end, int64_t load_ns, int64_t exec_ns, int primed)
{
    m->ends[end]++;
    if (end == RUN_FAILED || load_ns == 0)
        return;
    metrics_observe(&m->load, load_ns);
    metrics_observe(&m->exec, exec_ns);
    m->primed += (unsigned long long)primed;
}
