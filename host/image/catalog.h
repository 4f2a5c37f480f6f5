/*
 * catalog: records of images (images/records.db): which there are, where they come from, which names and tags they have. What counts is
 * on disk (image/image.h); the catalog follows it, and can be made anew from it, which is done where there is none yet.
 */
#ifndef CAPSID_IMAGE_CATALOG_H
#define CAPSID_IMAGE_CATALOG_H

#include "base/file.h"
#include "image/image.h"

/*
 * After a name, a tag, or an image that has neither, was made, changed or removed; or many were. What fails is told, and no
 * more: capsid doctor --repair mends it. None but the last takes longer the more images there are.
 */
void catalog_follow(const struct home *h, const char *name);
void catalog_follow_tag(const struct home *h, const char *tag);
void catalog_follow_id(const struct home *h, const char *uuid);
void catalog_follow_all(const struct home *h);

struct catalog_count {
    uint64_t images, names, tags;
    uint64_t nameless, nameless_bytes; /* images without names or tags */
};

/*
 * Compares the catalog with what is on disk, and counts. 0: it is right; 1: it was not, and with repair it is now, with
 * *ret_aside (the caller frees it) for where a file that could not be used went, NULL: it could. -1 with an error.
 */
int catalog_compare(const struct home *h, bool repair, struct catalog_count *ret, char **ret_aside,
                    struct error *e);

#endif
