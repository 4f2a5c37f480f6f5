/* plan: what a confined child does to itself before it becomes the VMM; all of it prepared before the fork.
 * Private to confine/. */
#ifndef CAPSID_CONFINE_PLAN_H
#define CAPSID_CONFINE_PLAN_H

#include "confine/filter.h"
#include "confine/guard.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#define PLAN_OLD_ROOT "/.host" /* where the host's files are until the views are made */
#define PLAN_PROC "/.proc"     /* where all of proc is meanwhile */
#define PLAN_BINDS_MAX 24
#define PLAN_LIMITS_MAX 12

struct plan_bind {
    char *path;     /* owned; for the VMM, and on the host */
    char *source;   /* owned; where that leads on the host, without symlinks */
    bool directory; /* with everything mounted below it */
    bool writable;
    bool device;
};

struct plan {
    bool user_namespace;
    bool files;
    bool change_user;
    uid_t uid, host_uid; /* of the VMM; outside the user namespace */
    gid_t gid, host_gid;
    dev_t
        own_kvm; /* with change_user: the number of /dev/kvm, of which the VMM's user gets a node; 0: none */
    const char *executable; /* borrowed; what /proc/self/exe names, NULL: nothing */
    char *stage;            /* owned; any directory of the host, to mount on in the child only */
    struct plan_bind binds[PLAN_BINDS_MAX];
    unsigned bind_count;
    const char *links[6][2]; /* symlinks: name and target */
    unsigned link_count;
    char link_targets[6][64];
    struct {
        int resource;
        struct rlimit limit;
    } limits[PLAN_LIMITS_MAX];
    unsigned limit_count;
    struct filter filter;
    int handover[2]; /* sockets: this process's and the child's, for the filter's listener; -1: it has none */
    int room;        /* a descriptor that the child closes to have one for the listener */
    const char *whose;       /* "a VMM", for messages */
    struct guard *guard;     /* borrowed; who gets it */
    struct guarded *guarded; /* owned; once it was handed over */
};

/* enter() and seal() of struct child_isolation; context is the plan. Only async-signal-safe calls. */
int plan_enter(const void *plan, const char **ret_step);
int plan_seal(const void *plan, const char **ret_step);

#endif
