/* ensure: images of recipes: built when they are missing, or not made from what is there now. */
#ifndef CAPSID_IMAGE_ENSURE_H
#define CAPSID_IMAGE_ENSURE_H

#include "image/image.h"
#include "image/recipe.h"

/*
 * The image of that name, built when it is missing or not from that recipe as it is, or always with force. Says what it
 * does on stderr. Two processes that want the same image build it once.
 *
 * A recipe with an OCI image means the imported one of that name, which is not made here: ERROR_NOT_FOUND says how
 * to import it.
 */
int image_ensure(struct image *ret, const struct config *config, struct home *h, const char *name,
                 const struct recipe *recipe, bool force, const struct cancel *cancel, struct error *e);

/* 1 when the image is there and made from the recipe as it is, 0 when not. Does not read the image file. */
int image_is_current(const struct config *config, const struct home *h, const char *name,
                     const struct recipe *recipe, struct error *e);

/*
 * Builds it anew. lock: a file of image/packages.h to build from, or NULL.
 * A failure leaves the image that had the name before.
 */
int image_create(struct image *ret, const struct config *config, struct home *h, const char *name,
                 const struct recipe *recipe, const char *lock, const struct cancel *cancel, struct error *e);

#endif
