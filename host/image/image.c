#include "image/image.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "image/build.h"
#include "image/import.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define REFERENCE_MAX (1 << 20)
#define BUILD_DEADLINE_MS (60 * 60 * 1000)

/* Part of every inputs hash; a new number rebuilds all images. */
#define BUILD_FORMAT "1"

void image_done(struct image *i)
{
    free(i->name);
    free(i->path);
    free(i->digest);
    free(i->inputs);
    free(i->oci);
    *i = (struct image){0};
}

static char *image_path(const struct home *h, const char *digest)
{
    return home_path(h, "images/%s.erofs", digest);
}

int image_find(struct image *ret, const struct home *h, const char *name, struct error *e)
{
    cleanup_free char *path = home_path(h, "images/names/%s.json", name);
    cleanup_buffer struct buffer text = {0};
    const char *digest, *inputs;
    json_int_t size, created;

    if (!text_is_name(name) || !file_exists(path))
        return error_set(e, ERROR_NOT_FOUND,
                         "no image is called %s; make it with: capsid rootfs create --name %s", name, name);
    if (file_read(path, REFERENCE_MAX, &text, e) < 0)
        return -1;
    json_t *j = json_loads(text.data, 0, NULL);
    if (json_unpack(j, "{s:s, s:s, s:I, s:I}", "digest", &digest, "inputs", &inputs, "size", &size, "created",
                    &created) < 0 ||
        !text_is_name(digest) || strlen(digest) != 64) {
        json_decref(j);
        return error_set(
            e, ERROR_CORRUPT,
            "%s is not a valid image reference; make it anew with: capsid rootfs create --name %s", path,
            name);
    }
    *ret = (struct image){.name = text_copy(name),
                          .path = image_path(h, digest),
                          .digest = text_copy(digest),
                          .inputs = text_copy(inputs),
                          .size = (uint64_t)size,
                          .created = created,
                          .oci = json_dumps(json_object_get(j, "oci"), JSON_SORT_KEYS)};
    json_decref(j);
    return 0;
}

int image_verify(const struct image *i, const struct home *h, struct error *e)
{
    char digest[DIGEST_HEX_SIZE];

    if (!file_exists(i->path))
        return error_set(e, ERROR_CORRUPT,
                         "image file %s is missing; make it anew with: capsid rootfs create --name %s",
                         i->path, i->name);
    if (home_digest(h, i->path, digest, e) < 0)
        return -1;
    if (strcmp(digest, i->digest) != 0)
        return error_set(e, ERROR_CORRUPT,
                         "image file %s is corrupt; make it anew with: capsid rootfs create --name %s",
                         i->path, i->name);
    return 0;
}

/* Everything that decides an image's bytes, short of what the Debian mirror holds. */
static int hash_inputs(const struct config *config, const struct home *h, const struct language *l,
                       char ret[static DIGEST_HEX_SIZE], struct error *e)
{
    cleanup_free char *initd = text_format("%s/initd", config->data);
    cleanup_free char *builder = text_format("%s/build-image", config->data);
    cleanup_buffer struct buffer all = {0};
    char initd_digest[DIGEST_HEX_SIZE], builder_digest[DIGEST_HEX_SIZE];

    if (home_digest(h, initd, initd_digest, e) < 0 || home_digest(h, builder, builder_digest, e) < 0)
        return error_wrap(e, "the data directory %s is incomplete", config->data);
    buffer_add_text(&all,
                    "format %s\ninitd %s\nbuilder %s\nsuite %s\nmethod %s\npackages %s\npost %s\ndrop %s\n",
                    BUILD_FORMAT, initd_digest, builder_digest, l->suite, l->method, l->packages,
                    l->post ? l->post : "", l->drop ? l->drop : "");
    digest_bytes(all.data, all.size, ret);
    return 0;
}

int image_adopt(const struct home *h, const char *name, const char *built, const char *inputs, json_t *oci,
                struct error *e)
{
    char digest[DIGEST_HEX_SIZE];
    struct stat st;

