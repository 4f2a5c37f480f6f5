#include "image/branch.h"

#include "base/cleanup.h"
#include "image/adopt.h"
#include "image/catalog.h"
#include "image/files.h"
#include "image/ids.h"
#include "image/manifest.h"
#include "image/remove.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>

struct settled {
    struct image_layer layer; /* owned, until an image takes it */
    int fd;      /* holds the file, so that it stays although nothing says yet that it is an image's */
    bool placed; /* it was not there before */
};

/* Into the store, without the lock: what takes time is done here. */
static int settle_layer(struct settled *ret, const struct home *h, const char *file,
                        const struct cancel *cancel, struct error *e)
{
    const struct blobs *files = image_layer_files(IMAGE_LAYER_EXT4);
    cleanup_free char *directory = home_path(h, "%s", files->place);
    cleanup_fd int fd = file_open(file, O_RDONLY | O_NOFOLLOW, e);
    char digest[DIGEST_HEX_SIZE];

    if (fd < 0 || digest_sparse_fd(fd, cancel, digest, e) < 0 || file_sync(file, e) < 0)
        return -1;
    if (flock(fd, LOCK_SH) < 0)
        return error_errno(e, "cannot lock %s", file);
    struct settled s = {.placed = !blobs_have(h, files, digest)};
    uint64_t size = file_allocated(file);
    if (s.placed && (blobs_put(h, files, digest, file, e) < 0 || file_sync(directory, e) < 0))
        return -1;
    s.layer = (struct image_layer){.kind = IMAGE_LAYER_EXT4,
                                   .digest = text_copy(digest),
                                   .path = blobs_path(h, files, digest),
                                   .size = size};
    s.fd = take_fd(&fd);
    *ret = s;
    return 0;
}

static void drop_layers(struct image *i, unsigned count)
{
    for (; count > 0; count--) {
        struct image_layer *top = &i->layers[--i->layer_count];
        free(top->path);
        free(top->digest);
        *top = (struct image_layer){0};
    }
}

static void replace_text(char **text, const char *value)
{
    free(*text);
    *text = text_copy(value);
}

/* Takes the layer. Of an imported parent it keeps what programs get, and not the rest of its configuration. */
static struct image describe_branch(const struct image_branch *b, struct image_layer top)
{
    struct image i = image_copy(b->parent);

    replace_text(&i.name, NULL);
    replace_text(&i.oci, NULL);
    replace_text(&i.parent, b->parent->uuid);
    replace_text(&i.origin_of, b->origin_of);
    i.origin = IMAGE_BRANCH;
    i.created = clock_realtime_ns() / 1000000000;
    drop_layers(&i, b->replaces);
    i.layers[i.layer_count++] = top;
    image_identify(&i);
    return i;
}

/* The manifest comes last: what an interruption leaves is a file that no image has, which gc removes. */
static int write_manifests(const struct image *i, const struct home *h, const struct image_branch *b,
                           const struct cancel *cancel, struct error *e)
{
    cleanup_fd int lock = image_lock_all(h, cancel, e);

    if (lock < 0)
        return -1;
    if (!image_has_all_files(b->parent))
        return error_set(e, ERROR_NOT_FOUND, "the image %s was removed meanwhile, so nothing can stand on it",
                         image_label(b->parent));
    if (!image_has_all_files(i))
        return error_set(e, ERROR_NOT_FOUND, "an image of the same layer was removed meanwhile; try again");
    return image_pin(b->parent, h, cancel, e) < 0 ? -1 : image_pin(i, h, cancel, e);
}

static int check_depth(const struct image_branch *b, struct error *e)
{
    if (b->replaces > b->parent->layer_count)
        return error_set(e, ERROR_USAGE, "the image %s has only %u layers", image_label(b->parent),
                         b->parent->layer_count);
    if (b->parent->layer_count - b->replaces >= IMAGE_LAYERS_MAX)
        return error_set(e, ERROR_USAGE, "the image %s has %d layers, and more cannot be stacked",
                         image_label(b->parent), IMAGE_LAYERS_MAX);
    return 0;
}

int image_adopt_branch(struct image *ret, const struct home *h, const struct image_branch *b,
                       const struct cancel *cancel, struct error *e)
{
    struct settled top = {.fd = -1};

    if (check_depth(b, e) < 0 || settle_layer(&top, h, b->file, cancel, e) < 0)
        return -1;
    struct image i = describe_branch(b, top.layer);
    int result = write_manifests(&i, h, b, cancel, e);
    close_fd(&top.fd);
    if (result == 0 && !top.placed)
        unlink(b->file);
    if (result < 0) {
        if (top.placed)
            image_drop_unneeded(h, top.layer.digest);
        image_done(&i);
        return -1;
    }
    catalog_follow_id(h, i.uuid);
    *ret = i;
    return 0;
}
