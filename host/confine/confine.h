/*
 * confine: a VMM sees the files it needs and nothing else of the host, so that a guest that takes its VMM over
 * has won little.
 *
 * Root gives each VM a user id of its own; an ordinary user a user namespace. Then: mount, pid, net, ipc and uts
 * namespaces; a root of its own with read-only views (mount_setattr(2), Linux 5.12); no capabilities and no way
 * to new ones; a list of the system calls that it needs; resource limits; a cgroup (v2) with the controllers that there are.
 * All that is for QEMU. Firecracker gets the list of its system calls, and the rest from its jailer, if that is used.
 */
#ifndef CAPSID_CONFINE_H
#define CAPSID_CONFINE_H

#include "base/child.h"
#include "base/error.h"
#include "base/shape.h"
#include "config/config.h"
#include "store/home.h"

#include <stdbool.h>
#include <stdint.h>

/* What can be had, or not, each on its own. */
enum confine_part {
    CONFINE_USER, /* root: own user id per VM; others: a user namespace */
    CONFINE_FILES,
    CONFINE_PID,
    CONFINE_NET,
    CONFINE_IPC,
    CONFINE_UTS,
    CONFINE_CALLS,      /* a list of the system calls that it needs, and not the lenient filter */
    CONFINE_VIOLATIONS, /* who calls another is ended and the call named; without: ended all the same */
    CONFINE_CGROUP,     /* a cgroup of its own: all its processes can be killed at once */
    CONFINE_MEMORY,     /* controllers of the cgroup */
    CONFINE_CPU,
    CONFINE_PIDS,
    CONFINE_IO,
    CONFINE_PARTS
};

#define CONFINE_READABLE_MAX 8

struct confine_ids {
    uint32_t first, last;
};

/* What this machine allows. Decided once; afterwards several threads may read it. */
struct confinement {
    bool off;
    bool have[CONFINE_PARTS];
    char reason[CONFINE_PARTS][160]; /* of what is missing */
    uint32_t first_id, last_id;      /* user and group ids for VMs */
    struct buffer held;  /* owned; struct confine_ids: those of them that are somebody's, and not used */
    char holder[100];    /* who has the first of these, for messages; "": nobody */
    char *cgroups;       /* owned; the directory for the cgroups of VMs, NULL: none */
    struct home *home;   /* borrowed; where cgroups are recorded */
    struct guard *guard; /* owned; a thread that ends who calls what it may not; NULL: none */
};

/* What one VMM needs. All borrowed. */
struct confine_need {
    const char *readable[CONFINE_READABLE_MAX]; /* absolute paths of files, seen under the same names */
    const char *writable;                       /* a file; NULL: none */
    const char *vmm;                            /* absolute path of the program */
    struct vm_shape shape;
    bool kvm;
};

/* What one confined VMM holds besides its process. */
struct confined {
    char *cgroup;            /* owned; NULL: none */
    uint64_t cgroup_record;  /* in home */
    struct home *home;       /* borrowed */
    char *writable;          /* owned; to be given back to this process's user; NULL: none */
    struct guarded *guarded; /* owned; its system call filter; NULL: none, or none that tells */
    int id_fd;               /* holds the lock on the VM's user id; -1: none */
};

#define CONFINED_NONE ((struct confined){.id_fd = -1})

/* For doctor and messages: "own user id", "memory limit", ... */
const char *confine_part_name(enum confine_part part);

/*
 * Finds out what there is, as config says: auto takes what there is; strict fails when anything is missing; off
 * takes nothing. Fails when that cannot be found out, because the host is short of memory, processes or file descriptors:
 * what there was no room to try is not taken for missing. The caller ends it with confine_done().
 */
int confine_decide(struct confinement *c, const struct config *config, struct home *home, struct error *e);
void confine_done(struct confinement *c);

/* The names of all that is missing; the caller frees it. NULL: nothing is. */
char *confine_missing(const struct confinement *c);

/* As child_spawn(), for QEMU, confined; ret is for confine_release(), also after a failure. */
int confine_spawn(struct child *child, struct confined *ret, const struct confinement *c,
                  const struct confine_need *need, const struct child_spec *spec, struct error *e);

/* As child_spawn(), for Firecracker without its jailer: with the list of its system calls, and the host's files as this process
 * sees them. ret is for confine_release(), also after a failure. */
int confine_spawn_listed(struct child *child, struct confined *ret, const struct confinement *c,
                         const struct child_spec *spec, struct error *e);

/*
 * The same list for a Firecracker that its jailer starts, as host/firecracker-tether.c, which puts it on. Of the two
 * sockets, both the caller's, theirs is to be the child's standard input; ours tells the tether too that this process lives, until
 * confine_take_list() has its answer, or it has ended. After that nothing leads from the VMM to ours.
 */
int confine_offer_list(const struct confinement *c, int *ret_ours, int *ret_theirs, struct error *e);
int confine_take_list(struct confined *ret, const struct confinement *c, int ours, const struct child *vmm,
                      int64_t deadline, const struct cancel *cancel, struct error *e);

#define CONFINE_VIOLATION_MAX 80

/* What the VMM was ended for, as in "system call 319 (memfd_create)"; "" when it was not. */
void confine_violation(const struct confined *c, const struct child *vmm,
                       char ret[static CONFINE_VIOLATION_MAX]);

/* When the VMM was ended for a system call: says so, in place of what *e says of its end (ERROR_VM_LOST). */
void confine_explain(const struct confined *c, const struct child *vmm, struct error *e);

/* Those namespaces of clone(2) that there are for a VMM which gets its files, its user and its limits from a jailer of its
 * own: pid, net, ipc, uts. */
uint64_t confine_namespaces(const struct confinement *c);

/* After the process has ended. Accepts CONFINED_NONE. */
void confine_release(struct confined *c);

/*
 * Takes a user and group id for a VM out of the range vm_uids, which all state directories of this machine share: one that
 * neither another VM has nor a row of /etc/passwd, /etc/group, /etc/subuid or /etc/subgid, but those of capsid setup.
 * Returns an fd that holds the id until it is closed, or -1. For root.
 */
uint32_t confine_free_ids(const struct confinement *c); /* how many ids of the range are nobody's */
int confine_take_id(const struct confinement *c, uint32_t *ret_id, struct error *e);

/*
 * A copy of a file in memory that nobody can write (memfd_create(2), seals). An fd of a file on disk could be opened for
 * writing by the user who owns the file. confine_sealed_begin() makes one of the file's size, which is empty, and returns
 * its fd; a VMM may map it privately already. confine_sealed_fill() copies and seals; that comes before any code of a
 * guest is run. -1 with an error.
 */
int confine_sealed_begin(const char *path, struct error *e);
int confine_sealed_fill(int to, const char *path, struct error *e);

#endif