    if (stat(built, &st) < 0)
        return error_errno(e, "the image builder made no %s", built);
    if (home_digest(h, built, digest, e) < 0)
        return -1;
    cleanup_free char *path = image_path(h, digest);
    cleanup_free char *reference = home_path(h, "images/names/%s.json", name);
    if (rename(built, path) < 0)
        return error_errno(e, "cannot create %s", path);
    json_t *j =
        json_pack("{s:s, s:s, s:s, s:I, s:I}", "name", name, "digest", digest, "inputs", inputs, "size",
                  (json_int_t)st.st_size, "created", (json_int_t)(clock_realtime_ns() / 1000000000));
    if (oci)
        json_object_set(j, "oci", oci);
    cleanup_free char *text = json_dumps(j, JSON_INDENT(2));
    json_decref(j);
    if (strlen(text) > REFERENCE_MAX)
        return error_set(e, ERROR_GENERAL, "what is to be remembered of the image %s has more than %d bytes",
                         name, REFERENCE_MAX);
    return file_replace(reference, h->scratch, text, strlen(text), 0600, e);
}

/* True when the name refers to an image made from these inputs. Its file is checked too, so that a corrupt
 * one is told, not replaced. */
static int find_current(struct image *ret, const struct home *h, const char *name, const char *inputs,
                        struct error *e)
{
    struct error why = {0};

    if (image_find(ret, h, name, &why) < 0) {
        if (why.kind == ERROR_NOT_FOUND)
            return 0;
        *e = why;
        return -1;
    }
    if (strcmp(ret->inputs, inputs) == 0) {
        if (image_verify(ret, h, e) == 0)
            return 1;
        image_done(ret);
        return -1;
    }
    image_done(ret);
    return 0;
}

static int build_locked(const struct config *config, struct home *h, const struct language *l,
                        const char *inputs, const struct cancel *cancel, struct error *e)
{
    cleanup_free char *output = text_format("%s/%s.erofs", h->scratch, l->name);

    if (image_build(config, h, l, output, deadline_in_ms(BUILD_DEADLINE_MS), cancel, e) < 0)
        return -1;
    return image_adopt(h, l->name, output, inputs, NULL, e);
}

int image_ensure(struct image *ret, const struct config *config, struct home *h, struct language *l,
                 bool force, const struct cancel *cancel, struct error *e)
{
    char inputs[DIGEST_HEX_SIZE];

    if (l->oci)
        return image_find_imported(ret, h, l, e);

    if (hash_inputs(config, h, l, inputs, e) < 0)
        return -1;
    if (!force) {
        int found = find_current(ret, h, l->name, inputs, e);
        if (found != 0)
            return found < 0 ? -1 : 0;
    }
    cleanup_free char *lock = text_format("image-%s", l->name);
    cleanup_free char *waiting = text_format("building the image %s", l->name);
    cleanup_fd int fd = home_lock(h, lock, waiting, deadline_in_ms(BUILD_DEADLINE_MS), cancel, e);
    if (fd < 0)
        return -1;
    int found = force ? 0 : find_current(ret, h, l->name, inputs, e);
    if (found != 0)
        return found < 0 ? -1 : 0;
    if (build_locked(config, h, l, inputs, cancel, e) < 0)
        return -1;
    return image_find(ret, h, l->name, e);
}

int image_is_current(const struct config *config, const struct home *h, const struct language *l,
                     struct error *e)
{
    char inputs[DIGEST_HEX_SIZE];
    struct image i = {0};
    struct error why = {0};

    /* What a container image holds is not decided by the definition. */
    if (!l->oci && hash_inputs(config, h, l, inputs, e) < 0)
        return -1;
    int result = image_find(&i, h, l->name, &why) == 0 && file_exists(i.path) &&
                 (l->oci || strcmp(i.inputs, inputs) == 0);
    image_done(&i);
    return result;
}

static int name_of_reference(const struct dirent *d)
{
    size_t size = strlen(d->d_name);

    return d->d_name[0] != '.' && size > 5 && strcmp(d->d_name + size - 5, ".json") == 0;
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
        if (result == 0)
            result = image_find(&image, h, entries[i]->d_name, e);
        if (result == 0)
            result = visit(&image, context);
        image_done(&image);
        free(entries[i]);
    }
    free(entries);
    return result;
}
