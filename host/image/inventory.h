/*
 * inventory: all images there are, with their names and tags, read once: for who lists, or has to know what stands on what.
 */
#ifndef CAPSID_IMAGE_INVENTORY_H
#define CAPSID_IMAGE_INVENTORY_H

#include "image/image.h"

struct image_entry {
    struct image image;        /* its own name is NULL */
    struct buffer names, tags; /* words with commas between them */
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

/* Calls visit for each word of such a list; what it returns other than 0 ends that, and is returned. */
int inventory_each_word(const struct buffer *list, int (*visit)(const char *word, void *context),
                        void *context);

/* Which are wanted. Moments are seconds since 1970. */
struct inventory_wish {
    bool tagged;            /* those that have a tag */
    bool named;             /* names count, too, as tags lang/NAME */
    const char *prefix;     /* or one that begins so; NULL: any */
    const char *tag;        /* or this one; NULL: any */
    int64_t since, until;   /* made then or later, and before; 0: any */
    uint64_t offset, limit; /* so many of them are left out, so many come at most; 0: all */
};

/* Calls visit for those, the newest first; the same. */
int inventory_select(const struct inventory *all, const struct inventory_wish *wish,
                     int (*visit)(const struct image_entry *entry, void *context), void *context);

#endif
