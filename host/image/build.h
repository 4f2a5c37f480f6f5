/* build: runs the image builder (rootfs/build-image) in namespaces of its own. Private to image/. */
#ifndef CAPSID_IMAGE_BUILD_H
#define CAPSID_IMAGE_BUILD_H

#include "image/image.h"

/* What the builder reads and writes. */
struct build_paths {
    const char *output;   /* the image file */
    const char *lock_out; /* gets the record of its packages, see image/packages.h */
    const char *lock;     /* such a record, to build from exactly these packages; or NULL */
};

/*
 * Makes the image file of a definition; name is for messages and logs. Shows the builder's phases on stderr; all else
 * goes to log/image-NAME.log. Whatever ends this function, no process or mount of the builder is left.
 */
int image_build(const struct config *config, struct home *h, const struct language *l, const char *name,
                const struct build_paths *paths, int64_t deadline, const struct cancel *cancel,
                struct error *e);

#endif
