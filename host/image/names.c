#include "image/names.h"

#include "base/cleanup.h"
#include "image/files.h"
#include "image/manifest.h"

static const struct refs names = {
    .place = "images/names", .ending = ".json", .lock = "names-of-images", .size_max = IMAGE_MANIFEST_MAX};

int image_find_version(struct image *ret, const struct home *h, const char *name,
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
    image_find_files(ret, h);
    return 0;
}

int image_find(struct image *ret, const struct home *h, const char *name, struct error *e)
{
    return image_find_version(ret, h, name, NULL, e);
}

static int swap_manifest(const struct home *h, const struct image *i, const struct refs_version *version,
                         const struct cancel *cancel, struct error *e)
{
    cleanup_free char *text = image_format_manifest(i);

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
        result = image_find_version(&now, h, i->name, &version, &why);
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

int image_take_name(struct image *i, const struct home *h, const struct cancel *cancel, struct error *e)
{
    struct error why = {0};
    uint64_t wanted = i->disk_mib;
    int result;

    do {
        struct image old = {0};
        struct refs_version version = {0};
        struct error ignored = {0}; /* none, or one that is damaged, which goes */
        why = (struct error){0};
        image_find_version(&old, h, i->name, &version, &ignored);
        i->disk_mib = wanted ? wanted : old.disk_mib;
        image_done(&old);
        result = swap_manifest(h, i, &version, cancel, &why);
    } while (result < 0 && why.kind == ERROR_BUSY);
    if (result < 0)
        *e = why;
    return result;
}

int image_drop_name(const struct home *h, const char *name, const struct refs_version *version,
                    const struct cancel *cancel, struct error *e)
{
    return refs_swap(h, &names, name, version, NULL, cancel, e);
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
