/* One job's life on a connection: input, output, windows and the end. */
#include "guest/channel.h"
#include "guest/guest.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define OUTPUT_WINDOW (1u << 20) /* bytes of each output channel that the guest may have under way */
#define STDIN_CHUNK 16384

struct job {
    struct guest *guest;
    const struct job_io *io;
    uint32_t stream;
    int64_t deadline;
    bool started;
    bool ended;
    uint64_t received[3]; /* bytes of channel 1 and 2 */
    uint64_t granted[3];  /* limit given to the guest */
    bool unacknowledged[3];
    uint64_t stdin_sent;
    uint64_t stdin_limit;
    bool stdin_open;
    uint8_t out[STDIN_CHUNK + 256]; /* frames to send: one of standard input, or windows */
    size_t out_start, out_end;
};

static int on_data(struct job *j, const struct frame *f, struct error *e)
{
    struct msg_data m;

    if (!msg_data_decode(&m, f->payload, f->length) || (m.channel != 1 && m.channel != 2) || m.data.size == 0)
        return channel_violation(e, f, "invalid");
    if (m.offset != j->received[m.channel] || m.offset + m.data.size > j->granted[m.channel])
        return channel_violation(e, f, "out of order or unasked");
    j->received[m.channel] += m.data.size;
    j->unacknowledged[m.channel] = true;
    return j->io->on_output(j->io->context, m.channel, m.data.data, m.data.size, e);
}

static int on_started(struct job *j, const struct frame *f, struct error *e)
{
    struct msg_started m;

    if (!msg_started_decode(&m, f->payload, f->length) || j->started)
        return channel_violation(e, f, "invalid");
    j->started = true;
    j->stdin_limit = m.stdin_limit;
    return 0;
}

static int on_window(struct job *j, const struct frame *f, struct error *e)
{
    struct msg_window m;

    if (!msg_window_decode(&m, f->payload, f->length) || m.channel != 0 || m.consumed > j->stdin_sent)
        return channel_violation(e, f, "invalid");
    if (m.limit > j->stdin_limit)
        j->stdin_limit = m.limit;
    return 0;
}

static int on_end(struct job *j, const struct frame *f, struct error *e)
{
    struct msg_end m;

    if (!msg_end_decode(&m, f->payload, f->length) || (m.channel != 1 && m.channel != 2) ||
        m.offset != j->received[m.channel])
        return channel_violation(e, f, "invalid");
    return 0;
}

/* The answer to a RESIZE or SIGNAL. One that was refused, because the job has just ended, is no matter. */
static int on_confirmed(struct job *j, const struct frame *f, struct error *e)
{
    struct job_terminal *t = j->io->terminal;

    if (!t || t->unconfirmed == 0)
        return e ? channel_violation(e, f, "unexpected") : -1;
    t->unconfirmed--;
    return 0;
}

static int on_frame(struct job *j, const struct frame *f, struct msg_exit *ret_exit, struct error *e)
{
    if (f->stream != j->stream)
        return f->type == MSG_ERROR ? channel_refused(e, f) : channel_violation(e, f, "unexpected");
    switch (f->type) {
    case MSG_STARTED:
        return on_started(j, f, e);
    case MSG_DATA:
        return on_data(j, f, e);
    case MSG_WINDOW:
        return on_window(j, f, e);
    case MSG_END:
        return on_end(j, f, e);
    case MSG_OK:
        return on_confirmed(j, f, e);
    case MSG_ERROR:
        return j->started && on_confirmed(j, f, NULL) == 0 ? 0 : channel_refused(e, f);
    case MSG_EXIT:
        if (!msg_exit_decode(ret_exit, f->payload, f->length) || !j->started ||
            ret_exit->stdout_size != j->received[1] || ret_exit->stderr_size != j->received[2])
            return channel_violation(e, f, "invalid");
        j->ended = true;
        return 0;
    default:
        return channel_violation(e, f, "unexpected");
    }
}

/* Room at the end of the queue of frames to send. */
static uint8_t *queue_space(struct job *j, size_t *ret_size)
{
    if (j->out_start == j->out_end)
        j->out_start = j->out_end = 0;
    *ret_size = sizeof(j->out) - j->out_end;
    return j->out + j->out_end;
}

/* Acknowledges what was taken, once per batch of frames. What finds no room in the queue is sent when it has
 * drained. */
