/*
 * tags: names that users give to images (images/tags/): an image has any number of them, and a tag can move to another image. And what
 * a user may call an image.
 */
#ifndef CAPSID_IMAGE_TAGS_H
#define CAPSID_IMAGE_TAGS_H

#include "image/image.h"

#define LANGUAGE_BEGIN                                                                                       \
    "lang/" /* of what names the image of a language, or another name of rootfs, among tags */

#define IMAGE_TAG_MAX 256 /* bytes */

/* [A-Za-z0-9][A-Za-z0-9_-]*(?:[:/.][A-Za-z0-9_-]+)* and no longer than that. */
bool image_is_tag(const char *s);

/* Whether users may give it: it is one, and is not a language's. ERROR_USAGE says what is wrong. */
int image_check_tag(const char *tag, struct error *e);

/*
 * The image that is meant by UUID, tag:NAME, or tag:lang/NAME, which is the image of the language of that name. ERROR_USAGE: it is none
 * of these; ERROR_NOT_FOUND: there is none. Both say what to do. Does not read the image's files.
 */
int image_resolve(struct image *ret, const struct home *h, const char *reference, struct error *e);

/* The tag, or the name of the language, that the reference is of; borrowed from it. NULL: it is of neither. */
const char *image_reference_tag(const char *reference);
const char *image_reference_language(const char *reference);

/* Which image has the tag. ERROR_NOT_FOUND: none. */
int image_find_tag(char ret[static IMAGE_UUID_SIZE], const struct home *h, const char *tag, struct error *e);

/*
 * Gives the tag to an image; from: the UUID of the one that must have it until then, ERROR_BUSY: another one has; "": none may;
 * NULL: whichever has.
 */
int image_tag(const struct image *i, const struct home *h, const char *tag, const char *from,
              const struct cancel *cancel, struct error *e);

/* The image stays. ERROR_NOT_FOUND: there is no such tag. */
int image_untag(const struct home *h, const char *tag, const struct cancel *cancel, struct error *e);

/* Calls visit for each tag, in no order; what it returns other than 0 ends that, and is returned. */
int image_each_tag(const struct home *h, int (*visit)(const char *tag, const char *uuid, void *context),
                   void *context, struct error *e);

#endif
