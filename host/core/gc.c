#include "core/gc.h"

#include "base/cleanup.h"
#include "core/bare.h"
#include "core/inputs.h"
#include "image/ensure.h"

#include <string.h>

#define DAY_S (24 * 60 * 60)

/* 1: the language and its image are there and current; 0 with the reason. */
static int find_subject(struct host *host, const struct snapshot *snapshot, struct language *l,
                        struct image *image, char **ret, struct error *e)
{
    struct error why = {0};

    if (strcmp(snapshot->language, BARE_NAME) == 0)
        return bare_find(l, image, host, e) < 0 ? -1 : 1;
    if (language_find(l, host->config.data, snapshot->language, &why) < 0 ||
        strcmp(l->name, snapshot->language) != 0) {
        if (why.kind != ERROR_NONE && why.kind != ERROR_UNKNOWN_LANGUAGE)
            return error_set(e, why.kind, "%s", why.text);
        *ret = text_format("there is no language %s", snapshot->language);
        return 0;
    }
    int current = image_find_current(image, &host->config, &host->home, l->name, &l->recipe, e);
    if (current == 0)
        *ret = text_format("the image of %s is missing or is to be built anew", l->name);
    return current;
}

int snapshot_is_current(struct host *host, const struct snapshot *snapshot, char **ret, struct error *e)
{
    struct language l = {0};
    struct image image = {0};
    json_t *now = NULL;

    *ret = snapshot->problem ? text_copy(snapshot->problem) : NULL;
    if (snapshot->problem)
        return 0;
    int result = find_subject(host, snapshot, &l, &image, ret, e);
    if (result > 0) {
        struct machine_spec spec = {.kernel = host->config.kernel,
                                    .image = image.path,
                                    .bare = strcmp(l.name, BARE_NAME) == 0,
                                    .shape = snapshot->shape};
        now = host_accelerator(host, &spec.accelerator, e) < 0 ? NULL
                                                               : inputs_collect(host, &l, &image, &spec, e);
        result = now ? json_equal(now, snapshot->inputs) : -1;
        if (result == 0)
            *ret = manifest_compare(snapshot->inputs, now);
    }
    json_decref(now);
    image_done(&image);
    language_done(&l);
    return result;
}

struct collection {
    struct host *host;
    const struct call *call;
    const struct snapshot_gc *gc;
    uint64_t freed;
    struct error *error;
};

/* 1 removed, or would be; 0 it is in use. */
static int collect_one(struct collection *c, const struct snapshot *snapshot, struct error *e)
{
    uint64_t freed = snapshot->allocated;

    int result = snapshot_check_unused(c->host, snapshot->key, e);
    if (result == 0 && !c->gc->dry_run)
        result = snapshot_remove(c->host, c->call, snapshot, &freed, e);
    if (result == 0)
        c->freed += freed;
    return result;
}

static int consider(const struct snapshot *snapshot, void *context)
{
    struct collection *c = context;
    int64_t age = clock_realtime_ns() / 1000000000 - snapshot->created;
    cleanup_free char *reason = NULL;
    struct error why = {0};

    int current = snapshot_is_current(c->host, snapshot, &reason, c->error);
    if (current != 0)
        return current < 0 ? -1 : 0;
    if (c->gc->keep_days && age < (int64_t)(c->gc->keep_days * DAY_S))
        return 0;
    bool removed = collect_one(c, snapshot, &why) == 0;
    c->gc->report(snapshot, removed ? reason : why.text, removed, c->gc->context);
    return 0;
}

int snapshot_collect(struct host *host, const struct call *call, const struct snapshot_gc *gc,
                     uint64_t *ret_freed, struct error *e)
{
    struct collection c = {.host = host, .call = call, .gc = gc, .error = e};

    int result = snapshot_each(host, consider, &c, e);
    *ret_freed = c.freed;
    return result;
}

/* One digest, or several with commas between them, as core/inputs writes them. */
static void add_digests(json_t *files, const char *digests)
{
    cleanup_free char *words = text_copy(digests ? digests : "");
    char *state = NULL;

    for (char *word = strtok_r(words, ",", &state); word; word = strtok_r(NULL, ",", &state))
        json_object_set_new(files, word, json_true());
}

static int add_files(const struct snapshot *snapshot, void *files)
{
    add_digests(files, json_string_value(json_object_get(snapshot->inputs, "image_sha256")));
    add_digests(files, json_string_value(json_object_get(snapshot->inputs, "layers_sha256")));
    return 0;
}

json_t *snapshot_image_files(struct host *host, struct error *e)
{
    json_t *files = json_object();

    if (snapshot_each(host, add_files, files, e) == 0)
        return files;
    json_decref(files);
    return NULL;
}
