#include "image/image.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "image/build.h"
#include "image/sbom.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define REFERENCE_MAX (1 << 20)
#define STORE_DEADLINE_MS (60 * 1000)
#define INITD_DEADLINE_MS (10 * 1000)

void image_done(struct image *i)
{
    free(i->name);
    free(i->path);
    free(i->digest);
    free(i->inputs);
    free(i->initd);
    free(i->oci);
    *i = (struct image){0};
}

static char *image_path(const struct home *h, const char *digest)
{
    return home_path(h, "images/%s.erofs", digest);
}

char *image_lock_path(const struct home *h, const struct image *i)
{
    return home_path(h, "images/%s.lock", i->digest);
}

char *image_sbom_path(const struct home *h, const struct image *i)
{
    return home_path(h, "images/%s.spdx.json", i->digest);
}

int image_parse_manifest(struct image *ret, const char *text, struct error *e)
{
    const char *digest, *inputs, *initd = "";
    json_int_t size, created, disk = 0;
    json_t *j = json_loads(text, 0, NULL);

    if (json_unpack(j, "{s:s, s:s, s:I, s:I, s?s, s?I}", "digest", &digest, "inputs", &inputs, "size", &size,
                    "created", &created, "initd", &initd, "disk_mib", &disk) < 0 ||
        !digest_is_hex(digest) || !digest_is_hex(inputs) || size < 0 || created < 0 || strlen(initd) > 64 ||
        disk < 0) {
        json_decref(j);
        return error_set(e, ERROR_CORRUPT, "not a valid image reference");
    }
    *ret = (struct image){.digest = text_copy(digest),
                          .inputs = text_copy(inputs),
                          .initd = text_copy(initd),
                          .size = (uint64_t)size,
                          .created = created,
                          .disk_mib = (uint64_t)disk,
                          .oci = json_dumps(json_object_get(j, "oci"), JSON_SORT_KEYS)};
    json_decref(j);
    return 0;
}

int image_find(struct image *ret, const struct home *h, const char *name, struct error *e)
{
    cleanup_free char *path = home_path(h, "images/names/%s.json", name);
    cleanup_buffer struct buffer text = {0};

    if (!text_is_name(name) || !file_exists(path))
        return error_set(e, ERROR_NOT_FOUND,
                         "no image is called %.64s; make it with: capsid rootfs create --name %.64s", name,
                         name);
    if (file_read(path, REFERENCE_MAX, &text, e) < 0) {
        if (!file_exists(path)) /* it was removed meanwhile */
            e->kind = ERROR_NOT_FOUND;
        return -1;
    }
    if (image_parse_manifest(ret, text.data ? text.data : "", e) < 0)
        return error_set(
            e, ERROR_CORRUPT,
            "%s is not a valid image reference; make it anew with: capsid rootfs create --name %s", path,
            name);
    ret->name = text_copy(name);
    ret->path = image_path(h, ret->digest);
    return 0;
}

static int corrupt(const struct image *i, const char *how, struct error *e)
{
    return error_set(e, ERROR_CORRUPT, "image file %s is %s; make it anew with: capsid rootfs %s --name %s",
                     i->path, how, i->oci ? "from-docker" : "create", i->name);
}

int image_check(const struct image *i, const struct cancel *cancel, struct error *e)
{
    char digest[DIGEST_HEX_SIZE];
    cleanup_fd int fd = file_open(i->path, O_RDONLY, e);

    if (fd < 0)
        return errno == ENOENT ? corrupt(i, "missing", e) : -1;
    if (digest_fd(fd, cancel, digest, e) < 0)
        return error_wrap(e, "%s", i->path);
    return strcmp(digest, i->digest) == 0 ? 0 : corrupt(i, "corrupt", e);
}

int image_packages(struct packages *ret, const struct home *h, const struct image *i, struct error *e)
{
    cleanup_free char *path = image_lock_path(h, i);

    if (!file_exists(path))
        return error_set(
            e, ERROR_NOT_FOUND,
            "the image %s has no record of its packages; make it anew with: capsid rootfs create --name %s",
            i->name, i->name);
    return packages_read(ret, path, e);
}

