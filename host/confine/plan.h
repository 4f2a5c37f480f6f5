/* plan: what a confined child does to itself before it becomes the VMM; all of it prepared before the fork.
 * Private to confine/. */
#ifndef CAPSID_CONFINE_PLAN_H
#define CAPSID_CONFINE_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#define PLAN_OLD_ROOT "/.host" /* where the host's files are until the views are made */
#define PLAN_PROC "/.proc"     /* where all of proc is meanwhile */
#define PLAN_BINDS_MAX 24
#define PLAN_LIMITS_MAX 8

struct plan_bind {
    char *path;     /* owned; on the host and for the VMM */
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
    const char *vmm; /* borrowed; the program's path, NULL: none */
    char *stage;     /* owned; any directory of the host, to mount on in the child only */
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
};

/* The enter() of struct child_isolation; context is the plan. Only async-signal-safe calls. */
int plan_enter(const void *plan, const char **ret_step);

/* Installs the system call filter (seccomp(2)); the calling thread has no_new_privs. */
int plan_filter(void);

#endif
