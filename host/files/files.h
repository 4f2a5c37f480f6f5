/*
 * files: what users upload, by its content, and directory states, which name files and where they stand. In a directory that
 * is handed in: of the state directory for the command line, of what a server's front keeps for HTTP.
 *
 *   records.db     who has which files and states (store/records.h)
 *   blobs/SHA256   the content, once, whoever has it
 *
 * An owner sees only what he has brought himself, and may have so much; so may all of them together. What nobody has any
 * more is removed with its last owner.
 *
 * Threads: any; several processes may have a directory open. Locks: that of the records, which is a leaf.
 */
#ifndef CAPSID_FILES_FILES_H
#define CAPSID_FILES_FILES_H

#include "base/file.h"
#include "store/home.h"
#include "store/records.h"

#define FILES_SIZE_MAX (1ull << 30) /* bytes of one file */
#define FILES_COST_MIN 4096         /* what a file takes of a bound at least: a block of a disk */

struct files_limits {
    uint64_t all, owner; /* bytes that all may have, and one; 0: any */
};

struct files {
    struct records *records; /* owned */
    char *directory;         /* owned */
    char *scratch;           /* owned; of this process alone, on the same filesystem */
    struct files_limits limits;
};

/* Makes the directory when it is missing. Errors as of records_open(). */
int files_open(struct files *ret, const char *directory, const char *scratch,
               const struct files_limits *limits, struct error *e);
/* That of the state directory, with the bounds of capsid.conf(5). */
int files_open_home(struct files *ret, const struct home *h, uint64_t max_mib, struct error *e);
void files_close(struct files *f); /* accepts {0} */

/* Removes content that no record names: what a kill between two steps can leave. */
int files_sweep(struct files *f, struct error *e);

/*
 * What capsid doctor does with such a directory, which no server has: reads all of its records. With repair, those that cannot be used
 * are put aside, and content without records goes: *ret_aside (the caller frees it) is where they are then, NULL: they are sound.
 */
int files_examine(const char *directory, bool repair, char **ret_aside, struct error *e);

struct file_item {
    char digest[DIGEST_HEX_SIZE];
    char uuid[UUID_SIZE]; /* of the digest */
    uint64_t size;
    int64_t created; /* seconds since 1970 */
};

/* ---- bringing -------------------------------------------------------------------------------------- */

/* Content that is read and not yet anybody's: a file of the scratch directory. */
struct file_staged {
    struct file_item item;
    char *path; /* owned */
};

/* Copies what an fd has, from where it stands to its end, which is measured while it is copied. name is for messages. */
int files_stage(struct files *f, int fd, const char *name, struct file_staged *ret, struct error *e);
int files_stage_bytes(struct files *f, const void *data, size_t size, struct file_staged *ret,
                      struct error *e);
void file_staged_done(struct file_staged *s); /* removes it when nobody took it; accepts {0} */

/* They are the owner's; all or, with an error, none. ERROR_REFUSED: a bound would be passed. */
int files_keep(struct files *f, const char *owner, struct file_staged *list, size_t count, struct error *e);

/* ---- looking --------------------------------------------------------------------------------------- */

/* By UUID or SHA-256. ERROR_NOT_FOUND. */
int files_find(struct files *f, const char *owner, const char *name, struct file_item *ret, struct error *e);

/* The content, opened for reading. ERROR_CORRUPT: it is not what it was. */
int files_open_content(const struct files *f, const struct file_item *item, struct error *e);

/* Calls visit for each, the newest first, until it is false. */
int files_each(struct files *f, const char *owner, bool (*visit)(const struct file_item *item, void *context),
               void *context, struct error *e);

/* What an owner has of his bound, as bytes. */
int files_used(struct files *f, const char *owner, uint64_t *ret, struct error *e);

/* ---- removing -------------------------------------------------------------------------------------- */

/* ERROR_NOT_FOUND. ERROR_REFUSED: one of the owner's states stands on it; the message says which. */
int files_remove(struct files *f, const char *owner, const char *name, struct error *e);

/* ---- for states (files/states.h) ------------------------------------------------------------------- */

/* In a transaction: as files_find(); and the cost of something to an owner and to all, which may be negative, -1 with
 * ERROR_REFUSED when there is no room. */
int files_look_up(struct files *f, const char *owner, const char *name, struct file_item *ret,
                  struct error *e);
int files_charge(struct files *f, const char *owner, int64_t cost, struct error *e);

#endif
