/*
 * seal: a process puts a system call filter on itself, and gives the filter's listener away. Private to confine/, and to
 * host/firecracker-tether.c, which is linked with musl and nothing else of ours.
 */
#ifndef CAPSID_SEAL_H
#define CAPSID_SEAL_H

#include "confine/filter.h"

/*
 * Whoever has the other end of the socket gets the listener, if the filter has one. What follows, up to the program, must be
 * on the filter's list. -1 with errno and the step that failed; EEXIST when an outer filter has a listener already.
 * Async-signal-safe.
 */
int seal_calls(const struct filter *f, int socket, const char **ret_step);

/* Puts it on this thread and what that starts: the listener's fd, or 0; -1 with errno. It takes no_new_privs, or CAP_SYS_ADMIN.
 * Async-signal-safe. */
int seal_install(const struct filter *f);

/* A byte through a socket (unix(7)), with fd (SCM_RIGHTS) unless that is -1. Async-signal-safe. */
int seal_hand_over(int socket, int fd);

#endif