int image_verify(const struct image *i, const struct home *h, struct error *e)
{
    char digest[DIGEST_HEX_SIZE];

    if (!file_exists(i->path))
        return corrupt(i, "missing", e);
    if (home_digest(h, i->path, digest, e) < 0)
        return -1;
    return strcmp(digest, i->digest) == 0 ? 0 : corrupt(i, "corrupt", e);
}

/* What "initd --version" says after the name, without the newline. The caller frees it. */
static char *initd_version(const char *initd, struct error *e)
{
    const char *argv[] = {initd, "--version", NULL};
    cleanup_buffer struct buffer text = {0};

    if (child_capture(argv, 256, deadline_in_ms(INITD_DEADLINE_MS), NULL, &text, e) < 0)
        return NULL;
    char *word = text_trim(strncmp(text.data, "initd ", 6) == 0 ? text.data + 6 : text.data);
    return text_format("%.64s", word);
}

/* Writes the bill of materials beside the image. */
static int write_sbom(const struct config *config, const struct home *h, const struct image *i,
                      struct error *e)
{
    cleanup_free char *initd = text_format("%s/initd", config->data);
    cleanup_free char *path = image_sbom_path(h, i);
    char initd_digest[DIGEST_HEX_SIZE];
    struct packages packages;

    if (home_digest(h, initd, initd_digest, e) < 0 || image_packages(&packages, h, i, e) < 0)
        return -1;
    cleanup_free char *text = sbom_make(i->digest, &packages, i->initd, initd_digest);
    packages_done(&packages);
    if (!text)
        return error_set(e, ERROR_GENERAL, "the bill of materials of %s cannot be written", i->name);
    return file_replace(path, h->scratch, text, strlen(text), 0600, e);
}

static int write_manifest(const struct home *h, const struct image *i, struct error *e)
{
    cleanup_free char *reference = home_path(h, "images/names/%s.json", i->name);
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "name", i->name, "digest", i->digest,
                          "inputs", i->inputs, "initd", i->initd, "size", (json_int_t)i->size, "created",
                          (json_int_t)i->created, "disk_mib", (json_int_t)i->disk_mib);
    if (i->oci)
        json_object_set_new(j, "oci", json_loads(i->oci, 0, NULL));
    cleanup_free char *text = json_dumps(j, JSON_INDENT(2));

    json_decref(j);
    if (strlen(text) > REFERENCE_MAX)
        return error_set(e, ERROR_GENERAL, "what is to be remembered of the image %s has more than %d bytes",
                         i->name, REFERENCE_MAX);
    return file_replace(reference, h->scratch, text, strlen(text), 0600, e);
}

/* The names and the files they refer to are changed by one process at a time. */
static int lock_store(const struct home *h, const struct cancel *cancel, struct error *e)
{
    return home_lock(h, "images", "changing the images", deadline_in_ms(STORE_DEADLINE_MS), cancel, e);
}

/* Moves a built file to i->path and notes its size and the time. */
static int store_image(struct image *i, const char *built, struct error *e)
{
    struct stat st;

    if (stat(built, &st) < 0 || rename(built, i->path) < 0)
        return error_errno(e, "cannot create %s", i->path);
    i->size = (uint64_t)st.st_size;
    i->created = clock_realtime_ns() / 1000000000;
    return 0;
}

/* Moves a built file and its record into the store; i has digest and path and gets the rest. */
static int store_files(const struct config *config, const struct home *h, struct image *i,
                       const struct build_paths *built, struct error *e)
{
    cleanup_free char *initd = text_format("%s/initd", config->data);
    cleanup_free char *record = image_lock_path(h, i);

    i->initd = initd_version(initd, e);
    if (!i->initd)
        return -1;
    if (rename(built->lock_out, record) < 0)
        return error_errno(e, "cannot create %s", record);
    if (store_image(i, built->output, e) < 0)
        return -1;
    return write_sbom(config, h, i, e);
}

/* What the image that has the name now says; 0 when there is none. */
static uint64_t disk_of_name(const struct home *h, const char *name)
{
    struct error ignored = {0};
    struct image i = {0};

    if (image_find(&i, h, name, &ignored) < 0)
        return 0;
    uint64_t disk_mib = i.disk_mib;
    image_done(&i);
    return disk_mib;
}

