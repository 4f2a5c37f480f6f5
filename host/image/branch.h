/* branch: images that runs make of what they changed. */
#ifndef CAPSID_IMAGE_BRANCH_H
#define CAPSID_IMAGE_BRANCH_H

#include "image/image.h"

struct image_branch {
    const struct image *parent;
    const char *
        file; /* the new layer, a file of this process's scratch directory that nobody writes to any more (EXT4) */
    unsigned replaces;     /* how many of the parent's topmost layers are in it already */
    const char *origin_of; /* the operation or trace id of the run; NULL: not known */
};

/*
 * Makes an image of the parent and that layer, which is moved into the store; ret has no name. Whatever ends this process meanwhile, the
 * image is there as a whole, and stays after a power cut, or it is not there. ERROR_NOT_FOUND: the parent is gone;
 * ERROR_USAGE: it would have more than IMAGE_LAYERS_MAX layers. When it fails, the file may be gone.
 *
 * Takes the time of reading the layer's data and writing it to the disk, and none for other images.
 */
int image_adopt_branch(struct image *ret, const struct home *h, const struct image_branch *b,
                       const struct cancel *cancel, struct error *e);

#endif
