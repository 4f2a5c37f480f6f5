#include "image/ensure.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "image/adopt.h"
#include "image/build.h"
#include "image/catalog.h"
#include "image/import.h"

#include <string.h>

#define BUILD_DEADLINE_MS (60 * 60 * 1000)

/* Part of every inputs hash; a new number rebuilds all images. */
#define BUILD_FORMAT "2"

/* Everything that decides an image's bytes, short of what the Debian mirror holds. */
static int hash_inputs(const struct config *config, const struct home *h, const struct recipe *r,
                       char ret[static DIGEST_HEX_SIZE], struct error *e)
{
    static const char *const programs[] = {"initd", "build-image", "debian-apt", "npm-tree", "pip-tree"};
    const char *const parts[] = {r->suite, r->extra, r->method, r->packages,
                                 r->npm,   r->pip,   r->post,   r->drop};
    cleanup_buffer struct buffer all = {0};
    char digest[DIGEST_HEX_SIZE];

    buffer_add_text(&all, "%s\n", BUILD_FORMAT);
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        cleanup_free char *path = text_format("%s/%s", config->data, programs[i]);
        if (home_digest(h, path, digest, e) < 0)
            return error_wrap(e, "the data directory %s is incomplete", config->data);
        buffer_add_text(&all, "%s\n", digest);
    }
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        buffer_add_text(&all, "%s\n", parts[i] ? parts[i] : "");
    digest_bytes(all.data, all.size, ret);
    return 0;
}

/* 1: the name refers to an image made from these inputs, or imported under it. Of a name, what is imported counts: what it holds is
 * not decided by the recipe. */
static int find_made(struct image *ret, const struct home *h, const char *name, const char *inputs,
                     struct error *e)
{
    struct error why = {0};

    if (image_find(ret, h, name, &why) < 0) {
        if (why.kind == ERROR_NOT_FOUND)
            return 0;
        *e = why;
        return -1;
    }
    if (ret->origin == IMAGE_IMPORTED || strcmp(ret->inputs, inputs) == 0)
        return 1;
    image_done(ret);
    return 0;
}

/* The file is checked too, so that a corrupt one is told, not replaced. Who forces a build means what can be built. */
static int find_whole(struct image *ret, const struct home *h, const char *name, const char *inputs,
                      bool force, struct error *e)
{
    int found = find_made(ret, h, name, inputs, e);

    if (found <= 0)
        return found;
    bool build = force && ret->origin != IMAGE_IMPORTED;
    if (!build && image_verify(ret, h, e) == 0)
        return 1;
    image_done(ret);
    return build ? 0 : -1;
}

static int build_locked(const struct config *config, struct home *h, const char *name, const struct recipe *r,
                        const char *lock, const char *inputs, const struct cancel *cancel, struct error *e)
{
    cleanup_free char *output = text_format("%s/%s.erofs", h->scratch, name);
    cleanup_free char *lock_out = text_format("%s/%s.lock", h->scratch, name);
    struct build_paths paths = {.output = output, .lock_out = lock_out, .lock = lock};

    const struct image_adoption adoption = {.name = name, .inputs = inputs, .paths = &paths};
    struct image i;

    if (image_build(config, h, name, r, &paths, deadline_in_ms(BUILD_DEADLINE_MS), cancel, e) < 0 ||
        image_adopt(&i, config, h, &adoption, cancel, e) < 0)
        return -1;
    image_done(&i);
    catalog_follow(h, name);
    return 0;
}

static int lock_name(const struct home *h, const char *name, const struct cancel *cancel, struct error *e)
{
    cleanup_free char *lock = text_format("image-%s", name);
    cleanup_free char *waiting = text_format("building the image %s", name);

    return home_lock(h, lock, waiting, deadline_in_ms(BUILD_DEADLINE_MS), cancel, e);
}

int image_create(struct image *ret, const struct config *config, struct home *h, const char *name,
                 const struct recipe *recipe, const char *lock, const struct cancel *cancel, struct error *e)
{
    char inputs[DIGEST_HEX_SIZE];

    if (hash_inputs(config, h, recipe, inputs, e) < 0)
        return -1;
    cleanup_fd int fd = lock_name(h, name, cancel, e);
    if (fd < 0 || build_locked(config, h, name, recipe, lock, inputs, cancel, e) < 0)
        return -1;
    return image_find(ret, h, name, e);
}

int image_ensure(struct image *ret, const struct config *config, struct home *h, const char *name,
                 const struct recipe *recipe, bool force, const struct cancel *cancel, struct error *e)
{
    char inputs[DIGEST_HEX_SIZE];

    if (recipe->oci)
        return image_find_imported(ret, h, name, recipe->oci, e);
    if (hash_inputs(config, h, recipe, inputs, e) < 0)
        return -1;
    int found = find_whole(ret, h, name, inputs, force, e);
    if (found != 0)
        return found < 0 ? -1 : 0;
    cleanup_fd int fd = lock_name(h, name, cancel, e);
    if (fd < 0)
        return -1;
    found = find_whole(ret, h, name, inputs, force, e);
    if (found != 0)
        return found < 0 ? -1 : 0;
    if (build_locked(config, h, name, recipe, NULL, inputs, cancel, e) < 0)
        return -1;
    return image_find(ret, h, name, e);
}

int image_find_current(struct image *ret, const struct config *config, const struct home *h, const char *name,
                       const struct recipe *recipe, struct error *e)
{
    char inputs[DIGEST_HEX_SIZE] = "";
    struct error why = {0};

    *ret = (struct image){0};
    if (!recipe->oci && hash_inputs(config, h, recipe, inputs, e) < 0)
        return -1;
    int found = find_made(ret, h, name, inputs, &why) > 0 && file_exists(ret->path);
    if (!found)
        image_done(ret);
    return found;
}
