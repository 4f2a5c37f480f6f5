/*
 * image: root filesystem images (EROFS), stored by their SHA-256 as images/DIGEST.erofs. A name is a
 * reference to one, a small JSON file in images/names/, which also says from which inputs the image was made.
 */
#ifndef CAPSID_IMAGE_H
#define CAPSID_IMAGE_H

#include "base/deadline.h"
#include "base/error.h"
#include "config/config.h"
#include "language/language.h"
#include "store/home.h"

struct image {
    char *name;      /* owned, as all strings here */
    char *path;      /* the image file */
    char *digest;    /* SHA-256 of the file */
    char *inputs;    /* SHA-256 of everything it was made from */
    uint64_t size;   /* bytes */
    int64_t created; /* seconds since 1970 */
    char *oci; /* of an imported image: JSON object with its reference, layers and defaults; else NULL */
};

void image_done(struct image *i);

/* The image that a name refers to. ERROR_NOT_FOUND: there is none. Does not read the image file. */
int image_find(struct image *ret, const struct home *h, const char *name, struct error *e);

/* Compares the file with its digest; ERROR_CORRUPT names the file and the remedy. Cheap when the file did not
 * change since the last time. */
int image_verify(const struct image *i, const struct home *h, struct error *e);

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

/* Calls visit for every named image, sorted by name. */
int image_each(const struct home *h, int (*visit)(const struct image *i, void *context), void *context,
               struct error *e);

#endif
