#include "job.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define PAGE 4096
#define VEOF_CHARACTER 4 /* termios(3): the default of VEOF, Ctrl-D */

/* Least room for which a small message (STARTED, END, EXIT, WINDOW) is begun. */
#define SMALL_MESSAGE 256

static uint8_t rings[JOBS_MAX][3][JOB_RING] __attribute__((aligned(PAGE)));
/* Whole pages, as they are given back to the kernel. */
struct large_ring {
    uint8_t before[PAGE]; /* for the head of a frame; see conn_send_in_place() */
    uint8_t ring[LARGE_RING];
} __attribute__((aligned(PAGE)));

static struct large_ring large_rings[LARGE_RINGS_MAX];
static struct job *large_owner[LARGE_RINGS_MAX]; /* NULL: free */

static unsigned slot_of(const struct job *j)
{
    return (unsigned)(j - job_at(0));
}

struct watch job_token(const struct job *j, enum watch_kind kind)
{
    return (struct watch){.kind = (uint8_t)kind, .slot = (uint8_t)slot_of(j), .generation = j->id};
}

/* ---- opening and closing --------------------------------------------------------------------- */

void job_io_init(struct job *j)
{
    uint8_t(*own)[JOB_RING] = rings[slot_of(j)];

    j->in.fd = j->out[0].fd = j->out[1].fd = -1;
    ring_init(&j->out[0].ring, own[0], JOB_RING);
    ring_init(&j->out[1].ring, own[1], JOB_RING);
    ring_init(&j->in.ring, own[2], JOB_RING);
}

/* EXIT may still be on its way, or have got lost with the connection. Its host has it when it has consumed, of the same
 * connection, output of another job that was sent after it. */
static bool knows_end(const struct job *other, const struct job *ended)
{
    return ended->told && ended->told == other->conn && other->out[0].ring.start > other->unproven;
}

/* Takes a large ring from a job that has told all; what it still holds for an ATTACH goes into its own ring
 * or, where that is too small, the job is forgotten, if its host needs it no more. */
static void give_back_large_ring(struct job *j, const struct job *taker)
{
    struct ring *r = &j->out[0].ring;

    if (r->end - r->start > JOB_RING) {
        if (knows_end(taker, j) && !job_lives(j))
            job_free(j);
        if (!knows_end(taker, j) || j->state == JOB_FREE)
            return;
        ring_consume(r, r->end); /* what it has left needs the job */
    }
    ring_move(r, rings[slot_of(j)][0], JOB_RING);
    for (unsigned i = 0; i < LARGE_RINGS_MAX; i++)
        if (large_owner[i] == j)
            large_owner[i] = NULL;
}

static bool has_large_ring(const struct job *j)
{
    return j->out[0].ring.capacity == LARGE_RING;
}

static void take_large_ring(struct job *j)
{
    for (unsigned i = 0; i < LARGE_RINGS_MAX; i++) {
        struct job *owner = large_owner[i];
        if (owner && owner->state == JOB_FINISHED && owner->delivered && !owner->conn)
            give_back_large_ring(owner, j);
        if (large_owner[i])
            continue;
        large_owner[i] = j;
        ring_move(&j->out[0].ring, large_rings[i].ring, LARGE_RING);
        fcntl(j->out[0].fd, F_SETPIPE_SZ, LARGE_RING); /* a terminal has none, and it need not be */
        return;
    }
}

static int devpts_fd = -1;

