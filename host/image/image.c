#include "image/image.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "image/build.h"
#include "image/sbom.h"
#include "store/refs.h"

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
    for (unsigned n = 0; n < i->layer_count; n++) {
        free(i->layers[n].path);
        free(i->layers[n].digest);
    }
    free(i->name);
    free(i->path);
    free(i->digest);
    free(i->inputs);
    free(i->initd);
    free(i->oci);
    *i = (struct image){0};
}

/* ---- names --------------------------------------------------------------------------------------- */

static const struct refs names = {
    .place = "images/names", .ending = ".json", .lock = "names-of-images", .size_max = REFERENCE_MAX};

/* The digests of the layers; their paths are for who knows the store. j may be NULL: none. */
static int parse_layers(struct image *i, const json_t *j)
{
    json_t *one;
    size_t n;

    if (j && (!json_is_array(j) || json_array_size(j) > IMAGE_LAYERS_MAX))
        return -1;
    json_array_foreach(j, n, one)
    {
        const char *digest = json_string_value(one);
        if (!digest || !digest_is_hex(digest))
            return -1;
        i->layers[i->layer_count++].digest = text_copy(digest);
    }
    return 0;
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
    int result = parse_layers(ret, json_object_get(j, "layers"));
    json_decref(j);
    if (result == 0)
        return 0;
    image_done(ret);
    return error_set(e, ERROR_CORRUPT, "not a valid image reference");
}

/* Also which version of the name says so. */
static int find_version(struct image *ret, const struct home *h, const char *name,
                        struct refs_version *ret_version, struct error *e)
{
    cleanup_buffer struct buffer text = {0};
    struct error why = {0};

    if (refs_get(h, &names, name, &text, ret_version, &why) < 0) {
        if (why.kind == ERROR_NOT_FOUND)
            return error_set(e, ERROR_NOT_FOUND,
                             "no image is called %.64s; make it with: capsid rootfs create --name %.64s",
                             name, name);
        *e = why;
        return -1;
    }
    if (image_parse_manifest(ret, text.data, e) < 0) {
        cleanup_free char *path = refs_path(h, &names, name);
        return error_set(
            e, ERROR_CORRUPT,
            "%s is not a valid image reference; make it anew with: capsid rootfs create --name %s", path,
            name);
    }
    ret->name = text_copy(name);
    ret->path = blobs_path(h, &image_files, ret->digest);
    for (unsigned n = 0; n < ret->layer_count; n++)
        ret->layers[n].path = blobs_path(h, &image_files, ret->layers[n].digest);
    return 0;
}

int image_find(struct image *ret, const struct home *h, const char *name, struct error *e)
{
    return find_version(ret, h, name, NULL, e);
}

static json_t *layers_json(const struct image *i)
{
    json_t *all = json_array();

    for (unsigned n = 0; n < i->layer_count; n++)
        json_array_append_new(all, json_string(i->layers[n].digest));
    return all;
}

json_t *image_json(const struct image *i)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:s}", "name", i->name, "digest", i->digest, "size_bytes",
                     (json_int_t)i->size, "allocated_bytes", (json_int_t)file_allocated(i->path), "created",
                     (json_int_t)i->created, "initd", i->initd);
}

static char *format_manifest(const struct image *i)
{
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "name", i->name, "digest", i->digest,
                          "inputs", i->inputs, "initd", i->initd, "size", (json_int_t)i->size, "created",
                          (json_int_t)i->created, "disk_mib", (json_int_t)i->disk_mib);

    if (i->oci)
        json_object_set_new(j, "oci", json_loads(i->oci, 0, NULL));
    if (i->layer_count > 0)
        json_object_set_new(j, "layers", layers_json(i));
    char *text = json_dumps(j, JSON_INDENT(2));
    json_decref(j);
    return text;
}

static int swap_manifest(const struct home *h, const struct image *i, const struct refs_version *version,
                         const struct cancel *cancel, struct error *e)
{
    cleanup_free char *text = format_manifest(i);

    return refs_swap(h, &names, i->name, version, text, cancel, e);
}

