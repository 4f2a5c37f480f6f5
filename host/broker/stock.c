#include "broker/stock.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "image/ensure.h"
#include "image/image.h"
#include "language/language.h"

#include <string.h>

/* ---- languages ----------------------------------------------------------------------------------- */

/* The words of a list that may be NULL, after first, which may be NULL too. */
static json_t *words(const char *first, const char *list)
{
    cleanup_free char *copy = text_copy(list ? list : "");
    json_t *a = json_array();
    char *state = NULL;

    if (first)
        json_array_append_new(a, json_string(first));
    for (char *word = strtok_r(copy, ",", &state); word; word = strtok_r(NULL, ",", &state))
        json_array_append_new(a, json_string(text_trim(word)));
    return a;
}

static json_t *describe_language(const struct host *host, const struct language *l, struct error *e)
{
    int installed = image_is_current(&host->config, &host->home, l->name, &l->recipe, e);

    if (installed < 0)
        return NULL;
    return json_pack("{s:s, s:s, s:o, s:s, s:o, s:s, s:b, s:b, s:I, s:I, s:b, s:s?, s:s?}", "name", l->name,
                     "title", l->title, "aliases", words(NULL, l->aliases), "extension", l->extension,
                     "extensions", words(l->extension, l->extensions), "source", l->source, "compiled",
                     l->build != NULL, "primed", (int)l->prime, "memory_mib", (json_int_t)l->shape.memory_mib,
                     "vcpus", (json_int_t)l->shape.vcpus, "installed", installed, "hello", l->hello, "expect",
                     l->expect);
}

struct listing {
    const struct host *host;
    json_t *array;
};

static int add_language(const struct language *l, void *context, struct error *e)
{
    struct listing *list = context;
    json_t *j = describe_language(list->host, l, e);

    return j ? json_array_append_new(list->array, j) : -1;
}

/* Takes the array: {key: array, "count": N}. */
static json_t *wrap(const char *key, json_t *array)
{
    return json_pack("{s:o, s:I}", key, array, "count", (json_int_t)json_array_size(array));
}

json_t *stock_languages(const struct host *host, struct error *e)
{
    struct listing list = {host, json_array()};

    if (language_each(host->config.data, add_language, &list, e) == 0)
        return wrap("languages", list.array);
    json_decref(list.array);
    return NULL;
}

json_t *stock_language(const struct host *host, const char *name, struct error *e)
{
    struct language l;

    if (language_find(&l, host->config.data, name, e) < 0)
        return NULL;
    json_t *j = describe_language(host, &l, e);
    language_done(&l);
    return j;
}

/* ---- images and snapshots ------------------------------------------------------------------------ */

/* Without paths: where the server keeps things is no client's business. */
json_t *stock_image(const struct image *i)
{
    json_t *j = image_json(i);

    json_object_set_new(j, "imported", json_boolean(i->oci != NULL));
    return j;
}

json_t *stock_snapshot(const struct snapshot *s)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:b, s:I, s:I}", "key", s->key, "language", s->language,
                     "memory_mib", (json_int_t)s->shape.memory_mib, "vcpus", (json_int_t)s->shape.vcpus,
                     "disk_mib", (json_int_t)s->shape.disk_mib, "primed", s->primed_job != 0,
                     "allocated_bytes", (json_int_t)s->allocated, "created", (json_int_t)s->created);
}

static int add_image(const struct image *i, void *context)
{
    return json_array_append_new(context, stock_image(i));
}

static int add_snapshot(const struct snapshot *s, void *context)
{
    return json_array_append_new(context, stock_snapshot(s));
}

json_t *stock_images(const struct host *host, struct error *e)
{
    json_t *array = json_array();

    if (image_each(&host->home, add_image, array, e) == 0)
        return wrap("images", array);
    json_decref(array);
    return NULL;
}

json_t *stock_snapshots(const struct host *host, struct error *e)
{
    json_t *array = json_array();

    if (snapshot_each(host, add_snapshot, array, e) == 0)
        return wrap("snapshots", array);
    json_decref(array);
    return NULL;
}
