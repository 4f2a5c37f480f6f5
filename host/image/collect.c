/* Which images nothing needs any more, and their removal. */
#include "base/cleanup.h"
#include "image/adopt.h"
#include "image/catalog.h"
#include "image/files.h"
#include "image/ids.h"
#include "image/inventory.h"
#include "image/remove.h"

#include <stdlib.h>
#include <string.h>

#define DAY_S (24 * 60 * 60)

struct collection {
    const struct home *home;
    const struct image_gc *gc;
    struct image_collected *ret;
    const struct cancel *cancel;
    struct error *error;
    struct inventory all;
    bool *stays;                /* owned; of each entry */
    struct image_entry **going; /* owned; those that nothing stands on any more */
    size_t going_count;
    json_t *kept;              /* digests of the files that stay, as keys */
    const struct blobs *files; /* which are looked at */
};

/* ---- what stays ---------------------------------------------------------------------------------- */

static bool is_needed(const struct collection *c, const struct image_entry *entry)
{
    const struct image *i = &entry->image;
    const char *top = i->layer_count ? i->layers[i->layer_count - 1].digest : i->digest;
    int64_t age = clock_realtime_ns() / 1000000000 - i->created;

    return entry->names.size > 0 || entry->tags.size > 0 ||
           (c->gc->keep_days && age < (int64_t)(c->gc->keep_days * DAY_S)) ||
           json_object_get(c->gc->needed, top) || image_is_held(i);
}

/* With all that it stands on. */
static void keep_entry(struct collection *c, const struct image_entry *entry)
{
    while (entry && !c->stays[entry - c->all.entries]) {
        c->stays[entry - c->all.entries] = true;
        entry = entry->image.parent ? inventory_find(&c->all, entry->image.parent) : NULL;
    }
}

static void keep_digests(struct collection *c, const struct image *i)
{
    json_object_set_new(c->kept, i->digest, json_true());
    for (unsigned n = 0; n < i->layer_count; n++)
        json_object_set_new(c->kept, i->layers[n].digest, json_true());
}

static void decide(struct collection *c)
{
    for (size_t n = 0; n < c->all.count; n++)
        if (!c->stays[n] && is_needed(c, &c->all.entries[n]))
            keep_entry(c, &c->all.entries[n]);
    json_object_update(c->kept, c->gc->needed);
    for (size_t n = 0; n < c->all.count; n++)
        if (c->stays[n])
            keep_digests(c, &c->all.entries[n].image);
}

/* ---- what goes ----------------------------------------------------------------------------------- */

static void plan_removal(struct collection *c, struct image_entry *entry)
{
    if (entry && entry->children == 0 && !c->stays[entry - c->all.entries])
        c->going[c->going_count++] = entry;
}

/* Those that stand on others first. */
static int drop_images(struct collection *c)
{
    for (size_t n = 0; n < c->all.count; n++)
        plan_removal(c, &c->all.entries[n]);
    for (size_t n = 0; n < c->going_count; n++) {
        const struct image *i = &c->going[n]->image;
        if (!c->gc->dry_run && image_unpin(i->uuid, c->home, c->cancel, c->error) < 0)
            return -1;
        c->gc->report(i, image_own_bytes(i), c->gc->context);
        c->ret->images++;
        struct image_entry *parent = i->parent ? inventory_find(&c->all, i->parent) : NULL;
        if (parent)
            parent->children--;
        plan_removal(c, parent);
    }
    return 0;
}

static int drop_file(const struct blob *one, void *context)
{
    struct collection *c = context;

    if (json_object_get(c->kept, one->digest))
        return 0;
    uint64_t freed = c->gc->dry_run ? one->allocated : image_drop_file(c->home, c->files, one->digest);
    c->ret->freed += freed;
    c->ret->files += freed > 0;
    return 0;
}

static int drop_files(struct collection *c)
{
    int result = 0;

    for (size_t k = 0; result == 0 && k < IMAGE_FILE_KINDS; k++) {
        c->files = image_all_files[k];
        result = blobs_each(c->home, c->files, drop_file, c, c->error);
    }
    return result;
}

static int collect_locked(const struct home *h, const struct image_gc *gc, struct image_collected *ret,
                          const struct cancel *cancel, struct error *e)
{
    struct collection c = {.home = h, .gc = gc, .ret = ret, .cancel = cancel, .error = e};
    cleanup_fd int fd = image_lock_all(h, cancel, e);

    if (fd < 0 || inventory_read(&c.all, h, e) < 0)
        return -1;
    c.stays = memory_allocate((c.all.count + 1) * sizeof(c.stays[0]));
    c.going = memory_allocate((c.all.count + 1) * sizeof(c.going[0]));
    c.kept = json_object();
    decide(&c);
    int result = drop_images(&c) < 0 ? -1 : drop_files(&c);
    json_decref(c.kept);
    free(c.going);
    free(c.stays);
    inventory_done(&c.all);
    return result;
}

int image_collect(const struct home *h, const struct image_gc *gc, struct image_collected *ret,
                  const struct cancel *cancel, struct error *e)
{
    *ret = (struct image_collected){0};
    int result = collect_locked(h, gc, ret, cancel, e);

    if (!gc->dry_run && ret->images > 0)
        catalog_follow_all(h);
    return result;
}