int image_set_disk(struct image *i, const struct home *h, uint64_t disk_mib, const struct cancel *cancel,
                   struct error *e)
{
    struct image now = {0};
    cleanup_fd int fd = lock_store(h, cancel, e);

    if (fd < 0 || image_find(&now, h, i->name, e) < 0)
        return -1;
    now.disk_mib = disk_mib;
    int result = write_manifest(h, &now, e);
    if (result == 0)
        i->disk_mib = disk_mib;
    image_done(&now);
    return result;
}

int image_adopt(const struct config *config, const struct home *h, const char *name, const char *inputs,
                const struct build_paths *built, const json_t *oci, const struct cancel *cancel,
                struct error *e)
{
    char digest[DIGEST_HEX_SIZE];

    cleanup_fd int store = lock_store(h, cancel, e);
    if (store < 0 || home_digest(h, built->output, digest, e) < 0)
        return -1;
    struct image i = {.name = text_copy(name),
                      .digest = text_copy(digest),
                      .inputs = text_copy(inputs),
                      .path = image_path(h, digest),
                      .disk_mib = disk_of_name(h, name),
                      .oci = oci ? json_dumps(oci, JSON_SORT_KEYS) : NULL};
    int result = store_files(config, h, &i, built, e);
    if (result == 0)
        result = write_manifest(h, &i, e);
    image_done(&i);
    return result;
}

static int name_of_reference(const struct dirent *d)
{
    size_t size = strlen(d->d_name);

    return d->d_name[0] != '.' && size > 5 && strcmp(d->d_name + size - 5, ".json") == 0;
}

/* 1 found, 0 removed since it was listed. */
static int find_listed(struct image *ret, const struct home *h, const char *name, struct error *e)
{
    struct error why = {0};

    if (image_find(ret, h, name, &why) == 0)
        return 1;
    if (why.kind == ERROR_NOT_FOUND)
        return 0;
    *e = why;
    return -1;
}

int image_each(const struct home *h, int (*visit)(const struct image *i, void *context), void *context,
               struct error *e)
{
    cleanup_free char *directory = home_path(h, "images/names");
    struct dirent **entries;
    int count = scandir(directory, &entries, name_of_reference, alphasort), result = 0;

    if (count < 0)
        return error_errno(e, "cannot read %s", directory);
    for (int i = 0; i < count; i++) {
        struct image image = {0};
        entries[i]->d_name[strlen(entries[i]->d_name) - 5] = '\0';
        int found = result == 0 ? find_listed(&image, h, entries[i]->d_name, e) : 0;
        if (found != 0)
            result = found < 0 ? -1 : visit(&image, context);
        image_done(&image);
        free(entries[i]);
    }
    free(entries);
    return result;
}

/* Counts the names of one image. */
struct users {
    const char *digest;
    unsigned count;
};

static int count_user(const struct image *i, void *context)
{
    struct users *u = context;

    u->count += strcmp(i->digest, u->digest) == 0;
    return 0;
}

int image_remove(const struct home *h, const char *name, const struct cancel *cancel, struct error *e)
{
    struct image i = {0};
    cleanup_fd int fd = lock_store(h, cancel, e);

    if (fd < 0 || image_find(&i, h, name, e) < 0)
        return -1;
    struct users users = {.digest = i.digest};
    cleanup_free char *reference = home_path(h, "images/names/%s.json", name);
    cleanup_free char *record = image_lock_path(h, &i);
    cleanup_free char *sbom = image_sbom_path(h, &i);
    int result = image_each(h, count_user, &users, e);
    if (result == 0 && unlink(reference) < 0)
        result = error_errno(e, "cannot remove %s", reference);
    /* The reference is gone first: what an interruption leaves is a file without a name. */
    const char *const files[] = {i.path, record, sbom};
    for (size_t n = 0; result == 0 && users.count == 1 && n < sizeof(files) / sizeof(files[0]); n++)
        if (unlink(files[n]) < 0 && errno != ENOENT)
            result = error_errno(e, "cannot remove %s", files[n]);
    image_done(&i);
    return result;
}
