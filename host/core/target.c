#include "core/target.h"

#include "image/ensure.h"
#include "image/import.h"

static int check_image(const struct run_target *t, const struct host *host, struct error *e)
{
    int current = image_is_current(&host->config, &host->home, t->language.name, &t->language.recipe, e);

    return current != 0 ? (current < 0 ? -1 : 0)
                        : error_set(e, ERROR_NOT_MADE, "the image of %s is not there", t->language.name);
}

/* What the definition sets counts. */
static int add_variable(const char *variable, void *language, struct error *e)
{
    return language_add_variable(language, variable, e);
}

/* With the accelerator as it is now. */
static int open_once(struct run_target *t, struct host *host, const struct call *call,
                     const struct target_wish *wish, struct error *e)
{
    *t = (struct run_target){.spec = {.kernel = host->config.kernel}};
    if (host_accelerator(host, &t->spec.accelerator, e) < 0 ||
        language_find(&t->language, host->config.data, wish->language, e) < 0)
        return -1;
    int result = wish->make_nothing ? check_image(t, host, e) : 0;
    if (result == 0)
        result = image_ensure(&t->image, &host->config, &host->home, t->language.name, &t->language.recipe,
                              false, &call->cancel, e);
    if (result == 0)
        result = image_each_variable(&t->image, add_variable, &t->language, e);
    t->spec.language = t->language.name;
    t->spec.image = t->image.path;
    for (unsigned i = 0; i < t->image.layer_count; i++)
        t->layers[i] = t->image.layers[i].path;
    t->spec.layers = t->layers;
    t->spec.shape =
        shape_or(shape_or(wish->shape, t->language.shape), (struct vm_shape){.disk_mib = t->image.disk_mib});
    if (result == 0 && wish->make_nothing && wish->start != TARGET_BOOT)
        result = snapshot_lookup(&t->snapshot, host, &t->language, &t->image, &t->spec, e);
    else if (result == 0 && wish->start != TARGET_BOOT)
        result = snapshot_ensure(&t->snapshot, host, call, &t->language, &t->image, &t->spec,
                                 wish->start == TARGET_RESTORE_ANEW, &t->made, e);
    t->spec.snapshot = t->snapshot.key;
    t->spec.layers = NULL; /* a copy of the target has its own */
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
    image_done(&t->image);
    language_done(&t->language);
    *t = (struct run_target){0};
}

int target_load(struct machine *m, struct host *host, const struct call *call, const struct run_target *t,
                const struct vm_template *template, struct error *e)
{
    struct machine_spec spec = t->spec;

    spec.template = template;
    spec.layers = t->layers;
    return t->snapshot.directory ? machine_restore(m, host, call, &spec, t->snapshot.directory, e)
                                 : machine_boot(m, host, call, &spec, NULL, e);
}
