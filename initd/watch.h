/*
 * watch: initd's one epoll instance, and what its events stand for.
 *
 * A token names the owner of a file descriptor by kind, slot and generation. An event that was queued before
 * its slot was given to somebody else carries the old generation, and its receiver ignores it.
 */
#ifndef INITD_WATCH_H
#define INITD_WATCH_H

#include <stdint.h>

enum watch_kind {
    WATCH_SIGNALS,
    WATCH_LISTENER,
    WATCH_CONN,       /* slot: connection */
    WATCH_JOB_OUT,    /* slot: job; its channel 1 */
    WATCH_JOB_ERR,    /* slot: job; its channel 2 */
    WATCH_JOB_IN,     /* slot: job; its channel 0 */
    WATCH_JOB_STATUS, /* slot: job; the pipe that tells how execve went */
    WATCH_JOB_SCRIPT, /* slot: job; the FIFO that a primed interpreter reads */
};

struct watch {
    uint8_t kind;
    uint8_t slot;
    uint32_t generation;
};

/* Returns 0 or -errno. */
int watch_open(void);

/* events are those of epoll_ctl(2). A file descriptor leaves when it is closed, or by watch_remove(). */
int watch_add(int fd, uint32_t events, struct watch w);
int watch_change(int fd, uint32_t events, struct watch w);
void watch_remove(int fd);

struct watch_event {
    struct watch watch;
    uint32_t events;
};

/* Waits for at most timeout_ms (-1: for ever). Returns how many of max events were filled in; 0 also after an
 * interruption. */
int watch_wait(struct watch_event *ret_events, int max, int timeout_ms);

#endif
