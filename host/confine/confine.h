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

#include "config/config.h"
#include "confine/calls.h"
#include "confine/confinement.h"
#include "confine/ids.h"

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

/* The same for the front of a server. No limits of memory and processes, and no cgroup: it serves all. */
int confine_spawn_front(struct child *child, struct confined *ret, const struct confinement *c,
                        const struct confine_front_need *need, const struct child_spec *spec,
                        struct error *e);

/* Those namespaces of clone(2) that there are for a VMM which gets its files, its user and its limits from a jailer of its
 * own: pid, net, ipc, uts. */
uint64_t confine_namespaces(const struct confinement *c);

/* After the process has ended. Accepts CONFINED_NONE. */
void confine_release(struct confined *c);

/*
 * A copy of a file in memory that nobody can write (memfd_create(2), seals). An fd of a file on disk could be opened for
 * writing by the user who owns the file. confine_sealed_begin() makes one of the file's size, which is empty, and returns
 * its fd; a VMM may map it privately already. confine_sealed_fill() copies and seals; that comes before any code of a
 * guest is run. -1 with an error.
 */
int confine_sealed_begin(const char *path, struct error *e);
int confine_sealed_fill(int to, const char *path, struct error *e);

#endif
