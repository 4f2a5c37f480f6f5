#include "image/files.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

const struct blobs image_files = {.place = "images", .ending = ".erofs"};
static const struct blobs written_disks = {.place = "images", .ending = ".ext4"};
const struct blobs image_package_records = {.place = "images", .ending = ".lock"};
const struct blobs image_sboms = {.place = "images", .ending = ".spdx.json"};

const struct blobs *const image_all_files[IMAGE_FILE_KINDS] = {&image_files, &written_disks,
                                                               &image_package_records, &image_sboms};

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

uint64_t image_own_bytes(const struct image *i)
{
    return file_allocated(i->layer_count ? i->layers[i->layer_count - 1].path : i->path);
}

uint64_t image_all_bytes(const struct image *i)
{
    uint64_t bytes = file_allocated(i->path);

    for (unsigned n = 0; n < i->layer_count; n++)
        bytes += file_allocated(i->layers[n].path);
    return bytes;
}

/* ---- who uses them ------------------------------------------------------------------------------- */

/* It stands for all: those below have manifests that stay because of it. */
static const char *top_file(const struct image *i)
{
    return i->layer_count ? i->layers[i->layer_count - 1].path : i->path;
}

int image_hold(const struct image *i, struct error *e)
{
    const char *path = top_file(i);
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd >= 0 && flock(fd, LOCK_SH) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0)
        return take_fd(&fd);
    if (fd >= 0 || errno == ENOENT)
        return error_set(e, ERROR_NOT_FOUND, "the image %s was removed meanwhile, or has lost its file %s",
                         image_label(i), path);
    return error_errno(e, "cannot open %s", path);
}

bool image_is_held(const struct image *i)
{
    cleanup_fd int fd = open(top_file(i), O_RDONLY | O_CLOEXEC);

    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
}

uint64_t image_drop_file(const struct home *h, const struct blobs *kind, const char *digest)
{
    cleanup_free char *path = blobs_path(h, kind, digest);
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t bytes = file_allocated(path);

    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return 0;
    if (unlink(path) < 0) {
        log_warning("cannot remove %s: %s", path, strerror(errno));
        return 0;
    }
    home_forget_digest(h, path);
    return bytes;
}

/* ---- what they hold ------------------------------------------------------------------------------ */

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

static int verify_layer(const struct image *i, const struct image_layer *l, const struct home *h,
                        struct error *e)
{
    return verify_file(i, l->path, l->digest, l->kind == IMAGE_LAYER_EXT4 ? home_digest_sparse : home_digest,
                       h, e);
}

int image_verify(const struct image *i, const struct home *h, struct error *e)
{
    int result = verify_file(i, i->path, i->digest, home_digest, h, e);

    for (unsigned n = 0; result == 0 && n < i->layer_count; n++)
        result = verify_layer(i, &i->layers[n], h, e);
    return result;
}

int image_verify_top(const struct image *i, const struct home *h, struct error *e)
{
    return i->layer_count ? verify_layer(i, &i->layers[i->layer_count - 1], h, e)
                          : verify_file(i, i->path, i->digest, home_digest, h, e);
}