static void queue_windows(struct job *j)
{
    size_t room;

    for (uint8_t channel = 1; channel <= 2 && !j->ended; channel++) {
        if (!j->unacknowledged[channel] || (j->io->terminal && j->io->terminal->hold))
            continue;
        uint8_t *space = queue_space(j, &room);
        struct msg_window m = {.channel = channel,
                               .consumed = j->received[channel],
                               .limit = j->received[channel] + OUTPUT_WINDOW};
        size_t size = msg_window_frame(&m, j->stream, space, room);
        if (size == 0)
            return;
        j->out_end += size;
        j->granted[channel] = m.limit;
        j->unacknowledged[channel] = false;
    }
}

static int take_frames(struct job *j, struct msg_exit *ret_exit, struct error *e)
{
    struct frame f;
    int n;

    if (channel_fill(j->guest, e) < 0)
        return -1;
    while (!j->ended && (n = channel_next(j->guest, &f, e)) != 0)
        if (n < 0 || on_frame(j, &f, ret_exit, e) < 0)
            return -1;
    return 0;
}

/* Reads standard input into a frame; its end becomes END. */
static int take_stdin(struct job *j, struct error *e)
{
    uint8_t chunk[STDIN_CHUNK];
    uint64_t limit = j->stdin_limit - j->stdin_sent;
    ssize_t n = read(j->io->stdin_fd, chunk, limit < sizeof(chunk) ? (size_t)limit : sizeof(chunk));
    size_t room, size;
    uint8_t *space = queue_space(j, &room);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n > 0) {
        struct msg_data m = {.channel = 0, .offset = j->stdin_sent, .data = {chunk, (uint32_t)n}};
        size = msg_data_frame(&m, j->stream, space, room);
        j->stdin_sent += (uint64_t)n;
    } else { /* the end, or a standard input that cannot be read */
        struct msg_end m = {.channel = 0, .offset = j->stdin_sent};
        size = msg_end_frame(&m, j->stream, space, room);
        j->stdin_open = false;
    }
    j->out_end += size;
    return size ? 0 : error_set(e, ERROR_GENERAL, "standard input does not fit a frame");
}

/* What the terminal's user asked for besides typing. */
static void queue_requests(struct job *j)
{
    struct job_terminal *t = j->io->terminal;
    size_t room, size = 0;
    uint8_t *space = queue_space(j, &room);

    if (!t || !j->started || j->ended || t->unconfirmed >= 8)
        return;
    if (t->signal) {
        const struct msg_signal m = {.signal = t->signal, .scope = PROTO_SCOPE_JOB};
        size = msg_signal_frame(&m, j->stream, space, room);
        t->signal = size > 0 ? 0 : t->signal;
    } else if (t->resized) {
        const struct msg_resize m = {.rows = t->rows, .cols = t->cols};
        size = msg_resize_frame(&m, j->stream, space, room);
        t->resized = size == 0;
    }
    j->out_end += size;
    t->unconfirmed += size > 0;
}

static void queue_typed(struct job *j)
{
    struct job_terminal *t = j->io->terminal;
    uint64_t n = j->stdin_limit - j->stdin_sent;
    size_t room;
    uint8_t *space = queue_space(j, &room);

    if (!t || !j->started || j->ended || j->out_end > 0 || t->typed.size == 0 || n == 0)
        return;
    n = n < t->typed.size ? n : t->typed.size;
    n = n < STDIN_CHUNK ? n : STDIN_CHUNK;
    struct msg_data m = {.offset = j->stdin_sent, .data = {(const uint8_t *)t->typed.data, (uint32_t)n}};
    size_t size = msg_data_frame(&m, j->stream, space, room);
    if (size == 0)
        return;
    j->out_end += size;
    j->stdin_sent += n;
    memmove(t->typed.data, t->typed.data + n, t->typed.size - n);
    t->typed.size -= n;
}

static int flush_out(struct job *j, struct error *e)
{
    ssize_t n = send(j->guest->fd, j->out + j->out_start, j->out_end - j->out_start, MSG_NOSIGNAL);

    if (n >= 0)
        j->out_start += (size_t)n;
    else if (errno != EAGAIN && errno != EINTR)
        return error_set(e, ERROR_VM_LOST, "the connection to the guest was lost");
    return 0;
}

static short terminal_events(const struct job_terminal *t)
{
    return (short)(t->events & ~(t->typed.size < JOB_TYPED_MAX ? 0 : POLLIN));
}

