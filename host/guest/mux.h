/*
 * mux: one connection to a guest that several users share, each as if it had one of its own.
 *
 * A user gets one end of a socket pair, gives it to guest_open(), and calls what it likes of guest.h but guest_hello(),
 * guest_resume() and guest_quiesce(), from a thread of its own. The thread that owns the guest calls mux_step() and
 * carries frames between the guest and the users' sockets under stream ids of its own. Frames of one user never wait for
 * another that does not read: what a user leaves unread is held here, and bounded by the windows that it gave; a guest
 * that sends more breaks the protocol.
 *
 * What a user leaves unfinished when it closes its socket is brought to its end: jobs are killed, transfers ended.
 */
#ifndef CAPSID_GUEST_MUX_H
#define CAPSID_GUEST_MUX_H

#include "guest/guest.h"

#define MUX_USERS_MAX 9         /* initd has 8 file transfers at a time; and one more has connections */
#define MUX_STREAMS_MAX 64      /* of all users, and those left behind */
#define MUX_HELD_MAX (4u << 20) /* bytes for one user: two windows of a job, and more */
#define MUX_QUEUE_MAX                                                                                        \
    (128u << 10) /* bytes for the guest, from which on users are not read, nor windows granted */

struct mux_user {
    int fd; /* owned; -1: a free place */
    struct frame_reader reader;
    uint8_t *buffer;   /* owned; FRAME_MAX bytes */
    struct buffer out; /* owned; from out_start on not yet written */
    size_t out_start;
    bool ended;
};

struct mux_stream {
    uint32_t outer; /* id on the guest's connection; 0: a free place */
    uint32_t inner; /* the user's id */
    int user;       /* -1: left behind */
    uint16_t request;
    bool started;      /* a job */
    uint64_t sent;     /* bytes of channel 0 */
    uint64_t got[3];   /* of channels 1 and 2 */
    uint64_t limit[3]; /* up to where the guest may send them */
    bool owed[3];      /* left behind, and what was got is to be told to the guest */
};

struct mux {
    struct guest *guest; /* borrowed */
    struct mux_user users[MUX_USERS_MAX];
    struct mux_stream streams[MUX_STREAMS_MAX];
    struct buffer out; /* owned; for the guest, from out_start on */
    size_t out_start;
    bool keep_jobs[MUX_USERS_MAX];
    int64_t last_ns; /* when a frame last passed */
};

/* The guest has been greeted and made unique. */
void mux_open(struct mux *m, struct guest *g);

/* Ends all users' connections. The guest stays its owner's. */
void mux_close(struct mux *m);

/* Takes fd over, one end of a pair of stream sockets. keep_jobs: jobs that run when it is closed run on, and what they print
 * is dropped. -1: there are MUX_USERS_MAX. */
int mux_add(struct mux *m, int fd, bool keep_jobs);

/* Users there are. */
unsigned mux_count(const struct mux *m);

/* There is neither a user nor anything that one has left behind. */
bool mux_is_idle(const struct mux *m);

/*
 * Waits until the deadline for something to do, and does it; returns early when wake_fd is readable. A failure is the
 * guest's or the VMM's end.
 */
int mux_step(struct mux *m, int wake_fd, int64_t deadline, struct error *e);

#endif
