#include "base/deadline.h"

#include <errno.h>
#include <limits.h>
#include <time.h>

#define POLL_FDS_MAX 16

static int64_t read_clock(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t clock_monotonic_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_realtime_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t deadline_in_ms(int64_t ms)
{
    return clock_monotonic_ns() + ms * 1000000;
}

bool deadline_passed(int64_t deadline)
{
    return deadline != DEADLINE_NEVER && clock_monotonic_ns() >= deadline;
}

/* Rounded up, so that a wait never ends before its deadline. */
static int poll_timeout(int64_t deadline)
{
    if (deadline == DEADLINE_NEVER)
        return -1;
    int64_t left = deadline - clock_monotonic_ns();
    if (left <= 0)
        return 0;
    int64_t ms = (left + 999999) / 1000000;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

int deadline_poll(struct pollfd *fds, unsigned count, int64_t deadline, const struct cancel *cancel,
                  struct error *e)
{
    struct pollfd all[POLL_FDS_MAX + 1];

    if (count > POLL_FDS_MAX)
        return error_set(e, ERROR_GENERAL, "too many file descriptors to wait for");
    for (unsigned i = 0; i < count; i++)
        all[i] = fds[i];
    all[count] = (struct pollfd){.fd = cancel ? cancel->fd : -1, .events = POLLIN};

    for (;;) {
        int n = poll(all, count + 1, poll_timeout(deadline));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(e, "poll");
        if (all[count].revents)
            return error_set(e, ERROR_CANCELLED, "interrupted");
        for (unsigned i = 0; i < count; i++)
            fds[i].revents = all[i].revents;
        return n;
    }
}

int deadline_wait_fd(int fd, short events, int64_t deadline, const struct cancel *cancel, struct error *e)
{
    struct pollfd p = {.fd = fd, .events = events};

    return deadline_poll(&p, 1, deadline, cancel, e);
}

void deadline_pause(int64_t ms)
{
    struct error ignored = {0};

    deadline_poll(NULL, 0, deadline_in_ms(ms), NULL, &ignored);
}
