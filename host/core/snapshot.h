/*
 * snapshot: the store of booted guests, with their interpreters primed, frozen on disk.
 *
 * snapshots/KEY/ holds the VM's memory and device state and a manifest (core/manifest.h). KEY is the SHA-256 of
 * everything that makes the snapshot valid, so that a changed input is another key and a stale snapshot is never
 * loaded. A snapshot is made in the scratch directory, synced, and renamed into place; its files never change after.
 *
 * Who uses a snapshot holds a shared flock(2) on its directory; who removes or replaces it takes an exclusive one, and
 * waits for it no longer than a moment. A snapshot that is not what was stored is never loaded: ERROR_CORRUPT says how to remove it, and
 * what made it so stays there for people to see.
 */
#ifndef CAPSID_SNAPSHOT_H
#define CAPSID_SNAPSHOT_H

#include "core/machine.h"
#include "core/manifest.h"
#include "image/image.h"
#include "language/language.h"

/* {0} is none. */
struct snapshot {
    char *key;       /* owned, as all strings here */
    char *directory; /* its absolute path */
    char *language;  /* "" when the manifest cannot be used */
    char *problem;   /* why the manifest cannot be used, then all below but the sizes is 0; NULL: it can */
    struct vm_shape shape;
    uint64_t apparent;   /* bytes of the files, holes included */
    uint64_t allocated;  /* bytes that the files take on disk */
    int64_t created;     /* seconds since 1970; of the directory when the manifest cannot be used */
    uint32_t primed_job; /* 0: nothing is primed */
    json_t *inputs;      /* owned reference; see core/manifest.h */
    struct manifest_file files[MANIFEST_FILES];
    bool locked; /* lock_fd is open, and holds the shared lock */
    int lock_fd;
};

/* Who has loaded the files needs them no more, and others may replace or remove them. */
void snapshot_unlock(struct snapshot *host);

/* Also gives up the lock. */
void snapshot_done(struct snapshot *host);

/*
 * The snapshot of that machine and language, verified and locked; made when it is missing, or always with force. Two
 * processes that want the same one make it once. *ret_made tells whether it was made now.
 */
int snapshot_ensure(struct snapshot *ret, struct host *host, const struct call *call,
                    const struct language *l, const struct image *image, const struct machine_spec *spec,
                    bool force, bool *ret_made, struct error *e);

/* The same when it is there; ERROR_NOT_MADE: it is not. */
int snapshot_lookup(struct snapshot *ret, const struct host *host, const struct language *l,
                    const struct image *image, const struct machine_spec *spec, struct error *e);

/* What the manifest says is the SHA-256 of a file of the snapshot, one of manifest_files. */
int snapshot_read_digest(const struct snapshot *snapshot, const char *file, char ret[static DIGEST_HEX_SIZE],
                         struct error *e);

/* Says so in *e, after a restore failed because somebody removed the files of the snapshot under it. */
void snapshot_explain(const struct snapshot *snapshot, struct error *e);

/* Calls visit for each snapshot, in the order of their keys, also for those with a problem. */
int snapshot_each(const struct host *host, int (*visit)(const struct snapshot *snapshot, void *context),
                  void *context, struct error *e);

/* Finds one by its key or an unambiguous beginning of it. */
int snapshot_find(struct snapshot *ret, const struct host *host, const char *key, struct error *e);

/* Compares every byte with the manifest; ERROR_CORRUPT: they differ. */
int snapshot_check(const struct snapshot *snapshot, const struct cancel *cancel, struct error *e);

/* Fails, naming the snapshot, when somebody uses it. One that is not there is fine. */
int snapshot_check_unused(const struct host *host, const char *key, struct error *e);

/* Removes it, unless somebody uses it: an error then. *ret_freed, when not NULL: bytes on disk. */
int snapshot_remove(struct host *host, const struct call *call, const struct snapshot *snapshot,
                    uint64_t *ret_freed, struct error *e);

#endif
