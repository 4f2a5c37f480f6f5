#include "handlers.h"

#include "handle.h"
#include "file.h"
#include "helper.h"
#include "job.h"
#include "job_stream.h"
#include "snapshot.h"
#include "spare.h"
#include "stats.h"
#include "strings.h"

#include <unistd.h>

#ifndef INITD_BUILD
#error "the Makefile defines INITD_BUILD"
#endif

static uint64_t began_ns, ready_ns;
static bool shutdown_asked;
static uint8_t shutdown_action, shutdown_status;

static bool is_set_up;
static struct fault set_up_fault;

/* QUIESCE is under way: as if it had succeeded, until that is known. */
static bool quiescing;

static bool is_quiesced(void)
{
    return quiescing || snapshot_quiesced();
}

void handlers_init(uint64_t init, uint64_t ready)
{
    began_ns = init;
    ready_ns = ready;
}

void handlers_set_up(const char *step, int r)
{
    is_set_up = true;
    if (step)
        set_up_fault = (struct fault){.code = PROTO_ERR_SETUP, .os_errno = -r, .text = step};
    for (unsigned i = 0; i < CONNS_MAX; i++)
        conn_at(i)->waiting = false;
}

void handle_set_up_failed(struct fault f)
{
    set_up_fault = f;
    handlers_give_up();
}

void handlers_await_root(void)
{
    handle_await_root();
}

void handlers_give_up(void)
{
    shutdown_asked = true;
    shutdown_action = PROTO_SHUTDOWN_REBOOT;
}

bool handlers_shutdown_asked(uint8_t *ret_action)
{
    *ret_action = shutdown_action;
    return shutdown_asked;
}

uint8_t handlers_shutdown_status(void)
{
    return shutdown_status;
}

void handlers_drop_streams(const struct conn *c)
{
    job_drop_conn(c);
    file_drop_conn(c);
    helper_drop_conn(c);
    strings_drop_conn(c);
}

void handle_answer_ok(struct conn *c, uint32_t stream)
{
    CONN_SEND(c, ok, stream, &((struct msg_ok){}));
}

void handle_answer_fault(struct conn *c, uint32_t stream, uint16_t request, struct fault f)
{
    conn_send_error(c, stream, request, f.code, f.os_errno, f.text);
}

void handle_answer(struct conn *c, uint32_t stream, uint16_t request, struct fault f)
{
    if (f.code)
        handle_answer_fault(c, stream, request, f);
    else
        handle_answer_ok(c, stream);
}

static bool takes_strings(uint16_t type)
{
    return type == MSG_STRINGS || type == MSG_EXEC || type == MSG_PRIME;
}

/* Is the stream in use by something that a message of this type does not go on with? */
static bool in_use(const struct conn *c, uint32_t stream, uint16_t type)
{
    return job_find_stream(c, stream) || file_has_stream(c, stream) || helper_has_stream(c, stream) ||
           (!takes_strings(type) && strings_has_stream(c, stream));
}

/* ---- connection ------------------------------------------------------------------------------ */

void handle_hello(struct conn *c, uint32_t stream, const struct msg_hello *m)
{
    if (m->magic != PROTO_MAGIC) {
        conn_break(c, stream, MSG_HELLO, PROTO_ERR_MALFORMED, "not a HELLO of this protocol");
        return;
    }
    if (m->version_min > PROTO_VERSION || m->version_max < PROTO_VERSION) {
        conn_break(c, stream, MSG_HELLO, PROTO_ERR_UNSUPPORTED, "no version in common");
        return;
    }
    if (c->greeted && c->kind != CONN_SERIAL) {
        conn_send_error(c, stream, MSG_HELLO, PROTO_ERR_STATE, 0, "HELLO was there already");
        return;
    }
    /* On the serial port this can be a new host, or the same one after a restore. */
    handlers_drop_streams(c);
    conn_greet(c);
    c->waiting = !is_set_up;
    CONN_SEND(c, welcome, stream,
              &((struct msg_welcome){
                  .magic = PROTO_MAGIC,
                  .version = PROTO_VERSION,
                  .features = PROTO_FEATURES,
                  .state = is_quiesced() ? PROTO_STATE_QUIESCED : PROTO_STATE_READY,
                  .jobs_max = JOBS_MAX,
                  .init_ns = began_ns,
                  .ready_ns = ready_ns,
                  .build = INITD_BUILD,
              }));
}

