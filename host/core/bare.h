/*
 * bare: the guest that any image starts from. Its initd waits to be told what its root is made of, and so one snapshot for each
 * shape serves all images, also one that was made a moment ago: a file is put in each disk's place before the restore.
 */
#ifndef CAPSID_BARE_H
#define CAPSID_BARE_H

#include "core/host.h"
#include "core/snapshot.h"

#define BARE_NAME                                                                                            \
    "bare" /* for the language, in the manifests of its snapshots; no definition may have that name */

/* In place of a language's: what its snapshots depend on. Both are the caller's, as those of language_find() and image_find(). */
int bare_find(struct language *ret, struct image *ret_root, const struct host *host, struct error *e);

/* The image file of bare guests; the caller frees it. */
char *bare_root_path(const struct host *host);

/* The snapshot for the shape of spec, whose image is the one of bare_find(); the disk is no part of it. Made where it is missing;
 * or with make_nothing ERROR_NOT_MADE. */
int bare_snapshot(struct snapshot *ret, struct host *host, const struct call *call,
                  const struct machine_spec *spec, bool anew, bool make_nothing, bool *ret_made,
                  struct error *e);

#endif
