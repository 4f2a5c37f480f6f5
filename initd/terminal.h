/*
 * terminal: pseudoterminals (pts(4)) for jobs.
 */
#ifndef INITD_TERMINAL_H
#define INITD_TERMINAL_H

#include <sys/ioctl.h>
#include <sys/types.h>

/* At boot. What a terminal is made of stays reachable when a job of root takes away or covers /dev. */
void terminal_init(void);

/* Opens one that belongs to owner. Returns 0 or -errno. What it has set, which was -1 before, the caller owns in both cases. */
int terminal_open(const struct winsize *size, uid_t owner, int *ret_master, int *ret_terminal);

#endif
