#include "image/files.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

const struct blobs image_files = {.place = "images", .ending = ".erofs"};
static const struct blobs written_disks = {.place = "images", .ending = ".ext4"};
const struct blobs image_package_records = {.place = "images", .ending = ".lock"};
const struct blobs image_sboms = {.place = "images", .ending = ".spdx.json"};

const struct blobs *image_layer_files(enum image_layer_kind kind)
{
    return kind == IMAGE_LAYER_EXT4 ? &written_disks : &image_files;
}

void image_find_files(struct image *i, const struct home *h)
{
    i->path = blobs_path(h, &image_files, i->digest);
    for (unsigned n = 0; n < i->layer_count; n++)
        i->layers[n].path = blobs_path(h, image_layer_files(i->layers[n].kind), i->layers[n].digest);
}

bool image_has_all_files(const struct image *i)
{
    for (unsigned n = 0; n < i->layer_count; n++)
        if (!file_exists(i->layers[n].path))
            return false;
    return file_exists(i->path);
}

bool image_has_file(const struct image *i, const char *digest)
{
    for (unsigned n = 0; n < i->layer_count; n++)
        if (strcmp(i->layers[n].digest, digest) == 0)
            return true;
    return strcmp(i->digest, digest) == 0;
}

char *image_lock_path(const struct home *h, const struct image *i)
{
    return blobs_path(h, &image_package_records, i->digest);
}

char *image_sbom_path(const struct home *h, const struct image *i)
{
    return blobs_path(h, &image_sboms, i->digest);
}

static int corrupt(const struct image *i, const char *path, const char *how, struct error *e)
{
    if (!i->name)
        return error_set(e, ERROR_CORRUPT, "file %s of the image %s is %s; what stands on it is lost", path,
                         i->uuid, how);
    return error_set(e, ERROR_CORRUPT, "image file %s is %s; make it anew with: capsid rootfs %s --name %s",
                     path, how, i->oci ? "from-docker" : "create", i->name);
}

/* How the digest of a kind of file is found: what a guest wrote is mostly holes. */
typedef int digest_file(int fd, const struct cancel *cancel, char ret[static DIGEST_HEX_SIZE],
                        struct error *e);

/* One of its files, read as a whole. */
static int check_file(const struct image *i, const char *path, const char *wanted, digest_file *compute,
                      const struct cancel *cancel, struct error *e)
{
    char digest[DIGEST_HEX_SIZE];
    cleanup_fd int fd = file_open(path, O_RDONLY, e);

    if (fd < 0)
        return errno == ENOENT ? corrupt(i, path, "missing", e) : -1;
    if (compute(fd, cancel, digest, e) < 0)
        return error_wrap(e, "%s", path);
    return strcmp(digest, wanted) == 0 ? 0 : corrupt(i, path, "corrupt", e);
}

int image_check(const struct image *i, const struct cancel *cancel, struct error *e)
{
    int result = check_file(i, i->path, i->digest, digest_fd, cancel, e);

    for (unsigned n = 0; result == 0 && n < i->layer_count; n++)
        result = check_file(i, i->layers[n].path, i->layers[n].digest,
                            i->layers[n].kind == IMAGE_LAYER_EXT4 ? digest_sparse_fd : digest_fd, cancel, e);
    return result;
}

int image_packages(struct packages *ret, const struct home *h, const struct image *i, struct error *e)
{
    cleanup_free char *path = image_lock_path(h, i);

    if (!file_exists(path))
        return error_set(
            e, ERROR_NOT_FOUND,
            "the image %s has no record of its packages; make it anew with: capsid rootfs create --name %s",
            image_label(i), i->name ? i->name : "NAME");
    return packages_read(ret, path, e);
}

typedef int remember_digest(const struct home *h, const char *path, char ret[static DIGEST_HEX_SIZE],
                            struct error *e);

static int verify_file(const struct image *i, const char *path, const char *wanted, remember_digest *find,
                       const struct home *h, struct error *e)
{
    char digest[DIGEST_HEX_SIZE];

    if (!file_exists(path))
        return corrupt(i, path, "missing", e);
    if (find(h, path, digest, e) < 0)
        return -1;
    return strcmp(digest, wanted) == 0 ? 0 : corrupt(i, path, "corrupt", e);
}

int image_verify(const struct image *i, const struct home *h, struct error *e)
{
    int result = verify_file(i, i->path, i->digest, home_digest, h, e);

    for (unsigned n = 0; result == 0 && n < i->layer_count; n++)
        result = verify_file(i, i->layers[n].path, i->layers[n].digest,
                             i->layers[n].kind == IMAGE_LAYER_EXT4 ? home_digest_sparse : home_digest, h, e);
    return result;
}
