/*
 * channels: the three channels of a job: its pipes or its terminal, and the bytes that came and were not taken yet.
 *
 * Numbers are those of the protocol: 0 is standard input, 1 and 2 are out[0] and out[1]. It knows nothing of jobs: what a
 * read means for one it returns.
 */
#ifndef INITD_CHANNELS_H
#define INITD_CHANNELS_H

#include "limits.h"
#include "ring.h"
#include "watch.h"
#include "wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/types.h>

/* An output channel. */
struct channel_out {
    int fd;        /* owned; -1: at its end */
    bool watched;  /* by epoll; not while the ring is full */
    bool end_sent; /* on the present stream */
    struct ring ring;
    uint64_t sent;  /* below: sent on the present stream */
    uint64_t limit; /* below: the host takes it */
};

/* Channel 0. The ring's end is what was received, its start what the job was given. */
struct channel_in {
    int fd; /* owned; -1: closed, or there was none */
    bool watched;
    bool open;        /* the host may send: JOB_STDIN was asked for */
    bool ending;      /* END came; fd is closed when the ring is empty */
    bool in_line;     /* terminal: the last byte given was not a newline */
    uint64_t granted; /* the limit that the host knows of */
    struct ring ring;
};

struct channels {
    uint8_t slot; /* of the job; with generation: in its tokens */
    bool tty;
    uint32_t generation;
    struct channel_in in;
    struct channel_out out[2];
    uint64_t output_max; /* bytes of both together; 0: no limit */
};

/* What channels_read() has found. */
enum channel_news {
    CHANNEL_SILENT, /* nothing: there is none now, or no room */
    CHANNEL_CAME,   /* bytes */
    CHANNEL_FULL,   /* bytes, and there is no room left: channels_enlarge() or channels_pause() comes next */
    CHANNEL_ENDED,  /* the channel was closed */
    CHANNEL_DESERTED, /* a terminal that nobody has open */
    CHANNEL_EXCEEDED  /* output_max was reached before, and there is more */
};

/* ch is all zeros: it becomes closed and empty channels, of the job in this slot below JOBS_MAX. */
void channels_init(struct channels *ch, unsigned slot, uint32_t generation);

/* For whatever is watched for the same job. */
struct watch channels_token(const struct channels *ch, enum watch_kind kind);

/* Open what the channels are, with_input: standard input, too. The child's ends are put in child_fds. Return 0 or -errno;
 * then some may be open already. */
int channels_open_pipes(struct channels *ch, bool with_input, int child_fds[3]);
int channels_open_terminal(struct channels *ch, bool with_input, const struct winsize *size, uid_t owner,
                           int child_fds[3]);

/* Takes over pipes that are open already; in_fd -1: no standard input. */
void channels_adopt(struct channels *ch, int in_fd, const int out_fds[2]);

/* Closes the child's ends. */
void channels_close_child(const int child_fds[3]);

/* Begins to read all output, or goes on with channel n + 1. Return 0 or -errno. */
int channels_watch(struct channels *ch);
int channels_watch_output(struct channels *ch, unsigned n);

/* Does not watch channel n + 1 as long as there is no room for what comes. */
void channels_pause(struct channels *ch, unsigned n);

/* Closes all; what was read stays. */
void channels_close(struct channels *ch);

/* Closes all and gives everything back; only channels_init() may follow. */
void channels_free(struct channels *ch);

/* Reads channel n + 1 once. */
enum channel_news channels_read(struct channels *ch, unsigned n);

/* True when no output can come any more. */
bool channels_ended(const struct channels *ch);

/* True when output waits in a pipe because a ring is full. */
bool channels_blocked(const struct channels *ch);

/* The one large ring (LARGE_RING) for channel 1: it has a page before it that may be written to. */
bool channels_are_large(const struct channels *ch);

/* Who has it; NULL: it is free. */
const struct channels *channels_large_owner(void);

/* Takes it, when it is free, and a pipe of that size. True: it has it, and so there is room. */
bool channels_enlarge(struct channels *ch);

/* Gives it up. False: the channels' own ring is too small for what it holds, and nothing has changed. */
bool channels_shrink(struct channels *ch);

/* How far the host may send input. */
uint64_t channels_input_limit(const struct channels *ch);

/* DATA and END of the host. False: it may not send that. */
bool channels_take(struct channels *ch, uint64_t offset, struct wire_bytes data);
bool channels_take_end(struct channels *ch, uint64_t offset);

/* Gives standard input what it takes. */
void channels_write(struct channels *ch);

/* Standard input is at its end: what is buffered goes out, then it is closed. */
void channels_end_input(struct channels *ch);

#endif
