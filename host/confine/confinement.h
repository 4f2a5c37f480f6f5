/*
 * confinement: what of the cage there is on this machine, and what one VMM needs and holds of it. Data, for all of confine/ and
 * those who use it.
 */
#ifndef CAPSID_CONFINEMENT_H
#define CAPSID_CONFINEMENT_H

#include "base/child.h"
#include "base/error.h"
#include "base/shape.h"
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

#define CONFINE_READABLE_MAX 16
#define CONFINE_VIOLATION_MAX 80 /* bytes of what a VMM was ended for, with its NUL */

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

/* What the front of a server needs (host/server). All borrowed, absolute paths, seen under the same names. */
struct confine_front_need {
    const char *program;
    const char *readable; /* a directory */
    const char *file;     /* the same */
    const char *writable; /* a directory of files, which are its own while it runs */
};

/* What one confined VMM, or a front, holds besides its process. */
struct confined {
    char *cgroup;           /* owned; NULL: none */
    uint64_t cgroup_record; /* in home */
    struct home *home;      /* borrowed */
    char *writable; /* owned; a file or a directory, to be given back to this process's user; NULL: none */
    struct guarded *guarded; /* owned; its system call filter; NULL: none, or none that tells */
    int id_fd;               /* holds the lock on the VM's user id; -1: none */
};

#define CONFINED_NONE ((struct confined){.id_fd = -1})

#endif
