/*
 * snapshot: a booted guest, with its interpreter primed, frozen on disk.
 *
 * snapshots/KEY/ holds the VM's memory and device state and a manifest. KEY is the SHA-256 of everything that
 * makes the snapshot valid, so that a changed input is another key and a stale snapshot is never loaded.
 */
#ifndef CAPSID_SNAPSHOT_H
#define CAPSID_SNAPSHOT_H

#include "core/machine.h"
#include "image/image.h"
#include "language/language.h"

struct snapshot {
    char *key; /* owned, as all strings here */
    char *directory;
    char *language;
    uint64_t memory_mib;
    uint64_t vcpus;
    uint64_t allocated;  /* bytes that the files take on disk */
    int64_t created;     /* seconds since 1970 */
    uint32_t primed_job; /* 0: nothing is primed */
};

void snapshot_done(struct snapshot *s);

/*
 * The snapshot of that machine and language, verified; made when it is missing, or always with force. Two
 * processes that want the same one make it once. *ret_made, when not NULL, tells whether it was made now.
 */
int snapshot_ensure(struct snapshot *ret, struct supervisor *s, const struct language *l,
                    const struct image *image, const struct machine_spec *spec, bool force, bool *ret_made,
                    struct error *e);

/* Calls visit for each snapshot, in the order of their keys. */
int snapshot_each(struct supervisor *s, int (*visit)(const struct snapshot *snapshot, void *context),
                  void *context, struct error *e);

/* Removes one, named by its key or an unambiguous beginning of it. */
int snapshot_remove(struct supervisor *s, const char *key, struct error *e);

#endif
