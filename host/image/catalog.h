/*
 * catalog: records of images (images/records.db): which there are, also those that have lost their names, where they come
 * from, and which names they have. What counts is on disk (image/image.h); the catalog follows it, and can be made anew from it,
 * which is done where there is none yet.
 */
#ifndef CAPSID_IMAGE_CATALOG_H
#define CAPSID_IMAGE_CATALOG_H

#include "base/file.h"
#include "image/image.h"

/* After a name was given to an image, or was removed. What fails is told, and no more: capsid doctor --repair mends it. */
void catalog_follow(const struct home *h, const char *name);

struct catalog_count {
    uint64_t images, names, nameless;
    uint64_t nameless_bytes;
};

/*
 * Compares the catalog with what is on disk, and counts. 0: it is right; 1: it was not, and with repair it is now, with
 * *ret_aside (the caller frees it) for where a file that could not be used went, NULL: it could. -1 with an error.
 */
int catalog_compare(const struct home *h, bool repair, struct catalog_count *ret, char **ret_aside,
                    struct error *e);

#endif
