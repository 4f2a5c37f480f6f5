#include "broker/state.h"

#include "base/deadline.h"
#include "core/usage.h"

static json_t *number(uint64_t n)
{
    return json_integer((json_int_t)n);
}

static void add_target(const struct pool_target *t, const struct pool_stats *s, void *pools)
{
    json_t *j = json_object();

    json_object_set_new(j, "language", json_string(pool_run_target(t)->language.name));
    json_object_set_new(j, "ready", number(s->ready));
    json_object_set_new(j, "warming", number(s->warming));
    json_object_set_new(j, "taken", number(s->taken));
    json_object_set_new(j, "ending", number(s->ending));
#define C(name, member, type, help) json_object_set_new(j, #name, number(s->member));
    STATE_POOL_COUNTS(C)
#undef C
    if (s->retry_ms)
        json_object_set_new(j, "failure", json_string(s->failure.text));
    json_array_append_new(pools, j);
}

/* {"pooled": N, ...} */
static json_t *vms_json(const unsigned vms[static ADMISSION_KINDS_COUNT])
{
    json_t *j = json_object();

    for (enum admission_kind k = 0; k < ADMISSION_KINDS_COUNT; k++)
        json_object_set_new(j, admission_kind_name(k), number(vms[k]));
    return j;
}

static void add_owner(const char *name, const struct admission_use *use, void *owners)
{
    json_array_append_new(owners, json_pack("{s:s, s:o, s:o, s:o, s:o}", "owner", name, "vms",
                                            vms_json(use->vms), "waiting", number(use->waiting), "memory_mib",
                                            number(use->memory_mib), "disk_mib", number(use->disk_mib)));
}

json_t *state_vm_json(const struct state_vm *vm)
{
    const struct admission_wish *p = vm->place;

    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:f}", "id", vm->id, "trace_id", vm->trace_id,
        "language", vm->language, "owner", p->owner, "kind", admission_kind_name(p->kind), "memory_mib",
        number(p->shape.memory_mib), "vcpus", number(p->shape.vcpus), "disk_mib", number(p->shape.disk_mib),
        "pid", number((uint64_t)vm->pid), "seconds", (double)(clock_monotonic_ns() - vm->since_ns) / 1e9);
}

json_t *state_json(struct pool *pool, struct admission *admission)
{
    struct admission_use all = admission_used(admission, NULL);
    struct admission_bounds bounds = admission_bounds_of(admission);
    json_t *pools = json_array(), *owners = json_array();

    if (pool)
        pool_each(pool, add_target, pools);
    admission_each(admission, add_owner, owners);
    return json_pack("{s:{s:o, s:o, s:o, s:o}, s:{s:o, s:o, s:o, s:o}, s:o, s:o, s:{s:o, s:o}}", "used",
                     "vms", vms_json(all.vms), "waiting", number(all.waiting), "memory_mib",
                     number(all.memory_mib), "disk_mib", number(all.disk_mib), "bounds", "vms",
                     vms_json(bounds.vms), "waiting", number(bounds.waiting), "memory_mib",
                     number(bounds.memory_mib), "disk_mib", number(bounds.disk_mib), "owners", owners,
                     "pools", pools, "broker", "open_files", number(usage_open_files()), "resident_bytes",
                     number(usage_resident()));
}
