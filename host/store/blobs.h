/*
 * blobs: files of any size that are known by a SHA-256, and never change. That is the file's own, or, of a file that belongs to
 * another one, that one's. A kind of them is a place and an ending; who has several kinds keeps them in one place.
 *
 * Here they are files of the state directory. Any thread; no locks: who removes one knows that nobody wants it.
 */
#ifndef CAPSID_STORE_BLOBS_H
#define CAPSID_STORE_BLOBS_H

#include "base/file.h"
#include "store/home.h"

struct blobs {
    const char *place;  /* a directory of home.h */
    const char *ending; /* of their names, behind the digest */
};

/* Where it is to be read from, whether it is there or not; the caller frees it. */
char *blobs_path(const struct home *h, const struct blobs *b, const char *digest);
bool blobs_have(const struct home *h, const struct blobs *b, const char *digest);

/* Takes a file, of this process's scratch directory; one that is there already is the same. */
int blobs_put(const struct home *h, const struct blobs *b, const char *digest, const char *file,
              struct error *e);
int blobs_put_text(const struct home *h, const struct blobs *b, const char *digest, const char *text,
                   struct error *e);

/* One that is not there is fine. */
int blobs_remove(const struct home *h, const struct blobs *b, const char *digest, struct error *e);

struct blob {
    char digest[DIGEST_HEX_SIZE];
    uint64_t size, allocated; /* bytes; of these, on disk */
    int64_t created;          /* seconds since 1970 */
};

/* Calls visit for each, in no order; what it returns other than 0 ends that, and is returned. */
int blobs_each(const struct home *h, const struct blobs *b,
               int (*visit)(const struct blob *one, void *context), void *context, struct error *e);

#endif
