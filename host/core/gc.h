/* gc: which snapshots a run would still use, and the removal of the others. */
#ifndef CAPSID_GC_H
#define CAPSID_GC_H

#include "core/snapshot.h"

/*
 * 1 when a run of its language with its memory and processors would use it today, otherwise 0 and the reason in *ret
 * (the caller frees it). -1: what today's inputs are cannot be said, because the kernel or the VMM is missing.
 */
int snapshot_is_current(struct host *host, const struct snapshot *snapshot, char **ret, struct error *e);

struct snapshot_gc {
    bool dry_run;       /* only say what would be done */
    uint64_t keep_days; /* those made in the last so many days stay */
    /* Called for each that is not current; removed is false when it is in use. */
    void (*report)(const struct snapshot *snapshot, const char *reason, bool removed, void *context);
    void *context;
};

/* An object whose keys are the digests of all files of images that snapshots need. A new reference; NULL with an error. */
json_t *snapshot_image_files(struct host *host, struct error *e);

/* Removes the snapshots that are not current and not in use. *ret_freed: bytes on disk. */
int snapshot_collect(struct host *host, const struct call *call, const struct snapshot_gc *gc,
                     uint64_t *ret_freed, struct error *e);

#endif
