/* The metrics of what the broker has: VMs of each kind against their bounds, and the pool, a line for each language. */
#include "api/metrics_text.h"

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

static void write_kinds(const char *name, const char *help, const json_t *vms, struct buffer *out)
{
    const char *kind;
    json_t *count;

    metrics_head(out, name, "gauge", help);
    json_object_foreach((json_t *)vms, kind, count) buffer_add_text(
        out, "%s{kind=\"%s\"} %llu\n", name, kind, (unsigned long long)json_integer_value(count));
}

static void write_one(const char *name, const char *help, unsigned long long v, struct buffer *out)
{
    metrics_head(out, name, "gauge", help);
    buffer_add_text(out, "%s %llu\n", name, v);
}

void metrics_admission(const json_t *state, struct buffer *out)
{
    const json_t *used = json_object_get(state, "used"), *max = json_object_get(state, "bounds");

    if (!used)
        return;
    write_kinds("capsid_vms", "VMs that work for somebody, by kind.", json_object_get(used, "vms"), out);
    write_kinds("capsid_vms_limit", "How many there may be.", json_object_get(max, "vms"), out);
    write_one("capsid_vms_waiting", "Who wait for a VM, or for a turn to make one.",
              number_of(used, "waiting"), out);
    write_one("capsid_vms_memory_bytes", "Memory that they may come to take.",
              number_of(used, "memory_mib") << 20, out);
    write_one("capsid_vms_memory_limit_bytes", "How much there may be.", number_of(max, "memory_mib") << 20,
              out);
    write_one("capsid_vms_disk_bytes", "Disk that they may come to take.", number_of(used, "disk_mib") << 20,
              out);
    write_one("capsid_vms_disk_limit_bytes", "How much there may be.", number_of(max, "disk_mib") << 20, out);
    write_one("capsid_owners", "Tokens that have a VM or want one.",
              json_array_size(json_object_get(state, "owners")), out);
}

void metrics_pool(const json_t *pools, struct buffer *out)
{
    static const struct {
        const char *name, *type, *help;
    } counts[] = {
#define C(name, member, type, help) {#name, type, help},
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