/* Reading never waits for writing: a guest whose output nobody takes would not read either. */
static int step(struct job *j, struct msg_exit *ret_exit, struct error *e)
{
    bool sending = j->out_start < j->out_end;
    bool reading = !sending && j->started && j->stdin_open && j->stdin_limit > j->stdin_sent;
    struct job_terminal *t = j->io->terminal;
    int64_t until = channel_until(j->guest, j->deadline);
    struct pollfd p[CHANNEL_POLLED + 2], *input = &p[CHANNEL_POLLED], *terminal = input + 1;

    channel_poll(j->guest, (short)(POLLIN | (sending ? POLLOUT : 0)), p);
    *input = (struct pollfd){.fd = reading ? j->io->stdin_fd : -1, .events = POLLIN};
    *terminal = (struct pollfd){.fd = t ? t->fd : -1, .events = t ? terminal_events(t) : 0};
    if (t && !terminal->events) /* or its end would wake us for ever */
        terminal->fd = -1;
    if (deadline_poll(p, CHANNEL_POLLED + 2, t && t->wake < until ? t->wake : until, j->guest->cancel, e) < 0)
        return -1;
    if (channel_is_over(j->guest, p[0].revents, j->deadline))
        return error_set(e, ERROR_TIMEOUT, "the guest did not end the program in time");
    if (channel_check_vmm(j->guest, p, e) < 0)
        return -1;
    if (p[0].revents & (POLLIN | POLLHUP | POLLERR) && take_frames(j, ret_exit, e) < 0)
        return -1;
    if (input->revents && take_stdin(j, e) < 0)
        return -1;
    if (t && (terminal->revents || deadline_passed(t->wake)) &&
        t->on_ready(j->io->context, terminal->revents, e) < 0)
        return -1;
    queue_requests(j);
    queue_typed(j);
    queue_windows(j);
    return j->ended || j->out_start == j->out_end ? 0 : flush_out(j, e);
}

static int send_exec(struct guest *g, struct msg_exec m, uint32_t stream, int64_t deadline, struct error *e)
{
    cleanup_free uint8_t *out = memory_allocate(FRAME_MAX);

    m.window = OUTPUT_WINDOW;
    size_t size = channel_strings_fit(m.argv, m.env) ? msg_exec_frame(&m, stream, out, FRAME_MAX) : 0;
    if (size == 0 && channel_send_strings(g, stream, &m.argv, &m.env, deadline, e) < 0)
        return -1;
    if (size == 0)
        size = msg_exec_frame(&m, stream, out, FRAME_MAX);
    return channel_send(g, out, size, deadline, e);
}

static int send_feed(struct guest *g, struct msg_feed m, uint32_t stream, int64_t deadline, struct error *e)
{
    uint8_t out[8192];

    m.window = OUTPUT_WINDOW;
    return channel_send(g, out, msg_feed_frame(&m, stream, out, sizeof(out)), deadline, e);
}

int guest_run_job(struct guest *g, const struct msg_exec *exec, const struct msg_feed *feed,
                  const struct job_io *io, int64_t deadline, struct msg_exit *ret_exit, struct error *e)
{
    struct job *j = memory_allocate(sizeof(*j));

    j->guest = g;
    j->io = io;
    j->stream = channel_new_stream(g);
    j->deadline = deadline;
    j->granted[1] = j->granted[2] = OUTPUT_WINDOW;
    j->stdin_open = io->stdin_fd >= 0;

    int result =
        exec ? send_exec(g, *exec, j->stream, deadline, e) : send_feed(g, *feed, j->stream, deadline, e);
    while (result == 0 && !j->ended)
        result = step(j, ret_exit, e);
    free(j);
    return result;
}

int guest_start_job(struct guest *g, const struct msg_exec *exec, struct msg_started *ret, int64_t deadline,
                    struct error *e)
{
    uint32_t stream = channel_new_stream(g);
    struct frame f;

    if (send_exec(g, *exec, stream, deadline, e) < 0 ||
        channel_expect(g, stream, MSG_STARTED, &f, deadline, e) < 0)
        return -1;
    return msg_started_decode(ret, f.payload, f.length) ? 0 : channel_violation(e, &f, "invalid");
}

int guest_end_job(struct guest *g, uint32_t job, int64_t deadline, struct error *e)
{
    const struct msg_attach m = {.job = job, .window = OUTPUT_WINDOW};
    uint32_t stream = channel_new_stream(g);
    uint8_t out[256];
    struct frame f;

    if (channel_send(g, out, msg_attach_frame(&m, stream, out, sizeof(out)), deadline, e) < 0 ||
        channel_expect(g, stream, MSG_STARTED, &f, deadline, e) < 0 ||
        channel_send(g, out, msg_kill_frame(&(struct msg_kill){}, stream, out, sizeof(out)), deadline, e) < 0)
        return -1;
    do { /* what it printed, the OK, the ends of its channels */
        if (channel_receive(g, &f, deadline, e) < 0)
            return -1;
        if (f.type == MSG_ERROR)
            return channel_refused(e, &f);
    } while (f.type != MSG_EXIT || f.stream != stream);
    return 0;
}
