/* message: datagrams of a Unix socket (unix(7), SOCK_SEQPACKET) between processes of this program, with file descriptors. */
#ifndef CAPSID_MESSAGE_H
#define CAPSID_MESSAGE_H

#include "base/error.h"

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#define MESSAGE_FDS_MAX 8

/* The descriptors stay the caller's. -1: the other end is gone. */
int message_send(int fd, const struct iovec *parts, size_t count, const int *passed, size_t passed_count,
                 struct error *e);

/*
 * Takes one, of at most max descriptors, which are the caller's then, close-on-exec; *ret_count tells how many came. Returns its
 * size; 0: the other end was closed; -1: nothing is there, or it does not fit. Never waits.
 */
ssize_t message_receive(int fd, const struct iovec *parts, size_t count, int *ret_passed, size_t max,
                        size_t *ret_count, struct error *e);

#endif
