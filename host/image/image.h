/*
 * image: root filesystem images (EROFS), stored by their SHA-256 as images/DIGEST.erofs. Beside each are
 * DIGEST.lock, the record of the packages it is made of, and DIGEST.spdx.json, its bill of materials. A name is a
 * reference to one, a small JSON file in images/names/ (the manifest), which also says from which inputs the image
 * was made.
 */
#ifndef CAPSID_IMAGE_H
#define CAPSID_IMAGE_H

#include "base/deadline.h"
#include "base/error.h"
#include "config/config.h"
#include "image/packages.h"
#include "store/blobs.h"
#include "store/home.h"

#include <jansson.h>

#define IMAGE_LAYERS_MAX                                                                                     \
    8 /* above the image's own file; as many as a VM may have (VM_LAYERS_MAX of vmm/driver.h) */

/* A read-only filesystem (EROFS) with what was changed above those below it. Owned, as all strings here. */
struct image_layer {
    char *path;
    char *digest; /* SHA-256 of the file */
};

struct image {
    char *name;                                  /* owned, as all strings here */
    char *path;                                  /* the image file */
    char *digest;                                /* SHA-256 of the file */
    struct image_layer layers[IMAGE_LAYERS_MAX]; /* each above the one before, all above that file */
    unsigned layer_count;
    char *inputs;      /* SHA-256 of everything it was made from */
    char *initd;       /* version and build id of its initd; empty in images of earlier versions */
    uint64_t size;     /* bytes */
    int64_t created;   /* seconds since 1970 */
    uint64_t disk_mib; /* of the disk that takes what its programs change; 0: their memory does */
    char *oci; /* of an imported image: JSON object with its reference, layers and defaults; else NULL */
};

void image_done(struct image *i);

/* The image that a name refers to. ERROR_NOT_FOUND: there is none. Does not read the image file. */
int image_find(struct image *ret, const struct home *h, const char *name, struct error *e);

/* Parses a manifest; everything but name and path. ERROR_CORRUPT: it is not one. */
int image_parse_manifest(struct image *ret, const char *text, struct error *e);

/* Compares the file with its digest; ERROR_CORRUPT names the file and the remedy. Cheap when the file did not
 * change since the last time. */
int image_verify(const struct image *i, const struct home *h, struct error *e);

/* Changes disk_mib of a named image, and in *i. Images of that name which are built later keep it. */
int image_set_disk(struct image *i, const struct home *h, uint64_t disk_mib, const struct cancel *cancel,
                   struct error *e);

/* As image_verify(), but always reads the whole file. */
int image_check(const struct image *i, const struct cancel *cancel, struct error *e);

/* The images themselves. */
extern const struct blobs image_files;

/* Paths of the records beside an image; the caller frees them. */
char *image_lock_path(const struct home *h, const struct image *i);
char *image_sbom_path(const struct home *h, const struct image *i);

/* What the image is made of. Images of earlier versions have no such record: ERROR_NOT_FOUND with the remedy. */
int image_packages(struct packages *ret, const struct home *h, const struct image *i, struct error *e);

/* What every list says of an image, as JSON; who may see paths adds them. A new reference. */
json_t *image_json(const struct image *i);

/* Whether a file of that SHA-256 is its own or one of its layers. */
bool image_has_file(const struct image *i, const char *digest);

/* Removes a name, and the image with its records when no other name refers to it. */
int image_remove(const struct home *h, const char *name, const struct cancel *cancel, struct error *e);

/* Calls visit for every named image, sorted by name. */
int image_each(const struct home *h, int (*visit)(const struct image *i, void *context), void *context,
               struct error *e);

/* Takes what was built, image and record of packages, into the store and points the name at it; oci: NULL, or the
 * member "oci" of its reference. Private to image/. */
struct build_paths;
int image_adopt(const struct config *config, const struct home *h, const char *name, const char *inputs,
                const struct build_paths *built, const json_t *oci, const struct cancel *cancel,
                struct error *e);

#endif
