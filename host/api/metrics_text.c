#include "api/metrics_text.h"

#include "api/server.h"
#include "core/usage.h"

#include <string.h>

void metrics_head(struct buffer *out, const char *name, const char *type, const char *help)
{
    buffer_add_text(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void value(struct buffer *out, const char *name, const char *type, const char *help, double v)
{
    metrics_head(out, name, type, help);
    buffer_add_text(out, "%s %.17g\n", name, v);
}

static void histogram(struct buffer *out, const char *name, const char *help, struct histogram *h)
{
    unsigned long long sum = 0;

    metrics_head(out, name, "histogram", help);
    for (unsigned i = 0; i < METRICS_BUCKETS; i++) {
        sum += h->buckets[i];
        buffer_add_text(out, "%s_bucket{le=\"%g\"} %llu\n", name, metrics_bounds[i], sum);
    }
    sum += h->buckets[METRICS_BUCKETS];
    buffer_add_text(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.6f\n%s_count %llu\n", name, sum, name,
                    (double)h->sum_us / 1e6, name, sum);
}

static void write_request_count(struct buffer *out, const struct route *route, int status,
                                unsigned long long count)
{
    char text[16];

    snprintf(text, sizeof(text), status ? "%d" : "other", status);
    buffer_add_text(out, "capsid_http_requests_total{method=\"%s\",path=\"%s\",status=\"%s\"} %llu\n",
                    route ? route->method : "", route ? route->pattern : "", text, count);
}

static void write_requests(struct metrics *m, struct buffer *out)
{
    metrics_head(out, "capsid_http_requests_total", "counter", "Requests answered, by path and status.");
    for (unsigned r = 0; r <= METRICS_ROUTES; r++) {
        const struct route *route = r < METRICS_ROUTES ? &api_routes[r] : NULL;
        if (route && !route->method) {
            r = METRICS_ROUTES;
            route = NULL;
        }
        for (unsigned i = 0; i < METRICS_STATUSES; i++)
            if (m->requests[r][i])
                write_request_count(out, route, metrics_statuses[i], m->requests[r][i]);
    }
}

struct lane_row {
    unsigned waiting, limit, workers, busy, threads, owners;
};

static void write_lane_metric(struct buffer *out, const struct lane_row *rows, const char *name,
                              const char *help, size_t offset)
{
    metrics_head(out, name, "gauge", help);
    for (enum task_lane l = LANE_RUN; l < LANE_COUNT; l++)
        buffer_add_text(out, "%s{lane=\"%s\"} %u\n", name, task_lane_name(l),
                        *(const unsigned *)((const char *)&rows[l] + offset));
}

static void count_owner(const char *owner, unsigned busy, unsigned waiting, void *count)
{
    (void)owner, (void)busy, (void)waiting;
    ++*(unsigned *)count;
}

/* Programs have threads from the start; what they wait for are VMs. */
static void write_lanes(struct api_server *s, struct buffer *out)
{
    struct lane_row rows[LANE_COUNT];

    for (enum task_lane l = LANE_RUN; l < LANE_COUNT; l++) {
        const struct lane_use use = lane_used(&s->tasks.lanes[l]);
        const struct lane_bounds *b = &s->tasks.lanes[l].bounds;
        rows[l] = (struct lane_row){use.waiting, b->waiting, b->threads, use.busy, use.threads, 0};
        lane_each(&s->tasks.lanes[l], count_owner, &rows[l].owners);
    }
    rows[LANE_RUN].limit = (unsigned)s->options->queue;
    rows[LANE_RUN].workers = backend_places(s->backend);
    backend_count(s->backend, &rows[LANE_RUN].busy, &rows[LANE_RUN].waiting);
    write_lane_metric(out, rows, "capsid_queue_length", "Requests that wait for a VM or a worker.",
                      offsetof(struct lane_row, waiting));
    write_lane_metric(out, rows, "capsid_queue_limit", "How many may wait.",
                      offsetof(struct lane_row, limit));
    write_lane_metric(out, rows, "capsid_workers", "VMs and workers at a time.",
                      offsetof(struct lane_row, workers));
    write_lane_metric(out, rows, "capsid_workers_busy", "VMs and workers that work.",
                      offsetof(struct lane_row, busy));
    write_lane_metric(out, rows, "capsid_queue_clients", "Clients whose requests wait or are worked on.",
                      offsetof(struct lane_row, owners));
    write_lane_metric(out, rows, "capsid_threads", "Threads that work on requests, or could.",
                      offsetof(struct lane_row, threads));
}

/* Of both processes: this one and the broker. */
static double of_both(uint64_t mine, const json_t *state, const char *name)
{
    return (double)mine + (double)json_integer_value(json_object_get(json_object_get(state, "broker"), name));
}

/* What is remembered, also after a restart. */
static void write_ledger(struct api_server *s, struct buffer *out)
{
    const struct ledger_use operations = ledger_measure(&s->ledger, "operations"),
                            keys = ledger_measure(&s->ledger, "keys");

    metrics_head(out, "capsid_operations", "gauge", "Operations that are remembered.");
    buffer_add_text(out,
                    "capsid_operations{state=\"pending\"} %llu\ncapsid_operations{state=\"finished\"} %llu\n",
                    (unsigned long long)operations.unfinished, (unsigned long long)operations.finished);
    value(out, "capsid_operations_result_bytes", "gauge", "Bytes of their results.",
          (double)operations.bytes);
    value(out, "capsid_idempotency_keys", "gauge", "Idempotency-Keys that are remembered.",
          (double)(keys.unfinished + keys.finished));
    value(out, "capsid_idempotency_keys_answer_bytes", "gauge", "Bytes of the answers for them.",
          (double)keys.bytes);
}

static void write_connections(struct connections *c, struct buffer *out)
{
    pthread_mutex_lock(&c->lock);
    struct connections now = *c;
    pthread_mutex_unlock(&c->lock);
    metrics_head(out, "capsid_http_connections", "gauge",
                 "Connections that wait for a request, bring a body, or are served.");
    buffer_add_text(out,
                    "capsid_http_connections{state=\"waiting\"} %u\n"
                    "capsid_http_connections{state=\"bringing\"} %u\n"
                    "capsid_http_connections{state=\"served\"} %u\n",
                    now.counts[CONNECTION_WAITS], now.counts[CONNECTION_BRINGS],
                    now.counts[CONNECTION_SERVED]);
    value(out, "capsid_http_connections_limit", "gauge", "How many there may be.", now.limits.all);
    value(out, "capsid_http_client_connections_limit", "gauge", "How many of one address or client.",
          now.limits.of_owner);
    metrics_head(
        out, "capsid_http_connections_ended_total", "counter",
        "Connections that were ended: they brought nothing for too long, or others needed the place.");
    buffer_add_text(out,
                    "capsid_http_connections_ended_total{why=\"slow\"} %llu\n"
                    "capsid_http_connections_ended_total{why=\"crowded\"} %llu\n",
                    now.slow, now.crowded);
}

void metrics_write(struct api_server *s, const json_t *state, struct buffer *out)
{
    struct metrics *m = &s->metrics;

    metrics_head(out, "capsid_build_info", "gauge", "The version.");
    buffer_add_text(out, "capsid_build_info{version=\"%s\"} 1\n", CAPSID_VERSION);
    write_requests(m, out);
    histogram(out, "capsid_http_request_duration_seconds", "From a request's head to the end of its answer.",
              &m->duration);
    metrics_head(out, "capsid_runs_total", "counter",
                 "Programs run, by how they ended; failed: did not get to run.");
    for (enum run_end i = RUN_NONE + 1; i < RUN_ENDS_COUNT; i++)
        buffer_add_text(out, "capsid_runs_total{end=\"%s\"} %llu\n", run_end_name(i),
                        (unsigned long long)m->ends[i]);
    value(out, "capsid_runs_primed_total", "counter", "Programs that a waiting interpreter took.",
          (double)m->primed);
    histogram(out, "capsid_run_load_seconds", "Until a run's guest was ready.", &m->load);
    histogram(out, "capsid_run_exec_seconds", "How long programs ran.", &m->exec);
    histogram(out, "capsid_queue_wait_seconds", "How long programs waited for a VM or a worker.",
              &m->queue_wait);
    write_lanes(s, out);
    metrics_admission(state, out);
    metrics_pool(json_object_get(state, "pools"), out);
    write_ledger(s, out);
    write_connections(&s->connections, out);
    value(out, "capsid_http_exchanges", "gauge", "Requests that are being read, worked on or answered.",
          s->exchanges);
    value(out, "capsid_http_bodies_bytes", "gauge", "Bytes of bodies and large answers that are held.",
          (double)s->tasks.held);
    value(out, "capsid_uptime_seconds", "gauge", "How long the server runs.",
          (double)(clock_monotonic_ns() - s->started_ns) / 1e9);
    value(out, "process_open_fds", "gauge", "Open file descriptors.",
          of_both(usage_open_files(), state, "open_files"));
    value(out, "process_resident_memory_bytes", "gauge", "Resident memory.",
          of_both(usage_resident(), state, "resident_bytes"));
}
