#include "image/ids.h"

#include "base/cleanup.h"
#include "image/files.h"
#include "image/manifest.h"
#include "store/refs.h"

#include <string.h>

static const struct refs ids = {
    .place = "images/ids", .ending = ".json", .lock = "ids-of-images", .size_max = IMAGE_MANIFEST_MAX};

/* ERROR_NOT_FOUND without a remedy. */
static int read_manifest(struct image *ret, const struct home *h, const char *uuid, struct error *e)
{
    cleanup_buffer struct buffer text = {0};

    if (refs_get(h, &ids, uuid, &text, NULL, e) < 0)
        return -1;
    if (image_parse_manifest(ret, text.data, e) == 0 && strcmp(ret->uuid, uuid) == 0) {
        image_find_files(ret, h);
        return 0;
    }
    cleanup_free char *path = refs_path(h, &ids, uuid);
    image_done(ret);
    return error_set(e, ERROR_CORRUPT, "%s is not the manifest of that image; remove that file", path);
}

struct search {
    const char *uuid;
    struct image *found;
    const struct home *home;
    struct error *error;
};

/* 1: found. */
static int find_named(const struct image *i, void *context)
{
    struct search *s = context;

    if (strcmp(i->uuid, s->uuid) != 0)
        return 0;
    return image_find(s->found, s->home, i->name, s->error) < 0 ? -1 : 1;
}

int image_find_id(struct image *ret, const struct home *h, const char *uuid, struct error *e)
{
    struct search s = {uuid, ret, h, e};
    struct error why = {0};

    if (read_manifest(ret, h, uuid, &why) == 0)
        return 0;
    if (why.kind != ERROR_NOT_FOUND) {
        *e = why;
        return -1;
    }
    int found = image_each(h, find_named, &s, e);
    return found != 0
               ? (found < 0 ? -1 : 0)
               : error_set(e, ERROR_NOT_FOUND, "there is no image %.64s; see: capsid images list", uuid);
}

int image_pin(const struct image *i, const struct home *h, const struct cancel *cancel, struct error *e)
{
    cleanup_free char *path = refs_path(h, &ids, i->uuid);
    cleanup_free char *directory = home_path(h, "%s", ids.place);
    struct image nameless = *i;
    const struct refs_version none = {0};
    struct error why = {0};

    if (file_exists(path))
        return 0;
    nameless.name = NULL;
    cleanup_free char *text = image_format_manifest(&nameless);
    if (refs_swap(h, &ids, i->uuid, &none, text, cancel, &why) == 0)
        return file_sync(directory, e);
    if (why.kind == ERROR_BUSY) /* another process wrote the same */
        return 0;
    *e = why;
    return -1;
}

int image_unpin(const char *uuid, const struct home *h, const struct cancel *cancel, struct error *e)
{
    cleanup_buffer struct buffer ignored = {0};
    struct refs_version version = {0};
    struct error why = {0};

    if (refs_get(h, &ids, uuid, &ignored, &version, &why) < 0 && why.kind != ERROR_NOT_FOUND) {
        *e = why;
        return -1;
    }
    return version.text[0] ? refs_swap(h, &ids, uuid, &version, NULL, cancel, e) : 0;
}

struct walk {
    const struct home *home;
    int (*visit)(const struct image *i, void *context);
    void *context;
    struct error *error;
};

static int visit_id(const char *uuid, void *context)
{
    struct walk *w = context;
    struct image image = {0};
    struct error why = {0};
    int result = read_manifest(&image, w->home, uuid, &why);

    if (result == 0)
        result = w->visit(&image, w->context);
    else if (why.kind == ERROR_NOT_FOUND) /* removed since it was listed */
        result = 0;
    else
        *w->error = why;
    image_done(&image);
    return result;
}

int image_each_known(const struct home *h, int (*visit)(const struct image *i, void *context), void *context,
                     struct error *e)
{
    struct walk w = {h, visit, context, e};
    int result = image_each(h, visit, context, e);

    return result != 0 ? result : refs_each(h, &ids, visit_id, &w, e);
}
