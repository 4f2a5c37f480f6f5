/* remove: images go, one at a time, or all that nothing needs any more. */
#ifndef CAPSID_IMAGE_REMOVE_H
#define CAPSID_IMAGE_REMOVE_H

#include "image/image.h"

/* Removes a name, and the image with its records when no other name refers to it. */
int image_remove(const struct home *h, const char *name, const struct cancel *cancel, struct error *e);

/*
 * Removes an image and its tags; *ret_freed: bytes on disk. ERROR_NEEDED, and nothing is done: it has a name of rootfs, others stand on it,
 * or a VM uses it; the message says which and what to do.
 */
int image_delete(const struct home *h, const struct image *i, uint64_t *ret_freed,
                 const struct cancel *cancel, struct error *e);

/* Removes a file that was taken for an image that there is not, unless another image has it, as well as can be. Private to image/. */
void image_drop_unneeded(const struct home *h, const char *digest);

struct image_gc {
    bool dry_run;       /* only say what would be done */
    uint64_t keep_days; /* those made in the last so many days stay */
    json_t *
        needed; /* object: its keys are digests of files that stay, for snapshots are made of them; borrowed */
    /* Called for each that goes, those that stand on it first; own: bytes on disk. */
    void (*report)(const struct image *i, uint64_t own, void *context);
    void *context;
};

struct image_collected {
    uint64_t images;
    uint64_t files; /* of these, of names that went to other images, and what a crash left */
    uint64_t freed; /* bytes on disk, of all */
};

/*
 * Removes the images that have no name and no tag, on which no other stands that stays, and which no VM uses; and all files that
 * no image has.
 */
int image_collect(const struct home *h, const struct image_gc *gc, struct image_collected *ret,
                  const struct cancel *cancel, struct error *e);

#endif
