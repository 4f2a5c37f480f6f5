/* adopt: what was built or imported becomes an image. Private to image/. */
#ifndef CAPSID_IMAGE_ADOPT_H
#define CAPSID_IMAGE_ADOPT_H

#include "image/image.h"

/* Files come and go together with what names them, by one process at a time: the lock for that, of home_lock(). */
int image_lock_all(const struct home *h, const struct cancel *cancel, struct error *e);

struct build_paths;

/* What was built; borrowed. */
struct image_adoption {
    const char *
        name; /* that will be the image's; NULL: it gets none, and goes with the next gc unless it gets a tag */
    const char *inputs;
    const struct build_paths *paths;
    const json_t *oci; /* NULL, or the member "oci" of its manifest */
    uint64_t disk_mib; /* as in struct image; 0: as the image that had the name */
};

/* Takes the files into the store and makes an image of them. */
int image_adopt(struct image *ret, const struct config *config, const struct home *h,
                const struct image_adoption *a, const struct cancel *cancel, struct error *e);

#endif
