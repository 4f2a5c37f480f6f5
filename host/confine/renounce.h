/*
 * renounce: what the server (host/server) gives up before it serves, for itself and all that it starts.
 *
 * It cannot have a user of its own: it gives ids, namespaces and cgroups to VMs, and builders of images all of root's files. So root's
 * server has mount, ipc and uts namespaces of its own, where the host's mounts still arrive and its own go no further; no
 * capability for the kernel, its clock, its network or its modules; and a filter that refuses such calls (denied.def). For any
 * other user a filter takes no_new_privs, with which newuidmap, that is set-user-id, could build no image; it has no capabilities,
 * and keeps the rest.
 */
#ifndef CAPSID_RENOUNCE_H
#define CAPSID_RENOUNCE_H

#include "base/error.h"

#include <stdbool.h>

/* Whether there is anything to give up: this is root's. */
bool renounce_can(void);

/* Takes it from this process, which has one thread; all that can be had, and -1 with the first that could not. */
int renounce(struct error *e);

/* The same in a process that then ends. */
int renounce_rehearse(struct error *e);

#endif
