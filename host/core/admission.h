/*
 * admission: who may have how many VMs, how much memory and how much disk. Every VM that works for somebody, out of a pool, of a
 * session or of its own, is admitted first and counted until it is gone: against what all of them may have together, and
 * against what its owner, a token or a user, may have.
 *
 * Where there are several owners, each has its share (base/fair.h). Who does not get in waits; when something is given back, the
 * owner with the fewest VMs is next, and of his requests the first.
 *
 * What is counted is what a VM may come to take, its shape, not what it takes at the moment. Any thread; the lock is a leaf.
 */
#ifndef CAPSID_ADMISSION_H
#define CAPSID_ADMISSION_H

#include "base/shape.h"
#include "base/waiter.h"

#define ADMISSION_OWNER_SIZE 65 /* bytes of an owner's name, with its NUL */

/* K(NAME, "as it is shown"): what kind of VM. There may be so many of each; memory and disk are all theirs together. */
#define ADMISSION_KINDS(K)                                                                                   \
    K(POOLED, "pooled")   /* one of the pool's, for one program */                                           \
    K(OWN, "own")         /* one made for one program */                                                     \
    K(SESSION, "session") /* one that serves several */                                                      \
    K(MAKING, "making")   /* an image or a snapshot that is made, with a VM of its own meanwhile */

enum admission_kind {
#define K(name, text) ADMISSION_##name,
    ADMISSION_KINDS(K)
#undef K
        ADMISSION_KINDS_COUNT
};

const char *admission_kind_name(enum admission_kind kind);

struct admission_bounds {
    unsigned vms[ADMISSION_KINDS_COUNT];
    uint64_t memory_mib;
    uint64_t disk_mib;
    unsigned waiting; /* who wait for their turn */
};

struct admission;

/* shared: there may be several owners. */
struct admission *admission_open(const struct admission_bounds *bounds, bool shared);

/* Nobody may be admitted or wait. Accepts NULL. */
void admission_close(struct admission *a);

/*
 * admission_enter() waits for a turn. ERROR_USAGE: a VM like that would not be admitted if it were alone; ERROR_BUSY: too many wait, in all or of
 * this owner, or the deadline passed; ERROR_CANCELLED.
 */
struct admission_wish {
    const char *owner; /* borrowed */
    enum admission_kind kind;
    struct vm_shape shape;
};

int admission_enter(struct admission *a, const struct admission_wish *wish, int64_t deadline,
                    const struct cancel *cancel, struct error *e);
void admission_leave(struct admission *a, const struct admission_wish *wish);

/* What is admitted, and how many wait; of one owner, or of all with NULL. */
struct admission_use {
    unsigned vms[ADMISSION_KINDS_COUNT], waiting;
    uint64_t memory_mib, disk_mib;
};

struct admission_use admission_used(struct admission *a, const char *owner);
/* Calls visit, with the lock held, for each owner that has or wants something. */
void admission_each(struct admission *a,
                    void (*visit)(const char *name, const struct admission_use *use, void *context),
                    void *context);

struct admission_bounds admission_bounds_of(const struct admission *a);

#endif
