/*
 * inventory: all images there are, with their names and tags, read once: for who lists, or has to know what stands on what.
 */
#ifndef CAPSID_IMAGE_INVENTORY_H
#define CAPSID_IMAGE_INVENTORY_H

#include "image/image.h"

struct image_entry {
    struct image image; /* its own name is NULL */
    json_t *names;      /* arrays of strings, owned */
    json_t *tags;
    size_t children;
};

struct inventory {
    struct image_entry *entries; /* owned; sorted by UUID */
    size_t count;
};

int inventory_read(struct inventory *ret, const struct home *h, struct error *e);
void inventory_done(struct inventory *all);

/* Borrowed; NULL: it is not there. */
struct image_entry *inventory_find(const struct inventory *all, const char *uuid);

/* What every list says of an image, as JSON, without paths. A new reference. */
json_t *inventory_json(const struct image_entry *entry);

#endif
