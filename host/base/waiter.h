/*
 * waiter: threads that wait in a line until somebody serves them, with a deadline and a way to cancel. A waiter lives on the
 * stack of the thread that waits; the line, and all that is said here, is under a lock of its owner.
 */
#ifndef CAPSID_WAITER_H
#define CAPSID_WAITER_H

#include "base/deadline.h"

#include <pthread.h>
#include <stdbool.h>

struct waiter {
    int fd; /* an eventfd, readable once served */
    bool served;
    struct waiter *next;
};

struct waiter_line {
    struct waiter *first; /* the next to be served */
    unsigned count;
};

/* Takes it out of the line and wakes it. */
void waiter_serve(struct waiter_line *line, struct waiter *w);

/*
 * Stands in the line, at its end or in front, and waits with the lock given up. Returns with the lock held and out of the line:
 * 1 served, 0 deadline, -1 cancelled or no file descriptor was to be had; then w->served tells whether it was served at the
 * same moment, and what it was given has to be passed on.
 */
int waiter_wait(struct waiter_line *line, struct waiter *w, bool in_front, pthread_mutex_t *lock,
                int64_t deadline, const struct cancel *cancel, struct error *e);

#endif
