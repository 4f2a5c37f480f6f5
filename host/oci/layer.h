/*
 * layer: one layer of an OCI image, unpacked and applied to a tree. A layer is hostile: it may hold any name, any
 * link, and any amount of anything; what cannot be is refused with an error that names the path.
 */
#ifndef CAPSID_OCI_LAYER_H
#define CAPSID_OCI_LAYER_H

#include "base/error.h"
#include "base/file.h"

#include <stdint.h>

enum layer_compression { LAYER_PLAIN, LAYER_GZIP, LAYER_ZSTD };

/* For an image as a whole. */
struct layer_limits {
    uint64_t bytes;   /* of all files, and of one unpacked archive */
    uint64_t entries; /* files, directories, links */
    uint64_t ratio;   /* unpacked : compressed, looked at from LAYER_RATIO_FROM on */
};

#define LAYER_RATIO_FROM (64u << 20) /* bytes; less harms nobody, and zeros compress well */
#define LAYER_LIMITS_DEFAULT .bytes = 8ull << 30, .entries = 1000000, .ratio = 250

/* What all layers so far held. */
struct layer_totals {
    uint64_t bytes;
    uint64_t entries;
    uint64_t xattrs; /* files whose extended attributes were left out */
};

/* Decompresses the blob (from its beginning) into out_fd, an empty file; ret_diff_id is the SHA-256 of what came
 * out. */
int layer_unpack(int blob_fd, enum layer_compression compression, int out_fd,
                 const struct layer_limits *limits, char ret_diff_id[static DIGEST_HEX_SIZE],
                 struct error *e);

/*
 * Applies the tar archive in tar_fd to the tree below root_fd: first its whiteouts, which hide what earlier layers
 * left and nothing of its own, then its entries in their order. Owners, modes (with setuid, setgid and sticky
 * bits) and hard links are kept; extended attributes and times are not. What the archive alone shows is
 * checked before anything is changed. Adds to *totals.
 */
int layer_apply(int tar_fd, int root_fd, const struct layer_limits *limits, struct layer_totals *totals,
                struct error *e);

#endif
