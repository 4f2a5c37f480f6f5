#include "core/command.h"

#include "base/cleanup.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define KEEP_MS                                                                                              \
    (10 * 60 * 1000) /* how long a guest may take to write all that was changed, and to take in layers */

#define ACCOUNT_MS 10000

static bool is_wanted(const struct run_request *r, const struct run_result *result)
{
    const struct run_phase *last = run_last_phase(result);

    return last->end != RUN_VM_LOST &&
           (r->keep == RUN_KEEP_ALWAYS || (last->end == RUN_EXITED && last->exit_code == 0));
}

void command_not_kept(struct run_result *ret, enum run_kept how, const char *why)
{
    ret->kept = how;
    snprintf(ret->kept_note, sizeof(ret->kept_note), "%.255s", why);
}

/* In the guest, after the run. */
static void seal(const struct run_site *site, const struct command_image *image, const struct run_request *r,
                 struct run_result *ret)
{
    bool changed = false;
    struct error e = {0};

    if (r->keep == RUN_KEEP_NEVER)
        return;
    ret->kept = RUN_KEPT_FAILED_RUN;
    if (!is_wanted(r, ret))
        return;
    if (keep_seal(site->guest, image->fold, &changed, deadline_in_ms(KEEP_MS), &e) < 0) {
        site->explain(site->context, &e);
        command_not_kept(ret, RUN_KEPT_ERROR, e.text);
        return;
    }
    ret->kept = changed ? RUN_KEPT_KEPT : RUN_KEPT_UNCHANGED;
    if (!changed)
        snprintf(ret->kept_image, sizeof(ret->kept_image), "%s", image->uuid);
}

int command_check(const struct run_request *r, struct error *e)
{
    if (!r->argv || !r->argv[0] || !r->argv[0][0])
        return error_set(e, ERROR_USAGE, "there is no command to run in the image");
    if (r->sources && r->sources->count)
        return error_set(e, ERROR_USAGE, "a command in an image takes no program");
    return 0;
}

/* A directory to start in that the image does not have is made, as its user's. */
static int make_cwd(const struct run_site *site, const struct run_request *r, struct error *e)
{
    cleanup_free char *path = program_cwd(site->user, r->cwd);
    int64_t deadline = deadline_in_ms(ACCOUNT_MS);
    struct error missing = {0};
    struct guest_file there;

    if (!r->cwd || guest_stat(site->guest, path, &there, deadline, &missing) == 0)
        return 0;
    return guest_write_file(site->guest, path, S_IFDIR | 0755, 0, site->user->uid, site->user->gid, "", 0,
                            deadline, e);
}

int command_in(const struct run_site *site, const struct command_image *image, struct resident *resident,
               const struct call *call, const struct run_request *r, struct run_result *ret, struct error *e)
{
    const char *user = r->user ? r->user : image->user;

    if (resident_find(resident, site->guest, user, deadline_in_ms(ACCOUNT_MS), e) < 0 ||
        make_cwd(site, r, e) < 0 || run_in(site, call, r, ret, e) < 0)
        return -1;
    seal(site, image, r, ret);
    return 0;
}

void command_adopt(struct keep *k, const struct host *host, const struct call *call,
                   const struct image *parent, struct run_result *ret)
{
    struct error e = {0};
    struct image made;
    uint64_t bytes;

    if (ret->kept != RUN_KEPT_KEPT)
        return;
    int large = keep_is_too_large(k, &bytes, &e);
    if (large > 0) {
        cleanup_free char *why = text_format("what changed takes %llu bytes, and %llu are allowed",
                                             (unsigned long long)bytes, (unsigned long long)k->max_bytes);
        command_not_kept(ret, RUN_KEPT_TOO_LARGE, why);
    } else if (large < 0 || keep_adopt(k, &made, host, call, parent, call->trace_id, &e) < 0) {
        command_not_kept(ret, RUN_KEPT_ERROR, e.text);
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
    k->fold = keep_fold_count(&target.image);
    const struct command_image image = {target.image.uuid, target.image.defaults.user, k->fold};
    const struct run_site site = run_site_of(&m, &target, host);
    const struct run_request timed = run_with_times(r, host->config.timeout);
    int result = command_in(&site, &image, &target.resident, call, &timed, ret, e);
    machine_destroy(&m);
    if (result == 0)
        command_adopt(k, host, call, &target.image, ret);
    target_done(&target);
    return result;
}

int command_run(struct host *host, const struct call *call, const struct run_request *r,
                struct run_result *ret, struct error *e)
{
    struct keep k = {0};

    *ret = (struct run_result){0};
    if (command_check(r, e) < 0)
        return -1;
    if (r->keep != RUN_KEEP_NEVER && keep_begin(&k, host, call, r->shape.disk_mib, r->max_layer, e) < 0)
        return -1;
    int result = load_and_run_command(host, call, &k, r, ret, e);
    keep_done(&k);
    run_log(ret, call, r->image);
    return result;
}
