/*
 * keep: what a run changed in its image becomes a layer, and with it an image of its own. The VM writes to a scratch disk, which is the
 * layer in the end; nothing on the host looks into it.
 *
 *     keep_begin -> a VM with that disk -> the run -> keep_seal -> the VM is destroyed -> keep_adopt
 */
#ifndef CAPSID_KEEP_H
#define CAPSID_KEEP_H

#include "core/host.h"
#include "core/call.h"
#include "guest/guest.h"
#include "image/image.h"

#define KEEP_DISK_MIB                                                                                        \
    8192 /* of the disk, where nobody says otherwise; it takes no room until it is written to */

struct keep {
    char *disk;         /* owned; a file of the scratch directory */
    uint64_t max_bytes; /* that a layer may have on disk; 0: what the disk holds */
    unsigned fold; /* how many layers of the parent the new one takes in, so that there are not too many */
};

/* Makes the disk. */
int keep_begin(struct keep *k, const struct host *host, const struct call *call, uint64_t disk_mib,
               uint64_t max_bytes, struct error *e);

/*
 * How many of the topmost layers of an image are to be taken into one that comes above them: none while there is a place for it;
 * else as many as are not much larger than what is above them, so that a long row of branches writes each byte a few times.
 */
unsigned keep_fold_count(const struct image *parent);

/* When the run has ended: whether anything was changed, as the guest says; if so, then ends all writing. The guest can only be
 * destroyed. */
int keep_seal(struct guest *g, unsigned fold, bool *ret_changed, int64_t deadline, struct error *e);

/* When the VM is destroyed: whether the layer has more than max_bytes; *ret_bytes is what it has. */
int keep_is_too_large(const struct keep *k, uint64_t *ret_bytes, struct error *e);

/* The new image. origin_of: see image/branch.h. */
int keep_adopt(struct keep *k, struct image *ret, const struct host *host, const struct call *call,
               const struct image *parent, const char *origin_of, struct error *e);

/* Removes the disk, if it is there still. Accepts {0}. */
void keep_done(struct keep *k);

#endif