int image_set_disk(struct image *i, const struct home *h, uint64_t disk_mib, const struct cancel *cancel,
                   struct error *e)
{
    struct error why = {0};
    int result;

    do {
        struct image now = {0};
        struct refs_version version = {0};
        why = (struct error){0};
        result = find_version(&now, h, i->name, &version, &why);
        now.disk_mib = disk_mib;
        if (result == 0)
            result = swap_manifest(h, &now, &version, cancel, &why);
        image_done(&now);
    } while (result < 0 && why.kind == ERROR_BUSY);
    if (result < 0)
        *e = why;
    else
        i->disk_mib = disk_mib;
    return result;
}

/* Points its name at an image, which keeps the disk of the one that had it. */
static int take_name(struct image *i, const struct home *h, const struct cancel *cancel, struct error *e)
{
    struct error why = {0};
    int result;

    do {
        struct image old = {0};
        struct refs_version version = {0};
        struct error ignored = {0}; /* none, or one that is damaged, which goes */
        why = (struct error){0};
        find_version(&old, h, i->name, &version, &ignored);
        i->disk_mib = old.disk_mib;
        image_done(&old);
        result = swap_manifest(h, i, &version, cancel, &why);
    } while (result < 0 && why.kind == ERROR_BUSY);
    if (result < 0)
        *e = why;
    return result;
}

struct visitor {
    const struct home *home;
    int (*visit)(const struct image *i, void *context);
    void *context;
    struct error *error;
};

static int visit_name(const char *name, void *context)
{
    struct visitor *v = context;
    struct image image = {0};
    struct error why = {0};
    int result = image_find(&image, v->home, name, &why);

    if (result == 0)
        result = v->visit(&image, v->context);
    else if (why.kind == ERROR_NOT_FOUND) /* removed since it was listed */
        result = 0;
    else
        *v->error = why;
    image_done(&image);
    return result;
}

int image_each(const struct home *h, int (*visit)(const struct image *i, void *context), void *context,
               struct error *e)
{
    struct visitor v = {h, visit, context, e};

    return refs_each(h, &names, visit_name, &v, e);
}

/* ---- files --------------------------------------------------------------------------------------- */

const struct blobs image_files = {.place = "images", .ending = ".erofs"};
static const struct blobs package_records = {.place = "images", .ending = ".lock"};
static const struct blobs sboms = {.place = "images", .ending = ".spdx.json"};

char *image_lock_path(const struct home *h, const struct image *i)
{
    return blobs_path(h, &package_records, i->digest);
}

char *image_sbom_path(const struct home *h, const struct image *i)
{
    return blobs_path(h, &sboms, i->digest);
}

static int corrupt(const struct image *i, const char *path, const char *how, struct error *e)
{
    return error_set(e, ERROR_CORRUPT, "image file %s is %s; make it anew with: capsid rootfs %s --name %s",
                     path, how, i->oci ? "from-docker" : "create", i->name);
}

/* One of its files, read as a whole. */
static int check_file(const struct image *i, const char *path, const char *wanted,
                      const struct cancel *cancel, struct error *e)
{
    char digest[DIGEST_HEX_SIZE];
    cleanup_fd int fd = file_open(path, O_RDONLY, e);

    if (fd < 0)
        return errno == ENOENT ? corrupt(i, path, "missing", e) : -1;
    if (digest_fd(fd, cancel, digest, e) < 0)
        return error_wrap(e, "%s", path);
    return strcmp(digest, wanted) == 0 ? 0 : corrupt(i, path, "corrupt", e);
}

