#include "image/remove.h"

#include "base/cleanup.h"
#include "image/adopt.h"
#include "image/catalog.h"
#include "image/files.h"
#include "image/ids.h"
#include "image/inventory.h"
#include "image/names.h"
#include "image/tags.h"

#include <stdio.h>
#include <string.h>

#define NAMED_MAX 3 /* of those that stand on it, so many are named */

/* Under the lock, as the rest. */
static bool has_another_user(const struct inventory *all, const struct image_entry *except,
                             const char *digest)
{
    for (size_t n = 0; n < all->count; n++)
        if (&all->entries[n] != except && image_has_file(&all->entries[n].image, digest))
            return true;
    return false;
}

/* The files of an image that is going or gone, but for those that others have. The bytes on disk that this gives back. */
static uint64_t drop_files(const struct home *h, const struct inventory *all,
                           const struct image_entry *except, const struct image *i)
{
    uint64_t freed = 0;

    for (unsigned n = 0; n <= i->layer_count; n++) {
        const char *digest = n ? i->layers[n - 1].digest : i->digest;
        for (size_t k = 0; !has_another_user(all, except, digest) && k < IMAGE_FILE_KINDS; k++)
            freed += image_drop_file(h, image_all_files[k], digest);
    }
    return freed;
}

void image_drop_unneeded(const struct home *h, const char *digest)
{
    struct error ignored = {0}; /* gc removes it */
    struct inventory all = {0};
    char copy[DIGEST_HEX_SIZE];
    cleanup_fd int fd = image_lock_all(h, NULL, &ignored);

    snprintf(copy, sizeof(copy), "%s", digest);
    if (fd >= 0 && inventory_read(&all, h, &ignored) == 0)
        drop_files(h, &all, NULL, &(struct image){.digest = copy});
    inventory_done(&all);
}

static int remove_locked(const struct home *h, const char *name, const struct cancel *cancel, struct error *e)
{
    struct image i = {0};
    struct inventory rest = {0};
    struct refs_version version;
    cleanup_fd int fd = image_lock_all(h, cancel, e);

    if (fd < 0 || image_find_version(&i, h, name, &version, e) < 0)
        return -1;
    /* The name is gone first: what an interruption leaves is a file without a name. */
    int result = image_drop_name(h, name, &version, cancel, e);
    if (result == 0)
        result = inventory_read(&rest, h, e);
    if (result == 0)
        drop_files(h, &rest, NULL, &i);
    inventory_done(&rest);
    image_done(&i);
    return result;
}

int image_remove(const struct home *h, const char *name, const struct cancel *cancel, struct error *e)
{
    int result = remove_locked(h, name, cancel, e);

    if (result == 0)
        catalog_follow(h, name);
    return result;
}

/* ---- by UUID ------------------------------------------------------------------------------------- */

static int say_children(const struct inventory *all, const struct image_entry *entry, struct error *e)
{
    cleanup_buffer struct buffer words = {0};
    size_t named = 0;

    for (size_t n = 0; n < all->count && named < NAMED_MAX; n++) {
        const struct image *child = &all->entries[n].image;
        if (child->parent && strcmp(child->parent, entry->image.uuid) == 0)
            buffer_add_text(&words, "%s%s", named++ ? ", " : "", child->uuid);
    }
    if (entry->children > named)
        buffer_add_text(&words, " and %zu more", entry->children - named);
    return error_set(e, ERROR_NEEDED, "the image %s stays, as others stand on it: %s; remove these first",
                     entry->image.uuid, words.data);
}

static int check_unneeded(const struct inventory *all, const struct image_entry *entry, struct error *e)
{
    const struct image *i = &entry->image;

    if (entry->names.size)
        return error_set(e, ERROR_NEEDED,
                         "the image %s is that of %.200s; remove it with: capsid rootfs rm NAME", i->uuid,
                         entry->names.data);
    if (entry->children > 0)
        return say_children(all, entry, e);
    if (image_is_held(i))
        return error_set(e, ERROR_NEEDED, "the image %s stays, as a VM uses it", i->uuid);
    return 0;
}

struct untagging {
    const struct home *home;
    const struct cancel *cancel;
    struct error *error;
};

static int drop_tag(const char *tag, void *context)
{
    struct untagging *u = context;
    struct error why = {0};

    if (image_untag(u->home, tag, u->cancel, &why) == 0 || why.kind == ERROR_NOT_FOUND)
        return 0;
    *u->error = why;
    return -1;
}

/* What an interruption leaves is an image without tags, or a file that no image has. */
static int delete_entry(const struct home *h, const struct inventory *all, const struct image_entry *entry,
                        uint64_t *ret_freed, const struct cancel *cancel, struct error *e)
{
    if (inventory_each_word(&entry->tags, drop_tag, &(struct untagging){h, cancel, e}) < 0 ||
        image_unpin(entry->image.uuid, h, cancel, e) < 0)
        return -1;
    *ret_freed = drop_files(h, all, entry, &entry->image);
    return 0;
}

static int delete_locked(const struct home *h, const struct image *i, uint64_t *ret_freed,
                         const struct cancel *cancel, struct error *e)
{
    cleanup_fd int fd = image_lock_all(h, cancel, e);
    struct inventory all = {0};

    if (fd < 0 || inventory_read(&all, h, e) < 0)
        return -1;
    const struct image_entry *entry = inventory_find(&all, i->uuid);
    int result = !entry ? error_set(e, ERROR_NOT_FOUND, "the image %s was removed meanwhile", i->uuid)
                        : check_unneeded(&all, entry, e);
    if (result == 0)
        result = delete_entry(h, &all, entry, ret_freed, cancel, e);
    inventory_done(&all);
    return result;
}

int image_delete(const struct home *h, const struct image *i, uint64_t *ret_freed,
                 const struct cancel *cancel, struct error *e)
{
    int result = delete_locked(h, i, ret_freed, cancel, e);

    if (result == 0)
        catalog_follow_id(h, i->uuid);
    return result;
}
