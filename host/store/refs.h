/*
 * refs: names, each of which says a small text, until it says another one. A change is made upon what was read: when somebody
 * else has changed it since, it is not made, and is to be thought over.
 *
 * Here they are files of the state directory. Any thread. Locks: a file lock of the kind of names, held while one is compared and
 * swapped; nothing is waited for under it.
 */
#ifndef CAPSID_STORE_REFS_H
#define CAPSID_STORE_REFS_H

#include "base/file.h"
#include "store/home.h"

struct refs {
    const char *place;  /* a directory of home.h, of this kind alone */
    const char *ending; /* of their files, behind the name */
    const char *lock;   /* of home_lock() */
    size_t size_max;    /* bytes of a text */
};

/* Which text it was; "": there was none. */
struct refs_version {
    char text[DIGEST_HEX_SIZE];
};

/* Where a name is, for messages; the caller frees it. */
char *refs_path(const struct home *h, const struct refs *r, const char *name);

/* What a name says, into an empty buffer; ret_version may be NULL. ERROR_NOT_FOUND: nothing, or it is no name. */
int refs_get(const struct home *h, const struct refs *r, const char *name, struct buffer *ret,
             struct refs_version *ret_version, struct error *e);

/* From now on a name says that text; NULL: nothing. ERROR_BUSY: it is not at that version any more. */
int refs_swap(const struct home *h, const struct refs *r, const char *name,
              const struct refs_version *version, const char *text, const struct cancel *cancel,
              struct error *e);

/* Calls visit for each name, sorted; what it returns other than 0 ends that, and is returned. */
int refs_each(const struct home *h, const struct refs *r, int (*visit)(const char *name, void *context),
              void *context, struct error *e);

#endif
