/*
 * layout: an OCI image layout (a directory with index.json and blobs/sha256/), read and checked: which image for
 * linux/amd64 is in it, of which layers it consists, and what its configuration says. Every blob is compared with
 * its SHA-256 before it is used.
 *
 * The JSON in it is hostile: sizes, counts and types are checked, and what is not known is refused.
 */
#ifndef CAPSID_OCI_LAYOUT_H
#define CAPSID_OCI_LAYOUT_H

#include "base/error.h"
#include "base/file.h"
#include "oci/layer.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define LAYOUT_JSON_MAX (4u << 20) /* bytes of an index, a manifest or a configuration */
#define LAYOUT_LAYERS_MAX 128      /* Docker allows 127 */
#define LAYOUT_STRINGS_MAX 256     /* of ENV, ENTRYPOINT or CMD */
#define LAYOUT_STRINGS_BYTES 65536
#define LAYOUT_CREATED_UNKNOWN 1700000000 /* for images that do not say when they were made */

struct layout_blob {
    char digest[DIGEST_HEX_SIZE]; /* SHA-256 of the file */
    uint64_t size;
};

struct layout_layer {
    struct layout_blob blob;
    char diff_id[DIGEST_HEX_SIZE]; /* SHA-256 of what it unpacks to */
    enum layer_compression compression;
};

struct layout {
    const char *directory; /* borrowed */
    struct layout_blob manifest;
    struct layout_blob config;
    struct layout_layer layers[LAYOUT_LAYERS_MAX];
    size_t layer_count;
    int64_t created;  /* seconds since 1970 */
    json_t *defaults; /* owned: env, entrypoint, cmd (lists of strings); workdir, user */
};

/* Reads index, manifest and configuration. The caller ends *ret with layout_done(), also after an error. */
int layout_read(struct layout *ret, const char *directory, struct error *e);
void layout_done(struct layout *l);

/* Opens a blob for reading, at its beginning, after its size and SHA-256 were found right. */
int layout_open_blob(const struct layout *l, const struct layout_blob *blob, struct error *e);

/* The parts of layout_read() that need no files, for tests. choose: *ret_nested tells whether the chosen one is an
 * index itself. */
int layout_choose(const char *index, size_t size, struct layout_blob *ret, bool *ret_nested, struct error *e);
int layout_parse_manifest(struct layout *l, const char *text, size_t size, struct error *e);
int layout_parse_config(struct layout *l, const char *text, size_t size, struct error *e);

#endif
