#include "channels.h"

#include "sys.h"
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define PAGE 4096
#define VEOF_CHARACTER 4 /* termios(3): the default of VEOF, Ctrl-D */

static uint8_t rings[JOBS_MAX][3][JOB_RING] __attribute__((aligned(PAGE)));
/* Whole pages, as they are given back to the kernel. */
static struct {
    uint8_t before[PAGE]; /* for the head of a frame; see conn_send_in_place() */
    uint8_t ring[LARGE_RING];
} __attribute__((aligned(PAGE))) large;
static struct channels *large_owner; /* NULL: it is free */

/* ---- opening and closing --------------------------------------------------------------------- */

void channels_init(struct channels *ch, unsigned slot, uint32_t generation)
{
    uint8_t(*own)[JOB_RING] = rings[slot];

    ch->slot = (uint8_t)slot;
    ch->generation = generation;
    ch->in.fd = ch->out[0].fd = ch->out[1].fd = -1;
    ring_init(&ch->out[0].ring, own[0], JOB_RING);
    ring_init(&ch->out[1].ring, own[1], JOB_RING);
    ring_init(&ch->in.ring, own[2], JOB_RING);
}

struct watch channels_token(const struct channels *ch, enum watch_kind kind)
{
    return (struct watch){.kind = (uint8_t)kind, .slot = ch->slot, .generation = ch->generation};
}

int channels_open_terminal(struct channels *ch, bool with_input, const struct winsize *size, uid_t owner,
                           int child_fds[3])
{
    int r = terminal_open(size, owner, &ch->out[0].fd, &child_fds[0]);

    child_fds[1] = child_fds[2] = child_fds[0];
    if (r == 0 && with_input) {
        ch->in.fd = fcntl(ch->out[0].fd, F_DUPFD_CLOEXEC, 3);
        r = ch->in.fd < 0 ? -errno : 0;
    }
    return r;
}

int channels_open_pipes(struct channels *ch, bool with_input, int child_fds[3])
{
    int r = 0;

    child_fds[0] = STDIN_FILENO; /* /dev/null; see open_null() in boot.c */
    if (with_input)
        r = sys_pipe(&ch->in.fd, &child_fds[0], 1);
    for (int i = 0; i < 2 && r == 0; i++)
        r = sys_pipe(&ch->out[i].fd, &child_fds[1 + i], 0);
    return r;
}

void channels_adopt(struct channels *ch, int in_fd, const int out_fds[2])
{
    ch->in.fd = in_fd;
    ch->out[0].fd = out_fds[0];
    ch->out[1].fd = out_fds[1];
}

void channels_close_child(const int child_fds[3])
{
    for (int i = 0; i < 3; i++) {
        /* A terminal is there three times. */
        if (child_fds[i] > 2 && (i == 0 || child_fds[i] != child_fds[0]))
            close(child_fds[i]);
    }
}

void channels_close(struct channels *ch)
{
    sys_close(&ch->in.fd);
    sys_close(&ch->out[0].fd);
    sys_close(&ch->out[1].fd);
}

void channels_free(struct channels *ch)
{
    channels_close(ch);
    if (large_owner != ch)
        return;
    large_owner = NULL;
    sys_give_back(&large, sizeof(large));
}

/* ---- output ---------------------------------------------------------------------------------- */

int channels_watch_output(struct channels *ch, unsigned n)
{
    /* A terminal that nobody has open stays hung up for as long as the job lives, which is to be told once. */
    uint32_t events = ch->tty ? EPOLLIN | EPOLLET : EPOLLIN;
    int r = watch_add(ch->out[n].fd, events, channels_token(ch, n ? WATCH_JOB_ERR : WATCH_JOB_OUT));

    ch->out[n].watched = r == 0;
    return r;
}

int channels_watch(struct channels *ch)
{
    int r = channels_watch_output(ch, 0);

    return r == 0 && ch->out[1].fd >= 0 ? channels_watch_output(ch, 1) : r;
}

void channels_pause(struct channels *ch, unsigned n)
{
    struct channel_out *o = &ch->out[n];

    if (o->watched)
        watch_remove(o->fd);
    o->watched = false;
}

bool channels_ended(const struct channels *ch)
{
    return ch->out[0].fd < 0 && ch->out[1].fd < 0;
}

bool channels_blocked(const struct channels *ch)
{
    return (ch->out[0].fd >= 0 && !ch->out[0].watched) || (ch->out[1].fd >= 0 && !ch->out[1].watched);
}

/* How much of room may be read before output_max is reached. */
static size_t within_limit(const struct channels *ch, size_t room)
{
    uint64_t total = ch->out[0].ring.end + ch->out[1].ring.end;
    uint64_t left = ch->output_max > total ? ch->output_max - total : 0;

    return ch->output_max && left < room ? (size_t)left : room;
}

enum channel_news channels_read(struct channels *ch, unsigned n)
{
    struct channel_out *o = &ch->out[n];
    size_t room;
    uint8_t beyond;

