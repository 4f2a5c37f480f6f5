#include "base/cleanup.h"
#include "image/adopt.h"
#include "image/files.h"
#include "image/ids.h"
#include "image/names.h"

/* Counts the images that have a file, as their own or as a layer. */
struct users {
    const char *digest;
    unsigned count;
};

static int count_user(const struct image *i, void *context)
{
    struct users *u = context;

    u->count += image_has_file(i, u->digest);
    return 0;
}

/* A file that no image has any more, with the records beside it. */
static int remove_unused(const struct home *h, const char *digest, struct error *e)
{
    const struct blobs *const kinds[] = {&image_files, image_layer_files(IMAGE_LAYER_EXT4),
                                         &image_package_records, &image_sboms};
    struct users users = {.digest = digest};

    if (image_each_known(h, count_user, &users, e) < 0)
        return -1;
    for (size_t n = 0; users.count == 0 && n < sizeof(kinds) / sizeof(kinds[0]); n++)
        if (blobs_remove(h, kinds[n], digest, e) < 0)
            return -1;
    return 0;
}

int image_remove(const struct home *h, const char *name, const struct cancel *cancel, struct error *e)
{
    struct image i = {0};
    struct refs_version version;
    cleanup_fd int fd = image_lock_all(h, cancel, e);

    if (fd < 0 || image_find_version(&i, h, name, &version, e) < 0)
        return -1;
    /* The name is gone first: what an interruption leaves is a file without a name. */
    int result = image_drop_name(h, name, &version, cancel, e);
    if (result == 0)
        result = remove_unused(h, i.digest, e);
    for (unsigned n = 0; result == 0 && n < i.layer_count; n++)
        result = remove_unused(h, i.layers[n].digest, e);
    image_done(&i);
    return result;
}
