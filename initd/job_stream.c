#include "job_stream.h"

#include "job_output.h"

#define PAGE 4096

/* Least room for which a small message (STARTED, END, EXIT, WINDOW) is begun. */
#define SMALL_MESSAGE 256

struct job *job_find_stream(const struct conn *c, uint32_t stream)
{
    for (unsigned i = 0; i < JOBS_MAX; i++)
        if (job_is_active(i) && job_at(i)->conn == c && job_at(i)->stream == stream)
            return job_at(i);
    return NULL;
}

struct job *job_find_told(const struct conn *c, uint32_t stream)
{
    for (unsigned i = 0; i < JOBS_MAX; i++) {
        struct job *j = job_at(i);
        if (j->state == JOB_FINISHED && j->told == c && j->told_stream == stream)
            return j;
    }
    return NULL;
}

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
    return a + b < a ? UINT64_MAX : a + b;
}

void job_bind(struct job *j, struct conn *c, uint32_t stream, uint16_t request, const uint64_t offsets[2],
              uint64_t window)
{
    if (j->conn == c)
        conn_send_gone(c, j->stream); /* there is room for an answer */
    else if (j->conn)
        conn_note_gone(j->conn, j->stream);
    job_set_active(j, true);
    j->conn = c;
    j->stream = stream;
    j->request = request;
    j->started_due = true;
    j->unproven = offsets[0];
    for (int i = 0; i < 2; i++) {
        j->io.out[i].sent = offsets[i];
        j->io.out[i].limit = add_saturating(offsets[i], window);
        j->io.out[i].end_sent = false;
    }
}

/* The job has no stream any more. */
static void unbind(struct job *j)
{
    j->conn = NULL;
    j->stream = 0;
    j->started_due = false;
    if (j->failure.code)
        job_free(j); /* nobody is left to hear of it */
}

void job_drop_conn(const struct conn *c)
{
    for (unsigned i = 0; i < JOBS_MAX; i++) {
        struct job *j = job_at(i);
        if (j->told == c) {
            /* What was not sent yet is lost, and its EXIT may be among it. */
            j->delivered = j->delivered && c->tx_start == c->tx_end;
            j->told = NULL;
        }
        if (j->state != JOB_FREE && j->conn == c)
            unbind(j);
    }
}

/* ---- from the host --------------------------------------------------------------------------- */

/* The output channel whose number that is; NULL: it is no such number, or more is consumed than was sent. */
static struct channel_out *output_of(struct job *j, const struct msg_window *m)
{
    struct channel_out *o = m->channel == 1 || m->channel == 2 ? &j->io.out[m->channel - 1] : NULL;

    return o && m->consumed <= o->sent ? o : NULL;
}

bool job_take_window(struct job *j, const struct msg_window *m)
{
    struct channel_out *o = output_of(j, m);

    if (!o)
        return false;
    ring_consume(&o->ring, m->consumed);
    if (m->limit > o->limit)
        o->limit = m->limit;
    job_read_on(j);
    return true;
}

void job_take_late_window(struct job *j, const struct msg_window *m)
{
    struct channel_out *o = output_of(j, m);

    if (o)
        ring_consume(&o->ring, m->consumed);
}

/* ---- to the host ----------------------------------------------------------------------------- */

static bool emit_started(struct conn *c, struct job *j)
{
    j->io.in.granted = channels_input_limit(&j->io);
    j->started_due = false;
    return CONN_SEND(c, started, j->stream,
                     &((struct msg_started){.job = j->id,
                                            .pid = (uint32_t)j->pid,
                                            .stdin_offset = j->io.in.ring.end,
                                            .stdin_limit = j->io.in.granted}));
}

/* Grants more input when half of what can be granted is new. */
static bool emit_window(struct conn *c, struct job *j)
{
    uint64_t limit = channels_input_limit(&j->io);

    if (!j->io.in.open || j->io.in.ending || j->state == JOB_FINISHED ||
        limit - j->io.in.granted < JOB_RING / 2)
        return false;
    j->io.in.granted = limit;
    return CONN_SEND(c, window, j->stream,
                     &((struct msg_window){.channel = 0, .consumed = j->io.in.ring.start, .limit = limit}));
}

static bool emit_data(struct conn *c, struct job *j, unsigned n, uint64_t end)
{
    struct channel_out *o = &j->io.out[n];
    struct msg_data m = {.channel = (uint8_t)(n + 1), .offset = o->sent};
    size_t held;

    m.data.data = ring_view(&o->ring, o->sent, &held);
    size_t size = (size_t)(end - o->sent);
    size = size < held ? size : held;
    size = size < JOB_DATA_CHUNK ? size : JOB_DATA_CHUNK;
    bool in_place = n == 0 && size >= PAGE && channels_are_large(&j->io) && conn_idle(c);
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
    struct channel_out *o = &j->io.out[n];
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
            job_at(i)->unproven = job_at(i)->io.out[0].sent;
    unbind(j);
    return CONN_SEND(c, exit, stream, &j->exit);
}

/* One turn of a job. True when something was put. */
static bool emit_job(struct conn *c, struct job *j)
{
    bool put = false;

    if (j->failure.code) {
        conn_send_error(c, j->stream, j->request, j->failure.code, j->failure.os_errno, j->failure.text);
        unbind(j);
        return true;
    }
    if (j->state == JOB_STARTING || (j->state == JOB_SETTLING && j->request == MSG_PRIME))
        return false;
    if (j->started_due) {
        emit_started(c, j);
        if (j->request == MSG_PRIME) /* its only answer; the output is for FEED */
            unbind(j);
        return true;
    }
    put = emit_window(c, j);
    for (unsigned i = 0; i < 2 && conn_stream_room(c) > 2 * SMALL_MESSAGE; i++)
        put = emit_output(c, j, i) || put;
    if (j->state == JOB_FINISHED && j->io.out[0].end_sent && j->io.out[1].end_sent &&
        conn_stream_room(c) > SMALL_MESSAGE)
        return emit_exit(c, j);
    return put;
}

bool job_emit(struct conn *c)
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
                c->turn = slot; /* goes on here next time */
                return any;
            }
            put = emit_job(c, j) || put;
        }
        any = any || put;
    }
    return any;
}