    uint8_t *at = ring_space(&o->ring, &room);
    if (o->fd < 0 || room == 0)
        return CHANNEL_SILENT;
    size_t want = within_limit(ch, room);
    /* At the limit exactly: one byte more is too many, the end of the channel is fine. */
    ssize_t got = want ? read(o->fd, at, want) : read(o->fd, &beyond, 1);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return CHANNEL_SILENT;
    if (got < 0 && errno == EIO)
        return CHANNEL_DESERTED;
    if (got <= 0) {
        sys_close(&o->fd);
        return CHANNEL_ENDED;
    }
    if (!want)
        return CHANNEL_EXCEEDED;
    ring_added(&o->ring, (size_t)got);
    return ring_free(&o->ring) > 0 ? CHANNEL_CAME : CHANNEL_FULL;
}

bool channels_are_large(const struct channels *ch)
{
    return large_owner == ch;
}

const struct channels *channels_large_owner(void)
{
    return large_owner;
}

bool channels_enlarge(struct channels *ch)
{
    if (large_owner)
        return false;
    large_owner = ch;
    ring_move(&ch->out[0].ring, large.ring, sizeof(large.ring));
    fcntl(ch->out[0].fd, F_SETPIPE_SZ, LARGE_RING); /* a terminal has none, and it need not be */
    return true;
}

bool channels_shrink(struct channels *ch)
{
    struct ring *r = &ch->out[0].ring;

    if (r->end - r->start > JOB_RING)
        return false;
    ring_move(r, rings[ch->slot][0], JOB_RING);
    large_owner = NULL;
    return true;
}

/* ---- input ----------------------------------------------------------------------------------- */

uint64_t channels_input_limit(const struct channels *ch)
{
    return ch->in.open && !ch->in.ending ? ch->in.ring.start + JOB_RING : ch->in.ring.end;
}

static void close_input(struct channels *ch)
{
    sys_close(&ch->in.fd);
    ch->in.watched = false;
    ring_consume(&ch->in.ring, ch->in.ring.end);
}

/* Writes what the reader takes; closes when there is none any more. Returns how much was taken. */
static size_t write_input(struct channels *ch, const uint8_t *data, size_t size)
{
    ssize_t n = write(ch->in.fd, data, size);

    if (n > 0) {
        ch->in.in_line = data[n - 1] != '\n';
        return (size_t)n;
    }
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        close_input(ch);
    return 0;
}

/* A terminal has no end: its reader is told by a character, which counts only at the beginning of a line. False: the terminal
 * takes no more now. */
static bool finish_input(struct channels *ch)
{
    static const uint8_t end = VEOF_CHARACTER;

    for (int left = ch->tty ? 1 + ch->in.in_line : 0; left > 0; left--) {
        if (write_input(ch, &end, 1) == 0 && ch->in.fd >= 0)
            return false;
        ch->in.in_line = false; /* the first one has ended the line */
    }
    close_input(ch);
    return true;
}

void channels_write(struct channels *ch)
{
    struct channel_in *in = &ch->in;

    while (in->fd >= 0 && in->ring.start < in->ring.end) {
        size_t held;
        const uint8_t *data = ring_view(&in->ring, in->ring.start, &held);
        size_t n = write_input(ch, data, held);
        if (n == 0)
            break;
        ring_consume(&in->ring, in->ring.start + n);
    }
    if (in->fd < 0)
        return;
    bool more = in->ring.start < in->ring.end || in->ending;
    if (in->ring.start == in->ring.end && in->ending && finish_input(ch))
        return;
    if (more && !in->watched)
        in->watched = watch_add(in->fd, EPOLLOUT, channels_token(ch, WATCH_JOB_IN)) == 0;
    if (!more && in->watched) {
        watch_remove(in->fd);
        in->watched = false;
    }
}

bool channels_take(struct channels *ch, uint64_t offset, struct wire_bytes data)
{
    struct channel_in *in = &ch->in;

    if (!in->open || in->ending || offset != in->ring.end || data.size > in->granted - in->ring.end)
        return false;

    const uint8_t *at = data.data;
    size_t left = data.size;
    if (in->fd >= 0 && in->ring.start == in->ring.end) {
        size_t n = write_input(ch, at, left);
        ring_added(&in->ring, n);
        ring_consume(&in->ring, in->ring.end);
        at += n;
        left -= n;
    }
    while (left > 0 && in->fd >= 0) {
        size_t room;
        uint8_t *space = ring_space(&in->ring, &room);
        size_t n = left < room ? left : room;
        memcpy(space, at, n);
        ring_added(&in->ring, n);
        at += n;
        left -= n;
    }
    if (left > 0) { /* nobody reads it: taken and dropped */
        ring_added(&in->ring, left);
        ring_consume(&in->ring, in->ring.end);
    }
    if (in->ring.start < in->ring.end && !in->watched)
        channels_write(ch);
    return true;
}

bool channels_take_end(struct channels *ch, uint64_t offset)
{
    if (!ch->in.open || offset != ch->in.ring.end)
        return false;
    channels_end_input(ch);
    return true;
}

void channels_end_input(struct channels *ch)
{
    ch->in.ending = true;
    channels_write(ch);
}
