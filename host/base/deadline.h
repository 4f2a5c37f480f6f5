/*
 * deadline: points in time, and waiting for file descriptors until one of them, or until the user cancels.
 *
 * Times are CLOCK_MONOTONIC in ns. Whatever waits in this program waits here.
 */
#ifndef CAPSID_DEADLINE_H
#define CAPSID_DEADLINE_H

#include "base/error.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#define DEADLINE_NEVER INT64_MAX

int64_t clock_monotonic_ns(void);
int64_t clock_realtime_ns(void);

/* The time ms milliseconds from now. */
int64_t deadline_in_ms(int64_t ms);

/* For loops that an fd which is always ready would keep from ever waiting. */
bool deadline_passed(int64_t deadline);

/* Waits for ms milliseconds, between two tries of what takes no more than some of them; nobody can cancel it. */
void deadline_pause(int64_t ms);

/* How the user's wish to stop reaches every wait: an fd that becomes readable. -1: nobody can cancel. */
struct cancel {
    int fd;
};

/*
 * As poll(2) on count fds, until deadline. Returns the number of ready fds, 0 at the deadline; -1 with
 * ERROR_CANCELLED when cancelled, or when poll fails.
 */
int deadline_poll(struct pollfd *fds, unsigned count, int64_t deadline, const struct cancel *cancel,
                  struct error *e);

/* Waits for one fd; events as in poll(2). 1 ready, 0 deadline, -1 as above. */
int deadline_wait_fd(int fd, short events, int64_t deadline, const struct cancel *cancel, struct error *e);

#endif
