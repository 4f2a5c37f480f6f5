/*
 * import: images made of OCI images, which skopeo pulls and the program import-oci unpacks. The reference of such an
 * image has a member "oci" with its source, layers and defaults (ENV, WORKDIR, USER, ENTRYPOINT, CMD).
 */
#ifndef CAPSID_IMPORT_H
#define CAPSID_IMPORT_H

#include "image/image.h"
#include "image/recipe.h"

#include <jansson.h>

struct import_request {
    const char *name;      /* NULL: the image gets none; borrowed, as all strings here */
    const char *reference; /* docker://..., oci:DIRECTORY:TAG, docker-archive:FILE, or a name in a registry */
    const char *cmd;       /* NULL, or split at spaces in place of the image's CMD */
    uint64_t disk_mib;     /* as in struct image; 0: as the image of that name had it */
    uint64_t max_bytes;    /* of all files unpacked, and of what is pulled; 0: default */
    uint64_t max_entries;  /* 0: default */
    uint64_t max_ratio;    /* 0: default */
};

/* Pulls and makes the image and points the name, if there is one, at it. The old image of that name stays when this fails. */
int image_import(struct image *ret, const struct config *config, struct home *h,
                 const struct import_request *request, const struct cancel *cancel, struct error *e);

/* The imported image of that name; oci, the reference that it should come from, is for messages. */
int image_find_imported(struct image *ret, const struct home *h, const char *name, const char *oci,
                        struct error *e);

/* Whether it was imported under the name of something that has a recipe, in place of what that makes. */
bool image_replaces(const struct image *i, const struct recipe *recipe);

/* Calls take with each variable, NAME=VALUE, that an image sets for its programs; one that was built sets none. */
int image_each_variable(const struct image *i,
                        int (*take)(const char *variable, void *context, struct error *e), void *context,
                        struct error *e);

#endif
