/*
 * names: images of languages, and what else was made under a name. Private to image/; what others may do with them is in image.h.
 */
#ifndef CAPSID_IMAGE_NAMES_H
#define CAPSID_IMAGE_NAMES_H

#include "image/image.h"
#include "store/refs.h"

/* As image_find(), also which version of the name says so; ret_version may be NULL. */
int image_find_version(struct image *ret, const struct home *h, const char *name,
                       struct refs_version *ret_version, struct error *e);

/* Points its name at an image, which keeps the disk of the one that had it where it has none of its own. */
int image_take_name(struct image *i, const struct home *h, const struct cancel *cancel, struct error *e);

int image_drop_name(const struct home *h, const char *name, const struct refs_version *version,
                    const struct cancel *cancel, struct error *e);

#endif
