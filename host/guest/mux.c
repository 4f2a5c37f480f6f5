#include "guest/mux.h"

#include "base/cleanup.h"
#include "guest/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#define ORPHAN_WINDOW (1u << 20)

void mux_open(struct mux *m, struct guest *g)
{
    *m = (struct mux){.guest = g, .last_ns = clock_monotonic_ns()};
    for (int i = 0; i < MUX_USERS_MAX; i++)
        m->users[i].fd = -1;
}

static void drop_user(struct mux *m, int user)
{
    struct mux_user *u = &m->users[user];

    close_fd(&u->fd);
    free(u->buffer);
    buffer_free(&u->out);
    *u = (struct mux_user){.fd = -1};
}

void mux_close(struct mux *m)
{
    for (int i = 0; i < MUX_USERS_MAX; i++)
        drop_user(m, i);
    buffer_free(&m->out);
}

int mux_add(struct mux *m, int fd, bool keep_jobs)
{
    int i = 0;

    while (i < MUX_USERS_MAX && m->users[i].fd >= 0)
        i++;
    if (i == MUX_USERS_MAX) {
        close(fd);
        return -1;
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    m->users[i] = (struct mux_user){.fd = fd, .buffer = memory_allocate(FRAME_MAX)};
    frame_reader_init(&m->users[i].reader, m->users[i].buffer, FRAME_MAX);
    m->keep_jobs[i] = keep_jobs;
    return 0;
}

unsigned mux_count(const struct mux *m)
{
    unsigned count = 0;

    for (int i = 0; i < MUX_USERS_MAX; i++)
        count += m->users[i].fd >= 0;
    return count;
}

bool mux_is_idle(const struct mux *m)
{
    unsigned streams = 0;

    for (int i = 0; i < MUX_STREAMS_MAX; i++)
        streams += m->streams[i].outer != 0;
    return mux_count(m) == 0 && streams == 0;
}

/* ---- bytes that wait ----------------------------------------------------------------------------- */

static void add_frame(struct buffer *b, uint16_t type, uint32_t stream, const void *payload, uint32_t length)
{
    uint8_t header[FRAME_HEADER_SIZE];

    frame_put_header(header, type, stream, length);
    buffer_add(b, header, sizeof(header));
    buffer_add(b, payload, length);
}

/* Writes what fits. -1: the other end is gone. */
static int flush(int fd, struct buffer *b, size_t *start)
{
    while (*start < b->size) {
        ssize_t n = send(fd, b->data + *start, b->size - *start, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0)
            return -1;
        *start += (size_t)n;
    }
    if (*start == b->size)
        b->size = *start = 0;
    else if (*start > MUX_QUEUE_MAX) {
        memmove(b->data, b->data + *start, b->size - *start);
        b->size -= *start;
        *start = 0;
    }
    return 0;
}

/* ---- streams ------------------------------------------------------------------------------------- */

static bool is_job(uint16_t request)
{
    return request == MSG_EXEC || request == MSG_ATTACH || request == MSG_FEED;
}

static struct mux_stream *find_outer(struct mux *m, uint32_t outer)
{
    for (int i = 0; outer && i < MUX_STREAMS_MAX; i++)
        if (m->streams[i].outer == outer)
            return &m->streams[i];
    return NULL;
}

static struct mux_stream *find_inner(struct mux *m, int user, uint32_t inner)
{
    for (int i = 0; i < MUX_STREAMS_MAX; i++)
        if (m->streams[i].outer && m->streams[i].user == user && m->streams[i].inner == inner)
            return &m->streams[i];
    return NULL;
}

/* Limits never shrink. */
static void raise_limit(struct mux_stream *s, uint8_t channel, uint64_t limit)
{
    if (limit > s->limit[channel])
        s->limit[channel] = limit;
}

static bool queue_is_full(const struct mux *m)
{
    return m->out.size - m->out_start > MUX_QUEUE_MAX;
}

static void grant(struct mux *m, struct mux_stream *s, uint8_t channel)
{
    uint8_t out[64];

    raise_limit(s, channel, s->got[channel] + ORPHAN_WINDOW);
    const struct msg_window w = {.channel = channel, .consumed = s->got[channel], .limit = s->limit[channel]};
    buffer_add(&m->out, out, msg_window_frame(&w, s->outer, out, sizeof(out)));
    s->owed[channel] = false;
}

/*
 * Tells the guest what was dropped, however little, because it may keep less than a window (PROTOCOL.md section 4); but
 * once for all that came together, and only as long as it reads that. Otherwise a guest that sends bytes one by one and
 * reads nothing would have the queue grow without end; so it comes to its limit.
 */
static void grant_owed(struct mux *m)
{
    for (int i = 0; i < MUX_STREAMS_MAX; i++)
        for (uint8_t channel = 1; channel <= 2; channel++)
            if (m->streams[i].owed[channel] && !queue_is_full(m))
                grant(m, &m->streams[i], channel);
}

/* Nobody waits for this stream any more: makes it end. */
static void leave_behind(struct mux *m, struct mux_stream *s, bool keep)
{
    uint8_t out[64];

    s->user = -1;
    if (s->request == MSG_WRITE_FILE || s->request == MSG_STRINGS) {
        const struct msg_end end = {.channel = 0, .offset = s->sent};
        buffer_add(&m->out, out, msg_end_frame(&end, s->outer, out, sizeof(out)));
    }
    if (s->request == MSG_STRINGS) { /* which has no answer */
        *s = (struct mux_stream){0};
        return;
    }
    if (is_job(s->request) && !keep)
        buffer_add(&m->out, out, msg_kill_frame(&(struct msg_kill){}, s->outer, out, sizeof(out)));
    s->owed[1] = is_job(s->request) || s->request == MSG_READ_FILE;
    s->owed[2] = is_job(s->request);
}

static void end_user(struct mux *m, int user)
{
    for (int i = 0; i < MUX_STREAMS_MAX; i++)
        if (m->streams[i].outer && m->streams[i].user == user)
            leave_behind(m, &m->streams[i], m->keep_jobs[user]);
    drop_user(m, user);
}

/* Is this the last frame of its stream? PROTOCOL.md section 4. */
static bool is_last(const struct mux_stream *s, const struct frame *f)
{
    struct msg_error error;

    if (f->type == MSG_DATA || f->type == MSG_WINDOW)
        return false;
    if (s->request == MSG_READ_FILE)
        return f->type == MSG_END || f->type == MSG_ERROR;
    if (!is_job(s->request))
        return f->type != MSG_END;
    if (f->type == MSG_ERROR) /* the answer to a RESIZE or the like does not end it */
        return !msg_error_decode(&error, f->payload, f->length) || is_job(error.request) ||
               error.code == PROTO_ERR_GONE;
    return f->type == MSG_EXIT;
}

/* ---- from the guest ------------------------------------------------------------------------------ */

static int count_data(struct mux_stream *s, const struct frame *f, struct error *e)
{
    struct msg_data d;

    if (!msg_data_decode(&d, f->payload, f->length) || d.channel < 1 || d.channel > 2 || d.data.size == 0 ||
        d.offset != s->got[d.channel])
        return channel_violation(e, f, "invalid");
    if (d.data.size > s->limit[d.channel] - s->got[d.channel])
        return channel_violation(e, f, "unasked");
    s->got[d.channel] += d.data.size;
    return d.channel;
}

static int from_guest(struct mux *m, const struct frame *f, struct error *e)
{
    struct mux_stream *s = find_outer(m, f->stream);
    int channel = 0;

    if (!s)
        return f->type == MSG_ERROR ? channel_refused(e, f) : channel_violation(e, f, "unexpected");
    if (f->type == MSG_DATA && (channel = count_data(s, f, e)) < 0)
        return -1;
    if (s->user >= 0) {
        struct mux_user *u = &m->users[s->user];
        add_frame(&u->out, f->type, s->inner, f->payload, f->length);
        if (u->out.size - u->out_start > MUX_HELD_MAX)
            return channel_violation(e, f, "unasked");
    } else if (channel > 0) {
        s->owed[channel] = true;
    }
    if (is_last(s, f))
        *s = (struct mux_stream){0};
    return 0;
}

static int read_guest(struct mux *m, struct error *e)
{
    struct frame f;
    int n;

    if (channel_fill(m->guest, e) < 0)
        return -1;
    while ((n = channel_next(m->guest, &f, e)) != 0)
        if (n < 0 || from_guest(m, &f, e) < 0)
            return -1;
    m->last_ns = clock_monotonic_ns();
    return 0;
}

/* ---- from users ---------------------------------------------------------------------------------- */

/* How much of each output channel a request lets the guest send. */
static uint64_t first_limit(const struct frame *f)
{
    union {
        struct msg_exec exec;
        struct msg_attach attach;
        struct msg_feed feed;
        struct msg_read_file read;
    } m;

    switch (f->type) {
    case MSG_EXEC:
        return msg_exec_decode(&m.exec, f->payload, f->length) ? m.exec.window : 0;
    case MSG_ATTACH:
        return msg_attach_decode(&m.attach, f->payload, f->length) ? m.attach.window : 0;
    case MSG_FEED:
        return msg_feed_decode(&m.feed, f->payload, f->length) ? m.feed.window : 0;
    case MSG_READ_FILE:
        return msg_read_file_decode(&m.read, f->payload, f->length) ? m.read.window : 0;
    default:
        return 0;
    }
}

static struct mux_stream *begin_stream(struct mux *m, int user, const struct frame *f)
{
    struct msg_write_file write;
    struct mux_stream *s = NULL;

    for (int i = 0; !s && i < MUX_STREAMS_MAX; i++)
        if (!m->streams[i].outer)
            s = &m->streams[i];
    if (!s)
        return NULL;
    *s = (struct mux_stream){
        .outer = channel_new_stream(m->guest), .inner = f->stream, .user = user, .request = f->type};
    if (f->type == MSG_WRITE_FILE && msg_write_file_decode(&write, f->payload, f->length))
        s->sent = write.data.size;
    s->limit[1] = s->limit[2] = first_limit(f);
    return s;
}

/* -1: this user is not to be served any more. */
static int from_user(struct mux *m, int user, const struct frame *f)
{
    struct mux_stream *s = find_inner(m, user, f->stream);
    struct msg_data data;
    struct msg_window window;

    if (!s) {
        switch (f->type) {
        case MSG_DATA: /* about a stream that has just ended */
        case MSG_END:
        case MSG_WINDOW:
        case MSG_RESIZE:
        case MSG_SIGNAL:
        case MSG_KILL:
            return 0;
        case MSG_HELLO: /* about the connection, which is not theirs */
        case MSG_RESUME:
        case MSG_QUIESCE:
        case MSG_SHUTDOWN:
            return -1;
        default:
            s = begin_stream(m, user, f);
        }
    }
    if (!s)
        return -1;
    if (s->request == MSG_STRINGS) { /* until what they are for is here */
        s->request = f->type;
        s->limit[1] = s->limit[2] = first_limit(f);
    }
    if (f->type == MSG_DATA && msg_data_decode(&data, f->payload, f->length))
        s->sent += data.data.size;
    if (f->type == MSG_WINDOW && msg_window_decode(&window, f->payload, f->length) && window.channel <= 2)
        raise_limit(s, window.channel, window.limit);
    add_frame(&m->out, f->type, s->outer, f->payload, f->length);
    return 0;
}

static void read_user(struct mux *m, int user)
{
    struct mux_user *u = &m->users[user];
    struct frame f;
    size_t room;
    uint8_t *space = frame_reader_space(&u->reader, &room);
    ssize_t n = recv(u->fd, space, room, 0);
    int next = 0;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        frame_reader_added(&u->reader, (size_t)n);
        while ((next = frame_reader_next(&u->reader, &f)) > 0 && (next = from_user(m, user, &f)) == 0)
            ;
        m->last_ns = clock_monotonic_ns();
    }
    if (n <= 0 || next < 0)
        end_user(m, user);
}

