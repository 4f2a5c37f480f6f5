/* ensure: the images of definitions: built when they are missing, or not made from what is there now. */
#ifndef CAPSID_IMAGE_ENSURE_H
#define CAPSID_IMAGE_ENSURE_H

#include "image/image.h"
#include "language/language.h"

/*
 * The image of a language, built when it is missing or its inputs changed, or always with force. Says what it
 * does on stderr. Two processes that want the same image build it once.
 *
 * A language with an OCI image uses the imported one of its name, which is not made here: ERROR_NOT_FOUND says how
 * to import it. Variables of that image's ENV that the language does not set are added to l->env.
 */
int image_ensure(struct image *ret, const struct config *config, struct home *h, struct language *l,
                 bool force, const struct cancel *cancel, struct error *e);

/* 1 when the language's image is there and made from its definition as it is, 0 when not. Does not read the image
 * file. */
int image_is_current(const struct config *config, const struct home *h, const struct language *l,
                     struct error *e);

/*
 * Builds the definition l anew and gives the image that name. lock: a file of image/packages.h to build from, or NULL.
 * A failure leaves the image that had the name before.
 */
int image_create(struct image *ret, const struct config *config, struct home *h, const struct language *l,
                 const char *name, const char *lock, const struct cancel *cancel, struct error *e);

#endif
