/*
 * ids: manifests of images by their UUID (images/ids/UUID.json). An image has one as soon as anything but a name stands on it, a
 * tag or a branch: from then on it stays when the name goes to another image.
 */
#ifndef CAPSID_IMAGE_IDS_H
#define CAPSID_IMAGE_IDS_H

#include "image/image.h"

/* The image with that UUID; also one that has a name and nothing else. ERROR_NOT_FOUND, with what to do. */
int image_find_id(struct image *ret, const struct home *h, const char *uuid, struct error *e);

/* Writes the manifest where there is none. Under image_lock_all(), with all files in the store. Private to image/. */
int image_pin(const struct image *i, const struct home *h, const struct cancel *cancel, struct error *e);

/* Removes it; one that is not there is fine. The same. */
int image_unpin(const char *uuid, const struct home *h, const struct cancel *cancel, struct error *e);

/* Calls visit for all images: the named ones sorted by name, then all that have a manifest of their own, sorted by UUID; what it
 * returns other than 0 ends that, and is returned. One that has both is there twice. */
int image_each_known(const struct home *h, int (*visit)(const struct image *i, void *context), void *context,
                     struct error *e);

#endif