int image_check(const struct image *i, const struct cancel *cancel, struct error *e)
{
    int result = check_file(i, i->path, i->digest, cancel, e);

    for (unsigned n = 0; result == 0 && n < i->layer_count; n++)
        result = check_file(i, i->layers[n].path, i->layers[n].digest, cancel, e);
    return result;
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

static int verify_file(const struct image *i, const char *path, const char *wanted, const struct home *h,
                       struct error *e)
{
    char digest[DIGEST_HEX_SIZE];

    if (!file_exists(path))
        return corrupt(i, path, "missing", e);
    if (home_digest(h, path, digest, e) < 0)
        return -1;
    return strcmp(digest, wanted) == 0 ? 0 : corrupt(i, path, "corrupt", e);
}

int image_verify(const struct image *i, const struct home *h, struct error *e)
{
    int result = verify_file(i, i->path, i->digest, h, e);

    for (unsigned n = 0; result == 0 && n < i->layer_count; n++)
        result = verify_file(i, i->layers[n].path, i->layers[n].digest, h, e);
    return result;
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
    char initd_digest[DIGEST_HEX_SIZE];
    struct packages packages;

    if (home_digest(h, initd, initd_digest, e) < 0 || image_packages(&packages, h, i, e) < 0)
        return -1;
    cleanup_free char *text = sbom_make(i->digest, &packages, i->initd, initd_digest);
    packages_done(&packages);
    if (!text)
        return error_set(e, ERROR_GENERAL, "the bill of materials of %s cannot be written", i->name);
    return blobs_put_text(h, &sboms, i->digest, text, e);
}

/* Files come and go together with names, by one process at a time. */
static int lock_store(const struct home *h, const struct cancel *cancel, struct error *e)
{
    return home_lock(h, "images", "changing the images", deadline_in_ms(STORE_DEADLINE_MS), cancel, e);
}

/* Moves a built file and its records into the store; i has digest and path and gets the rest. */
static int store_files(const struct config *config, const struct home *h, struct image *i,
                       const struct build_paths *built, struct error *e)
{
    cleanup_free char *initd = text_format("%s/initd", config->data);
    struct stat st;

    i->initd = initd_version(initd, e);
    if (!i->initd)
        return -1;
    if (stat(built->output, &st) < 0)
        return error_errno(e, "cannot look at %s", built->output);
    i->size = (uint64_t)st.st_size;
    i->created = clock_realtime_ns() / 1000000000;
    return blobs_put(h, &package_records, i->digest, built->lock_out, e) < 0 ||
                   blobs_put(h, &image_files, i->digest, built->output, e) < 0
               ? -1
               : write_sbom(config, h, i, e);
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
                      .path = blobs_path(h, &image_files, digest),
                      .oci = oci ? json_dumps(oci, JSON_SORT_KEYS) : NULL};
    int result = store_files(config, h, &i, built, e);
    if (result == 0)
        result = take_name(&i, h, cancel, e);
    image_done(&i);
    return result;
}

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
    const struct blobs *const kinds[] = {&image_files, &package_records, &sboms};
    struct users users = {.digest = digest};

    if (image_each(h, count_user, &users, e) < 0)
        return -1;
    for (size_t n = 0; users.count == 0 && n < sizeof(kinds) / sizeof(kinds[0]); n++)
        if (blobs_remove(h, kinds[n], digest, e) < 0)
            return -1;
    return 0;
}

bool image_has_file(const struct image *i, const char *digest)
{
    for (unsigned n = 0; n < i->layer_count; n++)
        if (strcmp(i->layers[n].digest, digest) == 0)
            return true;
    return strcmp(i->digest, digest) == 0;
}

int image_remove(const struct home *h, const char *name, const struct cancel *cancel, struct error *e)
{
    struct image i = {0};
    struct refs_version version;
    cleanup_fd int fd = lock_store(h, cancel, e);

    if (fd < 0 || find_version(&i, h, name, &version, e) < 0)
        return -1;
    /* The name is gone first: what an interruption leaves is a file without a name. */
    int result = refs_swap(h, &names, name, &version, NULL, cancel, e);
    if (result == 0)
        result = remove_unused(h, i.digest, e);
    for (unsigned n = 0; result == 0 && n < i.layer_count; n++)
        result = remove_unused(h, i.layers[n].digest, e);
    image_done(&i);
    return result;
}