/* ---- the loop ------------------------------------------------------------------------------------ */

static void serve_users(struct mux *m, const struct pollfd *p)
{
    for (int i = 0; i < MUX_USERS_MAX; i++) {
        if (p[i].revents & (POLLIN | POLLHUP | POLLERR))
            read_user(m, i);
        struct mux_user *u = &m->users[i];
        if (u->fd >= 0 && u->out.size && flush(u->fd, &u->out, &u->out_start) < 0)
            end_user(m, i);
    }
}

int mux_step(struct mux *m, int wake_fd, int64_t deadline, struct error *e)
{
    grant_owed(m); /* for which there was no room */
    bool full = queue_is_full(m);
    struct pollfd p[CHANNEL_POLLED + 1 + MUX_USERS_MAX], *users = &p[CHANNEL_POLLED + 1];

    channel_poll(m->guest, (short)(POLLIN | (m->out.size ? POLLOUT : 0)), p);
    p[CHANNEL_POLLED] = (struct pollfd){.fd = wake_fd, .events = POLLIN};
    for (int i = 0; i < MUX_USERS_MAX; i++) {
        const struct mux_user *u = &m->users[i];
        users[i] = (struct pollfd){.fd = u->fd,
                                   .events = (short)((full ? 0 : POLLIN) | (u->out.size ? POLLOUT : 0))};
    }
    if (deadline_poll(p, CHANNEL_POLLED + 1 + MUX_USERS_MAX, deadline, NULL, e) < 0 ||
        channel_check_vmm(m->guest, p, e) < 0)
        return -1;
    if (p[0].revents & (POLLIN | POLLHUP | POLLERR) && read_guest(m, e) < 0)
        return -1;
    serve_users(m, users);
    grant_owed(m);
    if (m->out.size && flush(m->guest->fd, &m->out, &m->out_start) < 0)
        return error_set(e, ERROR_VM_LOST, "the connection to the guest was lost");
    return 0;
}