void handle_ping(struct conn *c, uint32_t stream, const struct msg_ping *m)
{
    CONN_SEND(c, pong, stream, &((struct msg_pong){.token = m->token}));
}

void handle_shutdown(struct conn *c, uint32_t stream, const struct msg_shutdown *m)
{
    if (m->action != PROTO_SHUTDOWN_POWEROFF && m->action != PROTO_SHUTDOWN_REBOOT) {
        conn_send_error(c, stream, MSG_SHUTDOWN, PROTO_ERR_INVALID, 0, "unknown action");
        return;
    }
    shutdown_asked = true;
    shutdown_action = m->action;
    shutdown_status = m->status;
    handle_answer_ok(c, stream);
}

/* ---- snapshots, statistics ------------------------------------------------------------------- */

/* Since the fork of the spare process the first write to a page copies it. HELLO and RESUME do not pay for that. */
static void own_buffers(void)
{
    for (unsigned i = 0; i < CONNS_MAX; i++) {
        const struct conn *c = conn_at(i);
        if (c->greeted)
            *(volatile uint8_t *)c->rx.buffer = *c->rx.buffer;
    }
}

static void after_sync(int result)
{
    if (quiescing && result == 0) {
        own_buffers();
        snapshot_quiesce();
    }
    quiescing = false;
}

static int do_sync(const void *argument)
{
    (void)argument;
    sync();
    return 0;
}

void handle_quiesce(struct conn *c, uint32_t stream, const struct msg_quiesce *m)
{
    (void)m;
    if (file_any_write() || job_any_settling() || strings_any()) {
        conn_send_error(c, stream, MSG_QUIESCE, PROTO_ERR_BUSY, 0,
                        "a file is being written, or a job is being started");
        return;
    }
    spare_prepare(); /* for the first job after each restore */
    quiescing = true;
    helper_start(c, stream, MSG_QUIESCE, do_sync, NULL, after_sync);
}

void handle_resume(struct conn *c, uint32_t stream, const struct msg_resume *m)
{
    struct msg_resumed done;

    if (m->entropy.size < PROTO_ENTROPY_MIN || m->entropy.size > PROTO_ENTROPY_MAX) {
        conn_send_error(c, stream, MSG_RESUME, PROTO_ERR_INVALID, 0, "entropy must have 32 to 512 bytes");
        return;
    }
    quiescing = false;
    snapshot_resume(m, &done);
    CONN_SEND(c, resumed, stream, &done);
}

void handle_stats(struct conn *c, uint32_t stream, const struct msg_stats *m)
{
    struct msg_usage usage;

    (void)m;
    stats_fill(&usage);
    CONN_SEND(c, usage, stream, &usage);
}

/* ---- dispatch -------------------------------------------------------------------------------- */

/* How a message uses its stream id. */
enum stream_use { OPENS, ON_STREAM, ANY_STREAM };

static enum stream_use stream_use_of(uint16_t type)
{
    switch (type) {
    case MSG_HELLO:
    case MSG_PING:
        return ANY_STREAM;
    case MSG_DATA:
    case MSG_END:
    case MSG_WINDOW:
    case MSG_RESIZE:
    case MSG_SIGNAL:
    case MSG_KILL:
        return ON_STREAM;
    default:
        return OPENS;
    }
}

static bool taken_when_sealed(uint16_t type)
{
    return type == MSG_HELLO || type == MSG_PING || type == MSG_SHUTDOWN;
}

