/* The metrics of the pool: a line for each language. */
#include "api/metrics.h"

#include "base/cleanup.h"
#include "broker/state.h"

static const char *language_of(const json_t *one)
{
    return json_string_value(json_object_get(one, "language"));
}

static unsigned long long number_of(const json_t *one, const char *name)
{
    return (unsigned long long)json_integer_value(json_object_get(one, name));
}

static void write_states(const json_t *pools, struct buffer *out)
{
    static const char *const states[] = {"ready", "warming", "taken", "ending"};
    json_t *one;
    size_t i;

    metrics_head(out, "capsid_pool_vms", "gauge", "VMs of the pool by what they do.");
    json_array_foreach(pools, i, one) for (size_t n = 0; n < sizeof(states) / sizeof(states[0]); n++)
        buffer_add_text(out, "capsid_pool_vms{language=\"%s\",state=\"%s\"} %llu\n", language_of(one),
                        states[n], number_of(one, states[n]));
}

void metrics_pool(const json_t *pools, struct buffer *out)
{
    static const struct {
        const char *name, *type, *help;
    } counts[] = {
#define C(name, type, help) {#name, type, help},
        STATE_POOL_COUNTS(C)
#undef C
    };
    json_t *one;
    size_t i;

    if (json_array_size(pools) == 0)
        return;
    write_states(pools, out);
    for (size_t n = 0; n < sizeof(counts) / sizeof(counts[0]); n++) {
        cleanup_free char *name = text_format("capsid_pool_%s", counts[n].name);
        metrics_head(out, name, counts[n].type, counts[n].help);
        json_array_foreach(pools, i, one) buffer_add_text(out, "%s{language=\"%s\"} %llu\n", name,
                                                          language_of(one), number_of(one, counts[n].name));
    }
}
