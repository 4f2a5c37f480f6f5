/* files: what of an image are files of the store. Private to image/, but for what image.h says of them. */
#ifndef CAPSID_IMAGE_FILES_H
#define CAPSID_IMAGE_FILES_H

#include "image/image.h"

extern const struct blobs image_package_records;
extern const struct blobs image_sboms;

/* Sets the paths of what has digests. */
void image_find_files(struct image *i, const struct home *h);

/* Whether all of them are there. */
bool image_has_all_files(const struct image *i);

#endif