static bool taken_when_quiesced(uint16_t type)
{
    return taken_when_sealed(type) || type == MSG_RESUME;
}

static bool taken_without_root(uint16_t type)
{
    return taken_when_quiesced(type) || type == MSG_QUIESCE || type == MSG_ROOT;
}

/* One function for each message that the host may send: decodes it and calls its handler. */
#define HANDLE_GUEST(NAME, name)
#define HANDLE_HOST(NAME, name)                                                                              \
    case MSG_##NAME: {                                                                                       \
        struct msg_##name m;                                                                                 \
        if (!msg_##name##_decode(&m, f->payload, f->length))                                                 \
            return false;                                                                                    \
        handle_##name(c, f->stream, &m);                                                                     \
        return true;                                                                                         \
    }
#define HANDLE_BOTH(NAME, name) HANDLE_HOST(NAME, name)

/* False when the payload is malformed. */
static bool call_handler(struct conn *c, const struct frame *f)
{
    switch (f->type) {
#define M(NAME, name, number, sender, doc) HANDLE_##sender(NAME, name)
        PROTO_MESSAGES(M)
#undef M
    default:
        conn_send_error(c, f->stream, f->type, PROTO_ERR_UNSUPPORTED, 0, "unknown message type");
        return true;
    }
}

/* As after SHUTDOWN: the guest ends when this is sent. */
static void refuse_all(struct conn *c, const struct frame *f)
{
    handle_answer_fault(c, f->stream, f->type, set_up_fault);
    handlers_give_up();
}

static void take_frame(struct conn *c, const struct frame *f)
{
    enum stream_use use = stream_use_of(f->type);

    snapshot_tidy();
    if (!c->greeted && f->type != MSG_HELLO)
        conn_send_error(c, f->stream, f->type, PROTO_ERR_STATE, 0, "no HELLO yet");
    else if (set_up_fault.code && f->type != MSG_HELLO)
        refuse_all(c, f);
    else if (handle_root_sealed() && !taken_when_sealed(f->type))
        conn_send_error(c, f->stream, f->type, PROTO_ERR_STATE, 0, "sealed: only SHUTDOWN may follow");
    else if (is_quiesced() && !taken_when_quiesced(f->type))
        conn_send_error(c, f->stream, f->type, PROTO_ERR_STATE, 0, "quiesced: RESUME comes first");
    else if (handle_root_awaited() && !taken_without_root(f->type))
        conn_send_error(c, f->stream, f->type, PROTO_ERR_STATE, 0, "there is no root: ROOT comes first");
    else if (use != ANY_STREAM && f->stream == 0)
        conn_send_error(c, f->stream, f->type, PROTO_ERR_INVALID, 0, "stream 0 is for HELLO and PING");
    else if (use != ON_STREAM && f->type != MSG_HELLO && f->stream != 0 && in_use(c, f->stream, f->type))
        conn_send_error(c, f->stream, f->type, PROTO_ERR_BUSY, 0, "the stream is in use");
    else if (!call_handler(c, f))
        conn_break(c, f->stream, f->type, PROTO_ERR_MALFORMED, "malformed message");
}

void handlers_run(struct conn *c)
{
    int r = 0;

    /* Whoever asks a guest that could not be set up is told why, also when another request has ended it. */
    while ((!shutdown_asked || set_up_fault.code) && conn_can_answer(c) && !c->waiting) {
        struct frame f;
        r = frame_reader_next(&c->rx, &f);
        if (r <= 0)
            break;
        c->half_since = 0;
        take_frame(c, &f);
    }
    /* Stopped for lack of room: there may be more, and no event will say so when there is room again. */
    c->again = !conn_can_answer(c) && !c->broken && !c->dead;
    if (r < 0)
        conn_break(c, 0, 0, PROTO_ERR_MALFORMED, "not a frame");
}

bool handlers_emit(struct conn *c)
{
    bool put = job_emit(c);

    return file_emit(c) || put;
}
