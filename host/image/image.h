/*
 * image: root filesystem images. The first file of each is EROFS, stored by its SHA-256 as images/DIGEST.erofs. Beside it are
 * DIGEST.lock, the record of the packages it is made of, and DIGEST.spdx.json, its bill of materials. Above it are layers, if
 * any. What an image is made of, and where it comes from, is in its manifest, a small JSON file: images/names/NAME.json
 * while it has a name (of a language, or what rootfs was told), and images/ids/UUID.json as soon as anything else stands on it (image/ids.h).
 *
 * Which image it is follows from its bytes and its defaults, so the same image is the same on any machine.
 */
#ifndef CAPSID_IMAGE_H
#define CAPSID_IMAGE_H

#include "base/deadline.h"
#include "base/error.h"
#include "config/config.h"
#include "base/file.h"
#include "image/packages.h"
#include "store/blobs.h"
#include "store/home.h"

#include <jansson.h>

#define IMAGE_LAYERS_MAX                                                                                     \
    4 /* above the image's own file; with it as many as a VM may have (VM_LAYERS_MAX of vmm/driver.h) */

#define IMAGE_UUID_SIZE UUID_SIZE

enum image_layer_kind {
    IMAGE_LAYER_EROFS, /* made by this program */
    IMAGE_LAYER_EXT4,  /* a disk that a guest wrote: nothing on the host ever looks into it; sparse */
};

/* A read-only filesystem with what was changed above those below it. Owned, as all strings here. */
struct image_layer {
    enum image_layer_kind kind;
    char *path;
    char *digest;  /* of the file: SHA-256, or that of digest_sparse_fd() where it is sparse */
    uint64_t size; /* bytes on disk; 0: not known */
};

/* What programs in it get where nobody says otherwise. */
struct image_defaults {
    char **env;           /* NAME=VALUE, a NULL behind them; NULL: none */
    char *workdir, *user; /* NULL: none */
};

enum image_origin {
    IMAGE_BUILT,    /* from packages */
    IMAGE_IMPORTED, /* origin_of: its reference in a registry */
    IMAGE_BRANCH,   /* of its parent; origin_of: the operation or trace id of the run that wrote the layer */
};

struct image {
    char *name;                 /* NULL: it was found by its UUID; owned, as all strings here */
    char uuid[IMAGE_UUID_SIZE]; /* lower case */
    char *parent;               /* UUID; NULL: none */
    enum image_origin origin;
    char *origin_of; /* NULL: nothing */
    struct image_defaults defaults;
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

/* All of it; the caller is done with it. */
struct image image_copy(const struct image *from);

/* The image that a name refers to. ERROR_NOT_FOUND: there is none. Does not read the image file. */
int image_find(struct image *ret, const struct home *h, const char *name, struct error *e);

/* "built", "imported" or "branch". */
const char *image_origin_name(enum image_origin origin);

/* What messages call it: its name, or its UUID. */
const char *image_label(const struct image *i);

/* Compares the file with its digest; ERROR_CORRUPT names the file and the remedy. Cheap when the file did not
 * change since the last time. */
int image_verify(const struct image *i, const struct home *h, struct error *e);

/*
 * Bytes on disk of what the image adds to the one it stands on: the topmost layer, or the file of one that has none; and of all its
 * files together.
 */
uint64_t image_own_bytes(const struct image *i);
uint64_t image_all_bytes(const struct image *i);

/*
 * Holds an image that VMs are or will be made of, so that it is not removed: an fd that the caller closes in the end.
 * ERROR_NOT_FOUND: it was removed meanwhile.
 */
int image_hold(const struct image *i, struct error *e);

/* The same for its topmost file alone; those below are what it stands on. */
int image_verify_top(const struct image *i, const struct home *h, struct error *e);

/* Changes disk_mib of a named image, and in *i. Images of that name which are built later keep it. */
int image_set_disk(struct image *i, const struct home *h, uint64_t disk_mib, const struct cancel *cancel,
                   struct error *e);

/* As image_verify(), but always reads the whole file. */
int image_check(const struct image *i, const struct cancel *cancel, struct error *e);

/* The images themselves, and their layers by kind. */
extern const struct blobs image_files;
const struct blobs *image_layer_files(enum image_layer_kind kind);

/* Paths of the records beside an image; the caller frees them. */
char *image_lock_path(const struct home *h, const struct image *i);
char *image_sbom_path(const struct home *h, const struct image *i);

/* What the image is made of. Images of earlier versions have no such record: ERROR_NOT_FOUND with the remedy. */
int image_packages(struct packages *ret, const struct home *h, const struct image *i, struct error *e);

/* Whether a file of that SHA-256 is its own or one of its layers. */
bool image_has_file(const struct image *i, const char *digest);

/* Calls visit for every named image, sorted by name. */
int image_each(const struct home *h, int (*visit)(const struct image *i, void *context), void *context,
               struct error *e);

#endif
