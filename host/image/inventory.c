#include "image/inventory.h"

#include "image/ids.h"
#include "image/manifest.h"
#include "image/tags.h"

#include <stdlib.h>
#include <string.h>

static int by_uuid(const void *a, const void *b)
{
    return strcmp(((const struct image_entry *)a)->image.uuid, ((const struct image_entry *)b)->image.uuid);
}

static void entry_done(struct image_entry *entry)
{
    json_decref(entry->names);
    json_decref(entry->tags);
    image_done(&entry->image);
}

void inventory_done(struct inventory *all)
{
    for (size_t n = 0; n < all->count; n++)
        entry_done(&all->entries[n]);
    free(all->entries);
    *all = (struct inventory){0};
}

struct image_entry *inventory_find(const struct inventory *all, const char *uuid)
{
    struct image_entry wanted;

    snprintf(wanted.image.uuid, sizeof(wanted.image.uuid), "%s", uuid);
    return all->count ? bsearch(&wanted, all->entries, all->count, sizeof(wanted), by_uuid) : NULL;
}

/* ---- reading ------------------------------------------------------------------------------------- */

static int add_image(const struct image *i, void *context)
{
    struct inventory *all = context;

    if (all->count % 64 == 0 &&
        !(all->entries = realloc(all->entries, (all->count + 64) * sizeof(all->entries[0]))))
        abort();
    struct image_entry *entry = &all->entries[all->count++];
    *entry = (struct image_entry){.image = image_copy(i), .names = json_array(), .tags = json_array()};
    if (i->name)
        json_array_append_new(entry->names, json_string(i->name));
    free(entry->image.name);
    entry->image.name = NULL;
    return 0;
}

/* Of the same image its own manifest first, which image_find_id() finds, too; then by name. */
static int by_uuid_and_name(const void *a, const void *b)
{
    const struct image_entry *x = a, *y = b;
    const char *xn = json_string_value(json_array_get(x->names, 0)),
               *yn = json_string_value(json_array_get(y->names, 0));
    int order = by_uuid(a, b);

    return order ? order : strcmp(xn ? xn : "", yn ? yn : "");
}

/* An image of several names, or with a manifest of its own beside, is one. */
static void merge_same(struct inventory *all)
{
    size_t kept = 0;

    for (size_t n = 0; n < all->count; n++) {
        struct image_entry *last = kept ? &all->entries[kept - 1] : NULL, *now = &all->entries[n];
        if (last && strcmp(last->image.uuid, now->image.uuid) == 0) {
            json_array_extend(last->names, now->names);
            entry_done(now);
        } else {
            all->entries[kept++] = *now;
        }
    }
    all->count = kept;
}

/* One that is gone meanwhile has no tags. */
static int add_tag(const char *tag, const char *uuid, void *context)
{
    struct image_entry *entry = inventory_find(context, uuid);

    return entry ? json_array_append_new(entry->tags, json_string(tag)) : 0;
}

static void count_children(struct inventory *all)
{
    for (size_t n = 0; n < all->count; n++) {
        const char *uuid = all->entries[n].image.parent;
        struct image_entry *parent = uuid ? inventory_find(all, uuid) : NULL;
        if (parent)
            parent->children++;
    }
}

int inventory_read(struct inventory *ret, const struct home *h, struct error *e)
{
    *ret = (struct inventory){0};
    int result = image_each_known(h, add_image, ret, e);
    if (result == 0 && ret->count > 0) {
        qsort(ret->entries, ret->count, sizeof(ret->entries[0]), by_uuid_and_name);
        merge_same(ret);
        count_children(ret);
        result = image_each_tag(h, add_tag, ret, e);
    }
    if (result < 0)
        inventory_done(ret);
    return result;
}

json_t *inventory_json(const struct image_entry *entry)
{
    const struct image *i = &entry->image;

    return json_pack("{s:s, s:s?, s:O, s:O, s:s, s:s?, s:I, s:I, s:I, s:I, s:I}", "uuid", i->uuid, "parent",
                     i->parent, "names", entry->names, "tags", entry->tags, "origin",
                     image_origin_name(i->origin), "origin_of", i->origin_of, "created",
                     (json_int_t)i->created, "layers", (json_int_t)i->layer_count, "size_bytes",
                     (json_int_t)image_own_bytes(i), "total_bytes", (json_int_t)image_all_bytes(i),
                     "children", (json_int_t)entry->children);
}
