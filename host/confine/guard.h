/*
 * guard: the thread that answers for the system call filters of VMMs (seccomp_unotify(2)). A call that is on no list waits
 * for its answer; the thread writes it to the log and kills the VMM. Only the first call of execve(2), which makes the child
 * the VMM, may go on. Private to confine/.
 *
 * Why not SECCOMP_RET_KILL_PROCESS: then nobody but the kernel's log, which most may not read, knows which call it was.
 * Nothing of this takes part in a call that is allowed.
 */
#ifndef CAPSID_GUARD_H
#define CAPSID_GUARD_H

#include "base/error.h"

#include <stddef.h>

struct guard;   /* one for all VMMs of a struct confinement; any thread */
struct guarded; /* a VMM's filter */

struct guard *guard_open(struct error *e);
void guard_close(struct guard *g); /* every guarded is released; NULL: none */

/* A descriptor that a child of this process has no use for. Its number is low, because it was there before the files that
 * its owner opened later: closed in the child, it is room for the listener below RLIMIT_NOFILE. */
int guard_room(const struct guard *g);

/* Takes the listener over, also when it fails (NULL). whose: "a VMM", for messages; lives for ever. */
struct guarded *guard_take(struct guard *g, int listener, const char *whose, struct error *e);

/* Which process to kill. Kills it when there is a reason already. */
int guard_arm(struct guarded *v, int pidfd, struct error *e);

/* What the VMM was ended for, as in "system call 319 (memfd_create)"; its length, or 0: for nothing. */
size_t guard_verdict(struct guarded *v, char *ret, size_t size);

void guard_release(struct guarded *v); /* NULL: none */

#endif
