/* adopt: what was built or imported becomes an image. Private to image/. */
#ifndef CAPSID_IMAGE_ADOPT_H
#define CAPSID_IMAGE_ADOPT_H

#include "image/image.h"

/* Files come and go together with what names them, by one process at a time: the lock for that, of home_lock(). */
int image_lock_all(const struct home *h, const struct cancel *cancel, struct error *e);

/* Takes what was built, image and record of packages, into the store and points the name at it; oci: NULL, or the
 * member "oci" of its manifest. */
struct build_paths;
int image_adopt(const struct config *config, const struct home *h, const char *name, const char *inputs,
                const struct build_paths *built, const json_t *oci, const struct cancel *cancel,
                struct error *e);

#endif
