#include "core/command.h"

#include "base/cleanup.h"
#include "core/keep.h"

#include <stdio.h>
#include <string.h>

#define KEEP_MS                                                                                              \
    (10 * 60 * 1000) /* how long a guest may take to write all that was changed, and to take in layers */

static bool is_wanted(const struct run_request *r, const struct run_result *result)
{
    const struct run_phase *last = run_last_phase(result);

    return last->end != RUN_VM_LOST &&
           (r->keep == RUN_KEEP_ALWAYS || (last->end == RUN_EXITED && last->exit_code == 0));
}

static void not_kept(struct run_result *ret, enum run_kept how, const char *why)
{
    ret->kept = how;
    snprintf(ret->kept_note, sizeof(ret->kept_note), "%.255s", why);
}

/* In the guest, after the run. */
static void seal(struct keep *k, struct machine *m, const struct run_target *target,
                 const struct run_request *r, struct run_result *ret)
{
    bool changed = false;
    struct error e = {0};

    if (r->keep == RUN_KEEP_NEVER)
        return;
    ret->kept = RUN_KEPT_FAILED_RUN;
    if (!is_wanted(r, ret))
        return;
    k->fold = keep_fold_count(&target->image);
    if (keep_seal(&m->guest, k->fold, &changed, deadline_in_ms(KEEP_MS), &e) < 0) {
        machine_explain(m, &e);
        not_kept(ret, RUN_KEPT_ERROR, e.text);
        return;
    }
    ret->kept = changed ? RUN_KEPT_KEPT : RUN_KEPT_UNCHANGED;
    if (!changed)
        memcpy(ret->kept_image, target->image.uuid, sizeof(ret->kept_image));
}

/* When the VM is gone. */
static void adopt_kept(struct keep *k, const struct host *host, const struct call *call,
                       const struct run_target *target, struct run_result *ret)
{
    struct error e = {0};
    struct image made;
    uint64_t bytes;

    if (ret->kept != RUN_KEPT_KEPT)
        return;
    int large = keep_is_too_large(k, &bytes, &e);
    if (large > 0) {
        cleanup_free char *why =
            text_format("nothing was kept: what changed takes %llu bytes, and %llu are allowed",
                        (unsigned long long)bytes, (unsigned long long)k->max_bytes);
        not_kept(ret, RUN_KEPT_TOO_LARGE, why);
    } else if (large < 0 || keep_adopt(k, &made, host, call, &target->image, call->trace_id, &e) < 0) {
        not_kept(ret, RUN_KEPT_ERROR, e.text);
    } else {
        memcpy(ret->kept_image, made.uuid, sizeof(ret->kept_image));
        image_done(&made);
    }
}

static int load_and_run_command(struct host *host, const struct call *call, struct keep *k,
                                const struct run_request *r, struct run_result *ret, struct error *e)
{
    struct target_wish wish = {.image = r->image,
                               .disk = k->disk,
                               .shape = r->shape,
                               .start = r->cold ? TARGET_BOOT : TARGET_RESTORE};
    struct run_target target = {0};
    struct machine m;

    if (k->disk && !wish.shape.disk_mib)
        wish.shape.disk_mib = KEEP_DISK_MIB;
    if (target_open_and_load(&target, &m, host, call, &wish, e) < 0)
        return -1;
    ret->load_ns = m.life.ready_ns - m.life.begun_ns;
    int result = target_find_user(&target, &m, r->user, e);
    if (result == 0)
        result = run_on_machine(&m, host, call, &target, r, ret, e);
    if (result == 0)
        seal(k, &m, &target, r, ret);
    machine_destroy(&m);
    if (result == 0)
        adopt_kept(k, host, call, &target, ret);
    target_done(&target);
    return result;
}

int command_run(struct host *host, const struct call *call, const struct run_request *r,
                struct run_result *ret, struct error *e)
{
    struct keep k = {0};

    *ret = (struct run_result){0};
    if (!r->argv || !r->argv[0])
        return error_set(e, ERROR_USAGE, "there is no command to run in the image");
    if (r->sources->count)
        return error_set(e, ERROR_USAGE, "a command in an image takes no program");
    if (r->keep != RUN_KEEP_NEVER && keep_begin(&k, host, call, r->shape.disk_mib, r->max_layer, e) < 0)
        return -1;
    int result = load_and_run_command(host, call, &k, r, ret, e);
    keep_done(&k);
    run_log(ret, call, r->image);
    return result;
}
