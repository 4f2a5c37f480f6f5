#include "core/bare.h"

#include "base/cleanup.h"

char *bare_root_path(const struct host *host)
{
    return text_format("%s/bare-root.erofs", host->config.data);
}

int bare_find(struct language *ret, struct image *ret_root, const struct host *host, struct error *e)
{
    char digest[DIGEST_HEX_SIZE];
    cleanup_free char *path = bare_root_path(host);

    if (home_digest(&host->home, path, digest, e) < 0)
        return error_wrap(e, "cannot use the root of bare guests (build it with: make)");
    *ret = (struct language){.name = text_copy(BARE_NAME), .digest = text_copy("")};
    *ret_root = (struct image){.path = path, .digest = text_copy(digest)};
    path = NULL;
    return 0;
}

int bare_snapshot(struct snapshot *ret, struct host *host, const struct call *call,
                  const struct machine_spec *spec, bool anew, bool make_nothing, bool *ret_made,
                  struct error *e)
{
    struct machine_spec bare = {
        .kernel = spec->kernel, .bare = true, .shape = spec->shape, .accelerator = spec->accelerator};
    struct language l;
    struct image root;

    bare.shape.disk_mib = 0;
    if (bare_find(&l, &root, host, e) < 0)
        return -1;
    bare.image = root.path;
    int result = make_nothing ? snapshot_lookup(ret, host, &l, &root, &bare, e)
                              : snapshot_ensure(ret, host, call, &l, &root, &bare, anew, ret_made, e);
    image_done(&root);
    language_done(&l);
    return result;
}
