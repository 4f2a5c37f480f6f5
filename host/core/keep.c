#include "core/keep.h"

#include "image/branch.h"
#include "vmm/disk.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int keep_begin(struct keep *k, const struct host *host, const struct call *call, uint64_t disk_mib,
               uint64_t max_bytes, struct error *e)
{
    *k = (struct keep){.max_bytes = max_bytes};
    k->disk = disk_make_named(host->home.scratch, disk_mib ? disk_mib : KEEP_DISK_MIB, &call->cancel, e);
    return k->disk ? 0 : -1;
}

unsigned keep_fold_count(const struct image *parent)
{
    unsigned count = parent->layer_count, fold = 1;

    if (count < IMAGE_LAYERS_MAX)
        return 0;
    uint64_t size = parent->layers[count - 1].size;
    while (fold < count && parent->layers[count - fold - 1].kind == IMAGE_LAYER_EXT4 &&
           parent->layers[count - fold - 1].size <= 2 * size)
        size += parent->layers[count - ++fold].size;
    return fold;
}

int keep_seal(struct guest *g, unsigned fold, bool *ret_changed, int64_t deadline, struct error *e)
{
    if (guest_root_changed(g, ret_changed, deadline, e) < 0)
        return -1;
    return *ret_changed ? guest_seal_root(g, fold, deadline, e) : 0;
}

int keep_is_too_large(const struct keep *k, uint64_t *ret_bytes, struct error *e)
{
    struct stat st;

    if (lstat(k->disk, &st) < 0)
        return error_errno(e, "cannot look at %s", k->disk);
    *ret_bytes = (uint64_t)st.st_blocks * 512;
    return k->max_bytes && *ret_bytes > k->max_bytes;
}

int keep_adopt(struct keep *k, struct image *ret, const struct host *host, const struct call *call,
               const struct image *parent, const char *origin_of, struct error *e)
{
    const struct image_branch b = {
        .parent = parent, .file = k->disk, .replaces = k->fold, .origin_of = origin_of};

    /* A jailed VMM had it as its own. */
    if (chown(k->disk, geteuid(), getegid()) < 0 || chmod(k->disk, 0444) < 0)
        return error_errno(e, "cannot take over %s", k->disk);
    return image_adopt_branch(ret, &host->home, &b, &call->cancel, e);
}

void keep_done(struct keep *k)
{
    if (k->disk)
        unlink(k->disk);
    free(k->disk);
    *k = (struct keep){0};
}
