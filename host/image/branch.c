#include "image/branch.h"

#include "base/cleanup.h"
#include "image/adopt.h"
#include "image/files.h"
#include "image/ids.h"
#include "image/manifest.h"

#include <fcntl.h>
#include <string.h>

static void copy_defaults(struct image_defaults *ret, const struct image_defaults *from)
{
    size_t count = 0;

    while (from->env && from->env[count])
        count++;
    *ret = (struct image_defaults){.workdir = text_copy(from->workdir),
                                   .user = text_copy(from->user),
                                   .env = count ? memory_allocate((count + 1) * sizeof(char *)) : NULL};
    for (size_t n = 0; n < count; n++)
        ret->env[n] = text_copy(from->env[n]);
}

/* Its bytes are on the disk before anything says that they are an image. */
static int settle_layer(struct image_layer *ret, const char *file, const struct cancel *cancel,
                        struct error *e)
{
    char digest[DIGEST_HEX_SIZE];
    cleanup_fd int fd = file_open(file, O_RDONLY | O_NOFOLLOW, e);

    if (fd < 0 || digest_sparse_fd(fd, cancel, digest, e) < 0 || file_sync(file, e) < 0)
        return -1;
    *ret = (struct image_layer){
        .kind = IMAGE_LAYER_EXT4, .digest = text_copy(digest), .size = file_allocated(file)};
    return 0;
}

/* Takes the layer. */
static struct image describe_branch(const struct image_branch *b, struct image_layer top)
{
    const struct image *p = b->parent;
    struct image i = {.parent = text_copy(p->uuid),
                      .origin = IMAGE_BRANCH,
                      .origin_of = text_copy(b->origin_of),
                      .digest = text_copy(p->digest),
                      .inputs = text_copy(p->inputs),
                      .initd = text_copy(p->initd),
                      .size = p->size,
                      .created = clock_realtime_ns() / 1000000000,
                      .disk_mib = p->disk_mib};

    copy_defaults(&i.defaults, &p->defaults);
    for (unsigned n = 0; n < p->layer_count - b->replaces; n++)
        i.layers[i.layer_count++] = (struct image_layer){
            .kind = p->layers[n].kind, .digest = text_copy(p->layers[n].digest), .size = p->layers[n].size};
    i.layers[i.layer_count++] = top;
    image_identify(&i);
    return i;
}

/* Under the lock. The manifest comes last: what an interruption leaves is a file that no image has, which gc removes. */
static int store_branch(const struct image *i, const struct home *h, const struct image_branch *b,
                        const struct cancel *cancel, struct error *e)
{
    const char *digest = i->layers[i->layer_count - 1].digest;
    const struct blobs *files = image_layer_files(IMAGE_LAYER_EXT4);
    cleanup_free char *directory = home_path(h, "%s", files->place);

    if (!image_has_all_files(b->parent))
        return error_set(e, ERROR_NOT_FOUND, "the image %s was removed meanwhile, so nothing can stand on it",
                         image_label(b->parent));
    if (image_pin(b->parent, h, cancel, e) < 0 || blobs_put(h, files, digest, b->file, e) < 0 ||
        file_sync(directory, e) < 0)
        return -1;
    return image_pin(i, h, cancel, e);
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
    struct image_layer top;

    if (check_depth(b, e) < 0 || settle_layer(&top, b->file, cancel, e) < 0)
        return -1;
    struct image i = describe_branch(b, top);
    image_find_files(&i, h);
    cleanup_fd int lock = image_lock_all(h, cancel, e);
    if (lock >= 0 && store_branch(&i, h, b, cancel, e) == 0) {
        *ret = i;
        return 0;
    }
    image_done(&i);
    return -1;
}
