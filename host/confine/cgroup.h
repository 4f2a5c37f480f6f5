/* cgroup: a cgroup (v2, cgroups(7)) for each VM. Private to confine/. */
#ifndef CAPSID_CONFINE_CGROUP_H
#define CAPSID_CONFINE_CGROUP_H

#include "confine/confinement.h"

/* Whether errno says that the host is short of something now, and nothing about what it can do. */
bool cgroup_may_pass(int code);

/* Finds where cgroups can be made and which controllers they get: c->cgroups and the have[] and reason[] of
 * CONFINE_CGROUP and the controllers. -1 with errno: nobody knows, for the host is short of something. */
int cgroup_probe(struct confinement *c);

/* Records, then makes and limits a cgroup for ret; *ret_fd is an fd of it for struct child_isolation.
 * confine_release() removes it, also after a failure. */
int cgroup_make(const struct confinement *c, const struct confine_need *need, struct confined *ret,
                int *ret_fd, struct error *e);

#endif
