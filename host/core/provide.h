/*
 * provide: images that are wanted by name, which are made where they are missing: those of languages, tag:lang/NAME, and those with
 * a recipe of their own, tag:NAME.
 */
#ifndef CAPSID_PROVIDE_H
#define CAPSID_PROVIDE_H

#include "core/call.h"
#include "core/host.h"
#include "image/image.h"
#include "language/language.h"

/*
 * What image_resolve() finds (image/tags.h); a missing one that can be made is made. ERROR_NOT_MADE: make_nothing, and it would have
 * to be made.
 */
int provide_image(struct image *ret, struct host *host, const struct call *call, const char *reference,
                  bool make_nothing, struct error *e);

/* The image of a language as it is defined now; the same. */
int provide_made(struct image *ret, struct host *host, const struct call *call, const struct language *l,
                 bool make_nothing, struct error *e);

/* An image whose name is that of a recipe has the name as its tag, too, whichever had it before. */
int provide_tag(const struct image *i, const struct host *host, const struct call *call, struct error *e);

#endif
