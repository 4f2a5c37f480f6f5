/* ensure: images of recipes: built when they are missing, or not made from what is there now. */
#ifndef CAPSID_IMAGE_ENSURE_H
#define CAPSID_IMAGE_ENSURE_H

#include "image/image.h"
#include "image/recipe.h"

/*
 * The image of that name, built when it is missing or not from that recipe as it is, or always with force. Says what it
 * does on stderr. Two processes that want the same image build it once.
 *
 * One that was imported under the name stands for it until the name is removed, and is never built. A recipe with an OCI image
 * means only such a one: ERROR_NOT_FOUND says how to import it.
 */
int image_ensure(struct image *ret, const struct config *config, struct home *h, const char *name,
                 const struct recipe *recipe, bool force, const struct cancel *cancel, struct error *e);

/* 1 when image_ensure() would find it as it is, 0, and nothing in *ret, when not. Does not read the image file. */
int image_find_current(struct image *ret, const struct config *config, const struct home *h, const char *name,
                       const struct recipe *recipe, struct error *e);

/*
 * Builds it anew, also in place of one that was imported. lock: a file of image/packages.h to build from, or NULL.
 * A failure leaves the image that had the name before.
 */
int image_create(struct image *ret, const struct config *config, struct home *h, const char *name,
                 const struct recipe *recipe, const char *lock, const struct cancel *cancel, struct error *e);

#endif
