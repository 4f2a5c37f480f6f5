/* build: runs the image builder (rootfs/build-image) in namespaces of its own. Private to image/. */
#ifndef CAPSID_IMAGE_BUILD_H
#define CAPSID_IMAGE_BUILD_H

#include "image/image.h"

/*
 * Makes the image file of a language at output. Shows the builder's phases on stderr; all else goes to
 * log/image-NAME.log. Whatever ends this function, no process or mount of the builder is left.
 */
int image_build(const struct config *config, struct home *h, const struct language *l, const char *output,
                int64_t deadline, const struct cancel *cancel, struct error *e);

#endif
