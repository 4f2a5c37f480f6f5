#include "core/target.h"

#include "base/cleanup.h"
#include "core/bare.h"
#include "core/provide.h"
#include "image/import.h"

#include <stdlib.h>
#include <string.h>

/* What the definition sets counts. */
static int add_variable(const char *variable, void *language, struct error *e)
{
    return language_add_variable(language, variable, e);
}

#define COMMAND_MEMORY_MIB 512 /* of VMs for commands, where nobody says otherwise */

/* Of a command there is no more to know. */
static struct language command_language(const char *image)
{
    return (struct language){.name = text_copy(image),
                             .source = text_copy("command"),
                             .run = text_copy("command"),
                             .shape = {.memory_mib = COMMAND_MEMORY_MIB, .vcpus = 1}};
}

static void take_layers(struct run_target *t)
{
    unsigned count = 0;

    if (t->bare_root) {
        t->layers[count] = t->image.path;
        t->layer_kinds[count++] = IMAGE_LAYER_EROFS;
    }
    for (unsigned i = 0; i < t->image.layer_count; i++) {
        t->layers[count] = t->image.layers[i].path;
        t->layer_kinds[count++] = t->image.layers[i].kind;
    }
}

/* What is in the target itself, which may have been copied. */
static struct machine_spec spec_of(const struct run_target *t)
{
    struct machine_spec spec = t->spec;

    spec.layers = t->layers;
    spec.layer_kinds = t->layer_kinds;
    return spec;
}

static int hold_image(struct run_target *t, struct error *e)
{
    t->hold = image_hold(&t->image, e);
    return t->hold < 0 ? -1 : 0;
}

static int open_image(struct run_target *t, struct host *host, const struct call *call,
                      const struct target_wish *wish, struct error *e)
{
    if (provide_image(&t->image, host, call, wish->image, wish->make_nothing, e) < 0 ||
        hold_image(t, e) < 0 || image_verify(&t->image, &host->home, e) < 0)
        return -1;
    t->language = command_language(wish->image);
    t->bare_root = bare_root_path(host);
    resident_init(&t->resident, (const char *const *)t->image.defaults.env, t->image.defaults.workdir);
    take_layers(t);
    t->spec.bare = true;
    t->spec.language = t->language.name;
    t->spec.image = t->bare_root;
    t->spec.disk = wish->disk;
    t->spec.shape =
        shape_or(shape_or(wish->shape, t->language.shape), (struct vm_shape){.disk_mib = t->image.disk_mib});
    return wish->start == TARGET_BOOT
               ? 0
               : bare_snapshot(&t->snapshot, host, call, &t->spec, wish->start == TARGET_RESTORE_ANEW,
                               wish->make_nothing, &t->made, e);
}

static int open_language(struct run_target *t, struct host *host, const struct call *call,
                         const struct target_wish *wish, struct error *e)
{
    if (language_find(&t->language, host->config.data, wish->language, e) < 0 ||
        provide_made(&t->image, host, call, &t->language, wish->make_nothing, e) < 0 || hold_image(t, e) < 0)
        return -1;
    if (image_replaces(&t->image, &t->language.recipe))
        language_move(&t->language);
    if (image_each_variable(&t->image, add_variable, &t->language, e) < 0)
        return -1;
    t->resident.user = program_runner;
    take_layers(t);
    t->spec.language = t->language.name;
    t->spec.image = t->image.path;
    t->spec.shape =
        shape_or(shape_or(wish->shape, t->language.shape), (struct vm_shape){.disk_mib = t->image.disk_mib});
    const struct machine_spec spec = spec_of(t);
    if (wish->start == TARGET_BOOT)
        return 0;
    return wish->make_nothing ? snapshot_lookup(&t->snapshot, host, &t->language, &t->image, &spec, e)
                              : snapshot_ensure(&t->snapshot, host, call, &t->language, &t->image, &spec,
                                                wish->start == TARGET_RESTORE_ANEW, &t->made, e);
}

/* With the accelerator as it is now. */
static int open_once(struct run_target *t, struct host *host, const struct call *call,
                     const struct target_wish *wish, struct error *e)
{
    *t = (struct run_target){.hold = -1, .spec = {.kernel = host->config.kernel}};
    int result = host_accelerator(host, &t->spec.accelerator, e);
    if (result == 0)
        result = (wish->image ? open_image : open_language)(t, host, call, wish, e);
    t->spec.snapshot = t->snapshot.key;
    return result;
}

/* Whether KVM was given up since the target was opened, so that everything is to be done once more. Closes it if so. */
static bool again(struct run_target *t, struct host *host, struct error *e)
{
    if (e->kind == ERROR_CANCELLED || !host_accelerator_changed(host, &t->spec.accelerator))
        return false;
    target_done(t);
    *e = (struct error){0};
    return true;
}

int target_open(struct run_target *ret, struct host *host, const struct call *call,
                const struct target_wish *wish, struct error *e)
{
    int result = open_once(ret, host, call, wish, e);

    if (result < 0 && again(ret, host, e))
        result = open_once(ret, host, call, wish, e);
    if (result < 0)
        target_done(ret);
    return result;
}

static int load_once(struct machine *m, struct host *host, const struct call *call,
                     const struct run_target *t, struct error *e)
{
    if (target_load(m, host, call, t, NULL, e) == 0)
        return 0;
    snapshot_explain(&t->snapshot, e);
    return -1;
}

int target_load_first(struct run_target *t, struct machine *ret_machine, struct host *host,
                      const struct call *call, const struct target_wish *wish, struct error *e)
{
    int result = load_once(ret_machine, host, call, t, e);

    if (result < 0 && again(t, host, e)) {
        result = open_once(t, host, call, wish, e);
        if (result == 0)
            result = load_once(ret_machine, host, call, t, e);
    }
    if (result < 0)
        target_done(t);
    return result;
}

int target_open_and_load(struct run_target *ret, struct machine *ret_machine, struct host *host,
                         const struct call *call, const struct target_wish *wish, struct error *e)
{
    *ret_machine = MACHINE_NONE;
    if (target_open(ret, host, call, wish, e) < 0)
        return -1;
    return target_load_first(ret, ret_machine, host, call, wish, e);
}

void target_done(struct run_target *t)
{
    snapshot_done(&t->snapshot);
    if (t->image.path)
        close_fd(&t->hold);
    image_done(&t->image);
    language_done(&t->language);
    resident_done(&t->resident);
    free(t->bare_root);
    *t = (struct run_target){0};
}

int target_load(struct machine *m, struct host *host, const struct call *call, const struct run_target *t,
                const struct vm_template *template, struct error *e)
{
    struct machine_spec spec = spec_of(t);

    spec.template = template;
    return t->snapshot.directory ? machine_restore(m, host, call, &spec, t->snapshot.directory, e)
                                 : machine_boot(m, host, call, &spec, NULL, e);
}
