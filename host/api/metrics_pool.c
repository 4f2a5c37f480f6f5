/* The metrics of the pool: a line for each language. */
#include "api/metrics.h"

#include "base/cleanup.h"
#include "core/pool.h"

#include <stdlib.h>
#include <string.h>

struct row {
    const char *language; /* of the target, which stays as long as the pool */
    struct pool_stats stats;
};

struct rows {
    struct row *rows; /* owned */
    size_t count;
};

static void add(const struct pool_target *t, const struct pool_stats *stats, void *context)
{
    struct rows *r = context;

    r->rows = realloc(r->rows, (r->count + 1) * sizeof(r->rows[0]));
    if (!r->rows)
        abort();
    r->rows[r->count++] = (struct row){pool_run_target(t)->language.name, *stats};
}

static void write_states(const struct rows *r, struct buffer *out)
{
    metrics_head(out, "capsid_pool_vms", "gauge", "VMs of the pool by what they do.");
    for (size_t i = 0; i < r->count; i++) {
        const struct pool_stats *s = &r->rows[i].stats;
        const struct {
            const char *name;
            unsigned count;
        } states[] = {
            {"ready", s->ready}, {"warming", s->warming}, {"taken", s->taken}, {"ending", s->ending}};
        for (size_t n = 0; n < sizeof(states) / sizeof(states[0]); n++)
            buffer_add_text(out, "capsid_pool_vms{language=\"%s\",state=\"%s\"} %u\n", r->rows[i].language,
                            states[n].name, states[n].count);
    }
}

static uint64_t number(const struct pool_stats *s, size_t offset, bool wide)
{
    const void *at = (const char *)s + offset;
    uint64_t value;
    unsigned narrow;

    memcpy(wide ? (void *)&value : (void *)&narrow, at, wide ? sizeof(value) : sizeof(narrow));
    return wide ? value : narrow;
}

void metrics_pool(struct pool *p, struct buffer *out)
{
#define FIELD(field)                                                                                         \
    offsetof(struct pool_stats, field), sizeof(((struct pool_stats *)0)->field) == sizeof(uint64_t)
    static const struct {
        const char *name, *type, *help;
        size_t offset;
        bool wide;
    } fields[] = {
        {"capsid_pool_size", "gauge", "VMs that are kept ready.", FIELD(size)},
        {"capsid_pool_waiting", "gauge", "Programs that wait for a VM.", FIELD(waiting)},
        {"capsid_pool_memory_bytes", "gauge", "What the VMs have for themselves.", FIELD(memory)},
        {"capsid_pool_template_bytes", "gauge", "The snapshot in memory.", FIELD(template_size)},
        {"capsid_pool_restored_total", "counter", "VMs that were restored.", FIELD(restored)},
        {"capsid_pool_destroyed_total", "counter", "VMs that were destroyed.", FIELD(destroyed)},
        {"capsid_pool_served_total", "counter", "VMs that were given to programs.", FIELD(served)},
        {"capsid_pool_refused_total", "counter", "Programs that got no VM in time.", FIELD(refused)},
        {"capsid_pool_failures_total", "counter", "Restores that failed.", FIELD(failures)},
        {"capsid_pool_lost_total", "counter", "Idle VMs that ended.", FIELD(lost)},
        {"capsid_pool_unanswered_total", "counter", "Idle VMs that did not answer.", FIELD(unanswered)},
        {"capsid_pool_evicted_total", "counter", "Idle VMs that made room.", FIELD(evicted)},
    };
#undef FIELD
    struct rows r = {0};

    if (p)
        pool_each(p, add, &r);
    if (r.count)
        write_states(&r, out);
    for (size_t f = 0; r.count && f < sizeof(fields) / sizeof(fields[0]); f++) {
        metrics_head(out, fields[f].name, fields[f].type, fields[f].help);
        for (size_t i = 0; i < r.count; i++)
            buffer_add_text(out, "%s{language=\"%s\"} %llu\n", fields[f].name, r.rows[i].language,
                            (unsigned long long)number(&r.rows[i].stats, fields[f].offset, fields[f].wide));
    }
    free(r.rows);
}