void job_io_open_devpts(void)
{
    devpts_fd = open("/dev/pts", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* pts(4). Where the ptmx of devpts is closed to everybody, its mode by default, there is the one of /dev. */
static int open_master(void)
{
    const int flags = O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK;
    int fd = openat(devpts_fd, "ptmx", flags);

    return fd >= 0 ? fd : open("/dev/ptmx", flags);
}

static int open_terminal(struct job *j, const struct job_request *r, int child_fds[3])
{
    struct winsize size = {.ws_row = r->rows, .ws_col = r->cols};
    int locked = 0;
    int master = open_master();

    if (master < 0)
        return -errno;
    j->out[0].fd = master;
    /* pts(4), ioctl_tty(2): TIOCGPTPEER needs no path, so it also works without a /dev/pts. */
    if (ioctl(master, TIOCSPTLCK, &locked) < 0)
        return -errno;
    int terminal = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0)
        return -errno;
    child_fds[0] = child_fds[1] = child_fds[2] = terminal;
    ioctl(terminal, TIOCSWINSZ, &size);
    if (fchown(terminal, r->uid, (gid_t)-1) < 0 && errno != EPERM && errno != EINVAL)
        return -errno;
    if (r->flags & PROTO_JOB_STDIN) {
        j->in.fd = fcntl(master, F_DUPFD_CLOEXEC, 3);
        return j->in.fd < 0 ? -errno : 0;
    }
    return 0;
}

static int open_pipes(struct job *j, const struct job_request *r, int child_fds[3])
{
    int ends[2];

    child_fds[0] = STDIN_FILENO; /* /dev/null; see open_null() in boot.c */
    if (r->flags & PROTO_JOB_STDIN) {
        int error = sys_pipe(ends, 1);
        if (error < 0)
            return error;
        child_fds[0] = ends[0];
        j->in.fd = ends[1];
    }
    for (int i = 0; i < 2; i++) {
        int error = sys_pipe(ends, 0);
        if (error < 0)
            return error;
        j->out[i].fd = ends[0];
        child_fds[1 + i] = ends[1];
    }
    return 0;
}

int job_io_open(struct job *j, const struct job_request *r, int child_fds[3])
{
    return j->tty ? open_terminal(j, r, child_fds) : open_pipes(j, r, child_fds);
}

void job_io_adopt(struct job *j, int in_fd, const int out_fds[2])
{
    j->in.fd = in_fd;
    j->out[0].fd = out_fds[0];
    j->out[1].fd = out_fds[1];
}

void job_io_close_child(int child_fds[3])
{
    for (int i = 0; i < 3; i++) {
        /* A terminal is there three times. */
        if (child_fds[i] > 2 && (i == 0 || child_fds[i] != child_fds[0]))
            close(child_fds[i]);
    }
}

static int watch_output(struct job *j, unsigned n)
{
    /* A terminal that nobody has open stays hung up for as long as the job lives, which is to be told once. */
    uint32_t events = j->tty ? EPOLLIN | EPOLLET : EPOLLIN;
    int r = watch_add(j->out[n].fd, events, job_token(j, n ? WATCH_JOB_ERR : WATCH_JOB_OUT));

    j->out[n].watched = r == 0;
    return r;
}

int job_io_watch(struct job *j)
{
    int r = watch_output(j, 0);

    return r == 0 && j->out[1].fd >= 0 ? watch_output(j, 1) : r;
}

void job_io_close(struct job *j)
{
    sys_close(&j->in.fd);
    sys_close(&j->out[0].fd);
    sys_close(&j->out[1].fd);
}

void job_io_free(struct job *j)
{
    job_io_close(j);
    for (unsigned i = 0; i < LARGE_RINGS_MAX; i++) {
        if (large_owner[i] != j)
            continue;
        large_owner[i] = NULL;
        sys_give_back(&large_rings[i], sizeof(large_rings[i]));
    }
}

/* ---- output ---------------------------------------------------------------------------------- */

bool job_io_ended(const struct job *j)
{
    return j->out[0].fd < 0 && j->out[1].fd < 0;
}

bool job_io_blocked(const struct job *j)
{
    return (j->out[0].fd >= 0 && !j->out[0].watched) || (j->out[1].fd >= 0 && !j->out[1].watched);
}

/* How much of room may be read before the job has had all of its output limit. */
static size_t within_limit(const struct job *j, size_t room)
{
    uint64_t total = j->out[0].ring.end + j->out[1].ring.end;
    uint64_t left = j->output_max > total ? j->output_max - total : 0;

    return j->output_max && left < room ? (size_t)left : room;
}

static void exceed_limit(struct job *j)
{
    sys_close(&j->out[0].fd);
    sys_close(&j->out[1].fd);
    j->cause = 0; /* the output is cut short whatever else happens, so this has to be the cause */
    job_kill(j, PROTO_CAUSE_OUTPUT);
}

bool job_io_read(struct job *j, unsigned n)
{
    struct job_output *o = &j->out[n];
    size_t room, want;
    uint8_t beyond;

    uint8_t *at = ring_space(&o->ring, &room);
    if (o->fd < 0 || room == 0)
        return false;
    want = within_limit(j, room);
    /* At the limit exactly: one byte more is too many, the end of the channel is fine. */
    ssize_t got = want ? read(o->fd, at, want) : read(o->fd, &beyond, 1);
    /* EIO: a terminal that nobody has open. The first process still has it as /dev/tty, and would be hung up. */
    if (got < 0 && (errno == EAGAIN || errno == EINTR || (errno == EIO && !j->reaped)))
        return false;
    if (got <= 0) {
        sys_close(&o->fd);
        return true;
    }
    if (!want) {
        exceed_limit(j);
        return true;
    }
    ring_added(&o->ring, (size_t)got);
    if (j->state == JOB_DRAINING)
        j->drain_deadline = sys_now() + JOB_DRAIN_MS * NS_PER_MS;
    if (n == 0 && ring_free(&o->ring) == 0 && o->ring.start > 0 && !has_large_ring(j))
        take_large_ring(j);
    if (ring_free(&o->ring) == 0 && o->watched) {
        watch_remove(o->fd);
        o->watched = false;
    }
    return true;
}

void job_io_resume(struct job *j)
{
    for (unsigned i = 0; i < 2; i++) {
        struct job_output *o = &j->out[i];
        /* Not for every single byte; see LARGE_RING. */
        if (o->fd < 0 || o->watched || ring_free(&o->ring) < o->ring.capacity / 2)
            continue;
        /* A busy job fills the ring again at once, and need not be watched for that. */
        while (job_io_read(j, i)) {
        }
        if (o->fd >= 0 && ring_free(&o->ring) > 0)
            watch_output(j, i);
    }
}

/* ---- input ----------------------------------------------------------------------------------- */

static uint64_t input_limit(const struct job *j)
{
    return j->in.open && !j->in.ending ? j->in.ring.start + JOB_RING : j->in.ring.end;
}

static void close_input(struct job *j)
{
    sys_close(&j->in.fd);
    j->in.watched = false;
    ring_consume(&j->in.ring, j->in.ring.end);
}

/* Writes what the reader takes; closes when there is none any more. Returns how much was taken. */
static size_t write_input(struct job *j, const uint8_t *data, size_t size)
{
    ssize_t n = write(j->in.fd, data, size);

    if (n > 0) {
        j->in.in_line = data[n - 1] != '\n';
        return (size_t)n;
    }
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        close_input(j);
    return 0;
}

/* A terminal has no end: its reader is told by a character, which counts only at the beginning of a line. False: the terminal
 * takes no more now. */
static bool finish_input(struct job *j)
{
    static const uint8_t end = VEOF_CHARACTER;

    for (int left = j->tty ? 1 + j->in.in_line : 0; left > 0; left--) {
        if (write_input(j, &end, 1) == 0 && j->in.fd >= 0)
            return false;
        j->in.in_line = false; /* the first one has ended the line */
    }
    close_input(j);
    return true;
}

void job_io_write(struct job *j)
{
    struct job_input *in = &j->in;

    while (in->fd >= 0 && in->ring.start < in->ring.end) {
        size_t held;
        const uint8_t *data = ring_view(&in->ring, in->ring.start, &held);
        size_t n = write_input(j, data, held);
        if (n == 0)
            break;
        ring_consume(&in->ring, in->ring.start + n);
    }
    if (in->fd < 0)
        return;
    bool more = in->ring.start < in->ring.end || in->ending;
    if (in->ring.start == in->ring.end && in->ending && finish_input(j))
        return;
    if (more && !in->watched)
        in->watched = watch_add(in->fd, EPOLLOUT, job_token(j, WATCH_JOB_IN)) == 0;
    if (!more && in->watched) {
        watch_remove(in->fd);
        in->watched = false;
    }
}

int job_io_take(struct job *j, uint64_t offset, struct wire_bytes data)
{
    struct job_input *in = &j->in;

    if (!in->open || in->ending || offset != in->ring.end || data.size > in->granted - in->ring.end)
        return PROTO_ERR_FLOW;

    const uint8_t *at = data.data;
    size_t left = data.size;
    if (in->fd >= 0 && in->ring.start == in->ring.end) {
        size_t n = write_input(j, at, left);
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
        job_io_write(j);
    return 0;
}

int job_io_take_end(struct job *j, uint64_t offset)
{
    if (!j->in.open || offset != j->in.ring.end)
        return PROTO_ERR_FLOW;
    job_io_end_input(j);
    return 0;
}

void job_io_end_input(struct job *j)
{
    j->in.ending = true;
    job_io_write(j);
}

int job_io_take_window(struct job *j, const struct msg_window *m)
{
    if (m->channel != 1 && m->channel != 2)
        return PROTO_ERR_FLOW;

    struct job_output *o = &j->out[m->channel - 1];
    if (m->consumed > o->sent)
        return PROTO_ERR_FLOW;
    ring_consume(&o->ring, m->consumed);
    if (m->limit > o->limit)
        o->limit = m->limit;
    job_io_resume(j);
    return 0;
}

void job_io_take_late_window(struct job *j, const struct msg_window *m)
{
    if ((m->channel == 1 || m->channel == 2) && m->consumed <= j->out[m->channel - 1].sent)
        ring_consume(&j->out[m->channel - 1].ring, m->consumed);
}

/* ---- to the host ----------------------------------------------------------------------------- */

static bool emit_started(struct conn *c, struct job *j)
{
    j->in.granted = input_limit(j);
    j->started_due = false;
    return CONN_SEND(c, started, j->stream,
                     &((struct msg_started){.job = j->id,
                                            .pid = (uint32_t)j->pid,
                                            .stdin_offset = j->in.ring.end,
                                            .stdin_limit = j->in.granted}));
}

/* Grants more input when half of what can be granted is new. */
static bool emit_window(struct conn *c, struct job *j)
{
    uint64_t limit = input_limit(j);

    if (!j->in.open || j->in.ending || j->state == JOB_FINISHED || limit - j->in.granted < JOB_RING / 2)
        return false;
    j->in.granted = limit;
    return CONN_SEND(c, window, j->stream,
                     &((struct msg_window){.channel = 0, .consumed = j->in.ring.start, .limit = limit}));
}

static bool emit_data(struct conn *c, struct job *j, unsigned n, uint64_t end)
{
    struct job_output *o = &j->out[n];
    struct msg_data m = {.channel = (uint8_t)(n + 1), .offset = o->sent};
    size_t held;

    m.data.data = ring_view(&o->ring, o->sent, &held);
    size_t size = (size_t)(end - o->sent);
    size = size < held ? size : held;
    size = size < JOB_DATA_CHUNK ? size : JOB_DATA_CHUNK;
    bool in_place = n == 0 && size >= PAGE && has_large_ring(j) && conn_idle(c);
    size_t room = conn_stream_room(c) - SMALL_MESSAGE; /* for header and fields */
    m.data.size = (uint32_t)(in_place || size < room ? size : room);
    o->sent += m.data.size;
    if (!in_place)
        return CONN_SEND(c, data, j->stream, &m);
    conn_send_in_place(c, j->stream, &m);
    return true;
}

static bool emit_output(struct conn *c, struct job *j, unsigned n)
{
    struct job_output *o = &j->out[n];
    uint64_t end = o->ring.end < o->limit ? o->ring.end : o->limit;

    if (o->sent < end)
        return emit_data(c, j, n, end);
    if (o->fd < 0 && o->sent == o->ring.end && !o->end_sent) {
        o->end_sent = true;
        return CONN_SEND(c, end, j->stream,
                         &((struct msg_end){.channel = (uint8_t)(n + 1), .offset = o->ring.end}));
    }
    return false;
}

static bool emit_exit(struct conn *c, struct job *j)
{
    uint32_t stream = j->stream;

    j->delivered = true;
    struct job *earlier = job_find_told(c, stream);
    if (earlier) /* that the id is used again says that it is over */
        earlier->told_stream = 0;
    j->told = c;
    j->told_stream = stream;
    for (unsigned i = 0; i < JOBS_MAX; i++)
        if (job_is_active(i)) /* nothing is written to the others: after a fork each page costs a fault */
            job_at(i)->unproven = job_at(i)->out[0].sent;
    job_unbind(j);
    return CONN_SEND(c, exit, stream, &j->exit);
}

/* One turn of a job. True when something was put. */
static bool emit(struct conn *c, struct job *j)
{
    bool put = false;

    if (j->failure.code) {
        conn_send_error(c, j->stream, j->request, j->failure.code, j->failure.os_errno, j->failure.text);
        job_unbind(j);
        return true;
    }
    if (j->state == JOB_STARTING || (j->state == JOB_SETTLING && j->request == MSG_PRIME))
        return false;
    if (j->started_due) {
        emit_started(c, j);
        if (j->request == MSG_PRIME) /* its only answer; the output is for FEED */
            job_unbind(j);
        return true;
    }
    put = emit_window(c, j);
    for (unsigned i = 0; i < 2 && conn_stream_room(c) > 2 * SMALL_MESSAGE; i++)
        put = emit_output(c, j, i) || put;
    if (j->state == JOB_FINISHED && j->out[0].end_sent && j->out[1].end_sent &&
        conn_stream_room(c) > SMALL_MESSAGE)
        return emit_exit(c, j);
    return put;
}

bool job_io_emit(struct conn *c)
{
    bool any = false;

    for (bool put = true; put;) {
        put = false;
        for (unsigned i = 0; i < JOBS_MAX; i++) {
            unsigned slot = (c->turn + i) % JOBS_MAX;
            struct job *j = job_at(slot);
            if (!job_is_active(slot) || j->state == JOB_FREE || j->conn != c)
                continue;
            if (conn_stream_room(c) <= 2 * SMALL_MESSAGE) {
                c->turn = slot_of(j); /* goes on here next time */
                return any;
            }
            put = emit(c, j) || put;
        }
        any = any || put;
    }
    return any;
}
