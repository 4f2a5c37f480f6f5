/* files: what of an image are files of the store. Private to image/, but for what image.h says of them. */
#ifndef CAPSID_IMAGE_FILES_H
#define CAPSID_IMAGE_FILES_H

#include "image/image.h"

extern const struct blobs image_package_records;
extern const struct blobs image_sboms;

/* All kinds of files of images. */
#define IMAGE_FILE_KINDS 4
extern const struct blobs *const image_all_files[IMAGE_FILE_KINDS];

/* Sets the paths of what has digests. */
void image_find_files(struct image *i, const struct home *h);

/* Whether all of them are there. */
bool image_has_all_files(const struct image *i);

/* Whether somebody has image_hold() of it, or of another one with the same topmost file. */
bool image_is_held(const struct image *i);

/* Removes a file that no manifest has any more, unless somebody holds it; the bytes on disk that this gives back. */
uint64_t image_drop_file(const struct home *h, const struct blobs *kind, const char *digest);

#endif
