#include "handlers.h"

#include "fault.h"
#include "file.h"
#include "helper.h"
#include "job.h"
#include "kmsg.h"
#include "prime.h"
#include "snapshot.h"
#include "stats.h"
#include "sys.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#ifndef INITD_BUILD
#error "the Makefile defines INITD_BUILD"
#endif

static uint64_t began_ns, ready_ns;
static bool shutdown_asked;
static uint8_t shutdown_action;

void handlers_init(uint64_t init, uint64_t ready)
{
    began_ns = init;
    ready_ns = ready;
}

bool handlers_shutdown_asked(uint8_t *ret_action)
{
    *ret_action = shutdown_action;
    return shutdown_asked;
}

void handlers_drop_streams(const struct conn *c)
{
    job_drop_conn(c);
    file_drop_conn(c);
    helper_drop_conn(c);
}

static void answer_ok(struct conn *c, uint32_t stream)
{
    CONN_SEND(c, ok, stream, &((struct msg_ok){}));
}

static void answer_fault(struct conn *c, uint32_t stream, uint16_t request, struct fault f)
{
    conn_send_error(c, stream, request, f.code, f.os_errno, f.text);
}

/* OK, or ERROR when there was a fault. */
static void answer(struct conn *c, uint32_t stream, uint16_t request, struct fault f)
{
    if (f.code)
        answer_fault(c, stream, request, f);
    else
        answer_ok(c, stream);
}

static bool in_use(const struct conn *c, uint32_t stream)
{
    return job_find_stream(c, stream) || file_has_stream(c, stream) || helper_has_stream(c, stream);
}

/* ---- connection ------------------------------------------------------------------------------------------
 */

static void on_hello(struct conn *c, uint32_t stream, const struct msg_hello *m)
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
    CONN_SEND(c, welcome, stream,
              &((struct msg_welcome){
                  .magic = PROTO_MAGIC,
                  .version = PROTO_VERSION,
                  .state = snapshot_quiesced() ? PROTO_STATE_QUIESCED : PROTO_STATE_READY,
                  .jobs_max = JOBS_MAX,
                  .init_ns = began_ns,
                  .ready_ns = ready_ns,
                  .build = INITD_BUILD,
              }));
}

static void on_ping(struct conn *c, uint32_t stream, const struct msg_ping *m)
{
    CONN_SEND(c, pong, stream, &((struct msg_pong){.token = m->token}));
}

static void on_shutdown(struct conn *c, uint32_t stream, const struct msg_shutdown *m)
{
    if (m->action != PROTO_SHUTDOWN_POWEROFF && m->action != PROTO_SHUTDOWN_REBOOT) {
        conn_send_error(c, stream, MSG_SHUTDOWN, PROTO_ERR_INVALID, 0, "unknown action");
        return;
    }
    shutdown_asked = true;
    shutdown_action = m->action;
    answer_ok(c, stream);
}

/* ---- streams ----------------------------------------------------------------------------------------------
 */

static void break_flow(struct conn *c, uint32_t stream, uint16_t request)
{
    conn_break(c, stream, request, PROTO_ERR_FLOW, "outside of the window");
}

static void take_file_data(struct conn *c, uint32_t stream, const struct msg_data *m)
{
    bool done, window;
    uint64_t taken, limit;
    struct fault f = file_take(c, stream, m, &done, &window, &taken, &limit);

    if (f.code == PROTO_ERR_FLOW)
        break_flow(c, stream, MSG_DATA);
    else if (f.code)
        answer_fault(c, stream, MSG_WRITE_FILE, f);
    else if (done)
        answer_ok(c, stream);
    else if (window)
        CONN_SEND(c, window, stream, &((struct msg_window){.channel = 0, .consumed = taken, .limit = limit}));
}

/* A stream that is not in use has ended while the message was under way; so these three ignore it. */

static void on_data(struct conn *c, uint32_t stream, const struct msg_data *m)
{
    struct job *j = job_find_stream(c, stream);

    if (m->channel != 0 || m->data.size == 0)
        conn_break(c, stream, MSG_DATA, PROTO_ERR_MALFORMED,
                   "DATA is empty, or its channel goes out of the guest");
    else if (j && job_io_take(j, m->offset, m->data) != 0)
        break_flow(c, stream, MSG_DATA);
    else if (!j && file_has_stream(c, stream))
        take_file_data(c, stream, m);
}

static void on_end(struct conn *c, uint32_t stream, const struct msg_end *m)
{
    struct job *j = job_find_stream(c, stream);

    if (m->channel != 0)
        conn_break(c, stream, MSG_END, PROTO_ERR_MALFORMED, "the channel goes out of the guest");
    else if (j && job_io_take_end(j, m->offset) != 0)
        break_flow(c, stream, MSG_END);
    else if (!j && file_has_stream(c, stream))
        answer_fault(c, stream, MSG_WRITE_FILE, file_take_end(c, stream));
}

static void on_window(struct conn *c, uint32_t stream, const struct msg_window *m)
{
    struct job *j = job_find_stream(c, stream);
    int r = j ? job_io_take_window(j, m) : file_take_window(c, stream, m);

    if (r != 0)
        break_flow(c, stream, MSG_WINDOW);
}

/* ---- jobs -------------------------------------------------------------------------------------------------
 */

static const uint64_t from_the_start[2] = {0, 0};

static void on_exec(struct conn *c, uint32_t stream, const struct msg_exec *m)
{
    const struct job_request r = {
        .argv = m->argv,
        .env = m->env,
        .cwd = m->cwd,
        .uid = m->uid,
        .gid = m->gid,
        .groups = m->groups,
        .flags = m->flags,
        .rows = m->rows,
        .cols = m->cols,
        .wall_ms = m->wall_ms,
        .cpu_ms = m->cpu_ms,
        .pids = m->pids,
        .files = m->files,
        .memory = m->memory,
        .output = m->output,
    };
    struct job *j = job_take_slot();
    struct fault f = j ? job_start(j, &r) : fault_of(PROTO_ERR_LIMIT, "too many jobs");

    if (f.code)
        answer_fault(c, stream, MSG_EXEC, f);
    else
        job_bind(j, c, stream, MSG_EXEC, from_the_start, m->window);
}

static void on_attach(struct conn *c, uint32_t stream, const struct msg_attach *m)
{
    struct job *j = job_find(m->job);
    const uint64_t offsets[2] = {m->stdout_offset, m->stderr_offset};

    if (!j || j->failure.code) {
        conn_send_error(c, stream, MSG_ATTACH, PROTO_ERR_NOT_FOUND, 0, "no such job");
        return;
    }
    for (int i = 0; i < 2; i++) {
        if (offsets[i] < j->out[i].ring.start) {
            conn_send_error(c, stream, MSG_ATTACH, PROTO_ERR_GONE, 0, "that output was consumed");
            return;
        }
        if (offsets[i] > j->out[i].ring.end) {
            conn_send_error(c, stream, MSG_ATTACH, PROTO_ERR_INVALID, 0, "there is not so much output yet");
            return;
        }
    }
    /* What is below is not wanted again. If it stayed, a full ring could wait for a WINDOW that nothing
     * causes. */
    ring_consume(&j->out[0].ring, offsets[0]);
    ring_consume(&j->out[1].ring, offsets[1]);
    job_io_resume(j);
    job_bind(j, c, stream, MSG_ATTACH, offsets, m->window);
}

static void on_release(struct conn *c, uint32_t stream, const struct msg_release *m)
{
    struct job *j = job_find(m->job);
    struct fault f = FAULT_NONE;

    if (!j)
        f = fault_of(PROTO_ERR_NOT_FOUND, "no such job");
    else if (j->state != JOB_FINISHED)
        f = fault_of(PROTO_ERR_BUSY, "the job still runs");
    else if (j->conn)
        conn_note_gone(j->conn, j->stream);
    if (!f.code)
        job_free(j);
    answer(c, stream, MSG_RELEASE, f);
}

static void on_jobs(struct conn *c, uint32_t stream, const struct msg_jobs *m)
{
    uint8_t ids[4 * JOBS_MAX], states[4 * JOBS_MAX];
    struct wire_writer id_writer = wire_writer_of(ids, sizeof(ids));
    struct wire_writer state_writer = wire_writer_of(states, sizeof(states));
    uint32_t count = 0;

    (void)m;
    /* Oldest first: ids grow. */
    for (uint32_t last = 0;; count++) {
        const struct job *next = NULL;
        for (unsigned i = 0; i < JOBS_MAX; i++) {
            const struct job *j = job_at(i);
            if (j->state != JOB_FREE && !j->failure.code && j->id > last && (!next || j->id < next->id))
                next = j;
        }
        if (!next)
            break;
        last = next->id;
        wire_put_u32(&id_writer, next->id);
        wire_put_u32(&state_writer, job_wire_state(next));
    }
    CONN_SEND(c, job_list, stream,
              &((struct msg_job_list){.ids = {.data = ids, .count = count},
                                      .states = {.data = states, .count = count}}));
}

/* The job whose stream this is; answers ERROR when there is none. */
static struct job *job_of_stream(struct conn *c, uint32_t stream, uint16_t request)
{
    struct job *j = job_find_stream(c, stream);

    if (!j)
        conn_send_error(c, stream, request, PROTO_ERR_NOT_FOUND, 0, "no job has this stream");
    return j;
}

static void on_resize(struct conn *c, uint32_t stream, const struct msg_resize *m)
{
    struct job *j = job_of_stream(c, stream, MSG_RESIZE);
    struct winsize size = {.ws_row = m->rows, .ws_col = m->cols};

    if (!j)
        return;
    if (!j->tty)
        conn_send_error(c, stream, MSG_RESIZE, PROTO_ERR_INVALID, 0, "the job has no terminal");
    else if (j->out[0].fd >= 0 && ioctl(j->out[0].fd, TIOCSWINSZ, &size) < 0)
        conn_send_error(c, stream, MSG_RESIZE, PROTO_ERR_OS, errno, "terminal");
    else
        answer_ok(c, stream);
}

static void on_signal(struct conn *c, uint32_t stream, const struct msg_signal *m)
{
    struct job *j = job_of_stream(c, stream, MSG_SIGNAL);
    struct fault f = FAULT_NONE;

    if (!j)
        return;
    if (m->signal < 1 || m->signal > 64 || (m->scope != PROTO_SCOPE_PROCESS && m->scope != PROTO_SCOPE_JOB)) {
        f = fault_of(PROTO_ERR_INVALID, "no such signal or scope");
    } else {
        int r = job_signal(j, m->signal, m->scope == PROTO_SCOPE_JOB);
        if (r < 0)
            f = fault_os(r, "kill");
    }
    answer(c, stream, MSG_SIGNAL, f);
}

static void on_kill(struct conn *c, uint32_t stream, const struct msg_kill *m)
{
    struct job *j = job_of_stream(c, stream, MSG_KILL);

    (void)m;
    if (!j)
        return;
    job_kill(j, PROTO_CAUSE_CANCELLED);
    answer_ok(c, stream);
}

/* ---- priming ---------------------------------------------------------------------------------------------
 */

static struct fault start_primed(struct job *j, const struct msg_prime *m)
{
    const struct job_request r = {
        .argv = m->argv,
        .env = m->env,
        .cwd = m->cwd,
        .uid = m->uid,
        .gid = m->gid,
        .groups = m->groups,
        .flags = PROTO_JOB_STDIN,
    };

    if (m->script[0] != '/')
        return fault_of(PROTO_ERR_INVALID, "script is not absolute");
    j->is_prime = true;
    int error = prime_open(j, m->script, m->uid, m->gid);
    if (error < 0) {
        job_free(j);
        return error == -ENAMETOOLONG ? fault_of(PROTO_ERR_LIMIT, "script") : fault_os(error, "script");
    }
    struct fault f = job_start(j, &r);
    j->in.open = false; /* until FEED says whether it is to be */
    prime_set_deadline(j, m->settle_ms, sys_now());
    return f;
}

static void on_prime(struct conn *c, uint32_t stream, const struct msg_prime *m)
{
    struct job *j = job_take_slot();
    struct fault f = j ? start_primed(j, m) : fault_of(PROTO_ERR_LIMIT, "too many jobs");

    if (f.code)
        answer_fault(c, stream, MSG_PRIME, f);
    else
        job_bind(j, c, stream, MSG_PRIME, from_the_start, 0);
}

static int limit_process(pid_t pid, int which, uint64_t value)
{
    struct rlimit limit = {.rlim_cur = value, .rlim_max = value};

    return value && prlimit(pid, which, &limit, NULL) < 0 ? -errno : 0;
}

/* The limits of a job that runs already; see fill_limits() in job.c. */
static struct fault limit_running(const struct job *j, const struct msg_feed *m)
{
    int r = cgroup_limit(&j->cgroup, m->memory, m->pids);

    if (r == 0)
        r = limit_process(j->pid, RLIMIT_NOFILE, m->files);
    if (r == 0 && !cgroup_has(CGROUP_MEMORY))
        r = limit_process(j->pid, RLIMIT_AS, m->memory);
    if (r == 0 && !cgroup_has(CGROUP_PIDS))
        r = limit_process(j->pid, RLIMIT_NPROC, m->pids);
    if (r == 0 && !cgroup_enabled())
        r = limit_process(j->pid, RLIMIT_CPU, (m->cpu_ms + 999ull) / 1000);
    return r < 0 ? fault_os(r, "limits") : FAULT_NONE;
}

static struct fault feed(struct job *j, const struct msg_feed *m)
{
    if (m->flags & ~PROTO_JOB_STDIN)
        return fault_of(PROTO_ERR_UNSUPPORTED, "unknown job flag, or a terminal");
    if (!j)
        return fault_of(PROTO_ERR_NOT_FOUND, "no such job");
    if (j->state != JOB_PRIMED)
        return fault_of(PROTO_ERR_STATE, "the job is not primed");
    if (m->source[0] != '/')
        return fault_of(PROTO_ERR_INVALID, "source is not absolute");
    struct fault f = limit_running(j, m);
    if (f.code)
        return f;
    j->state = JOB_RUNNING;
    job_start_limits(j, m->wall_ms, m->cpu_ms, m->output);
    int r = prime_feed(j, m->source);
    if (r < 0) {
        j->state = JOB_PRIMED;
        return fault_os(r, "source");
    }
    if (m->flags & PROTO_JOB_STDIN)
        j->in.open = true;
    else
        job_io_end_input(j);
    return FAULT_NONE;
}

static void on_feed(struct conn *c, uint32_t stream, const struct msg_feed *m)
{
    struct job *j = job_find(m->job);
    struct fault f = feed(j, m);
    const uint64_t held[2] = {j ? j->out[0].ring.start : 0, j ? j->out[1].ring.start : 0};

    if (f.code)
        answer_fault(c, stream, MSG_FEED, f);
    else
        job_bind(j, c, stream, MSG_FEED, held, m->window);
}

/* ---- files ------------------------------------------------------------------------------------------------
 */

static void on_write_file(struct conn *c, uint32_t stream, const struct msg_write_file *m)
{
    bool done = true;
    uint64_t limit = 0;
    struct fault f = file_write(m, c, stream, &done, &limit);

    if (f.code || done)
        answer(c, stream, MSG_WRITE_FILE, f);
    else
        CONN_SEND(c, window, stream,
                  &((struct msg_window){.channel = 0, .consumed = m->data.size, .limit = limit}));
}

static void on_read_file(struct conn *c, uint32_t stream, const struct msg_read_file *m)
{
    struct msg_file_info info;
    struct fault f = file_read(m, c, stream, &info);

    if (f.code)
        answer_fault(c, stream, MSG_READ_FILE, f);
    else
        CONN_SEND(c, file_info, stream, &info);
}

static void on_stat(struct conn *c, uint32_t stream, const struct msg_stat *m)
{
    struct msg_file_info info;
    struct fault f = m->flags & ~PROTO_PATH_NOFOLLOW
                         ? fault_of(PROTO_ERR_UNSUPPORTED, "unknown flag")
                         : file_stat(m->path, !(m->flags & PROTO_PATH_NOFOLLOW), &info);

    if (f.code)
        answer_fault(c, stream, MSG_STAT, f);
    else
        CONN_SEND(c, file_info, stream, &info);
}

static void on_list(struct conn *c, uint32_t stream, const struct msg_list *m)
{
    uint8_t entries[CONN_ANSWER_MAX - 64]; /* the rest is for header and fields */
    struct msg_listing listing = {.entries.data = entries};
    size_t size = 0;
    struct fault f = file_list(m, entries, sizeof(entries), &size, &listing.cursor);

    listing.entries.size = (uint32_t)size;
    if (f.code)
        answer_fault(c, stream, MSG_LIST, f);
    else
        CONN_SEND(c, listing, stream, &listing);
}

static int remove_tree(const void *path)
{
    return file_remove_tree(path);
}

static void on_remove(struct conn *c, uint32_t stream, const struct msg_remove *m)
{
    if (m->flags & ~PROTO_REMOVE_TREE) {
        conn_send_error(c, stream, MSG_REMOVE, PROTO_ERR_UNSUPPORTED, 0, "unknown flag");
    } else if (m->path[0] != '/') {
        conn_send_error(c, stream, MSG_REMOVE, PROTO_ERR_INVALID, 0, "path is not absolute");
    } else if (m->flags & PROTO_REMOVE_TREE) {
        helper_start(c, stream, MSG_REMOVE, remove_tree, m->path, NULL);
    } else {
        int r = file_remove(m->path);
        answer(c, stream, MSG_REMOVE, r < 0 ? fault_os(r, "remove") : FAULT_NONE);
    }
}

static int do_mount(const void *argument)
{
    const struct msg_mount *m = argument;
    int r = sys_make_parents(m->target, 0, 0);

    if (r == 0 && mkdir(m->target, 0755) < 0 && errno != EEXIST)
        r = -errno;
    if (r < 0)
        return r;
    return mount(m->source, m->target, m->fstype, m->flags, m->options) < 0 ? -errno : 0;
}

static void on_mount(struct conn *c, uint32_t stream, const struct msg_mount *m)
{
    if (m->target[0] != '/')
        conn_send_error(c, stream, MSG_MOUNT, PROTO_ERR_INVALID, 0, "target is not absolute");
    else
        helper_start(c, stream, MSG_MOUNT, do_mount, m, NULL);
}

static int do_unmount(const void *argument)
{
    const struct msg_unmount *m = argument;

    return umount2(m->target, (int)m->flags) < 0 ? -errno : 0;
}

static void on_unmount(struct conn *c, uint32_t stream, const struct msg_unmount *m)
{
    if (m->target[0] != '/')
        conn_send_error(c, stream, MSG_UNMOUNT, PROTO_ERR_INVALID, 0, "target is not absolute");
    else
        helper_start(c, stream, MSG_UNMOUNT, do_unmount, m, NULL);
}

/* ---- snapshots, statistics --------------------------------------------------------------------------------
 */

static int do_sync(const void *argument)
{
    (void)argument;
    sync();
    return 0;
}

static void on_quiesce(struct conn *c, uint32_t stream, const struct msg_quiesce *m)
{
    (void)m;
    if (file_any_write() || job_any_settling()) {
        conn_send_error(c, stream, MSG_QUIESCE, PROTO_ERR_BUSY, 0,
                        "a file is being written, or a job is being started");
        return;
    }
    snapshot_quiesce();
    helper_start(c, stream, MSG_QUIESCE, do_sync, NULL, NULL);
}

static void on_resume(struct conn *c, uint32_t stream, const struct msg_resume *m)
{
    struct msg_resumed done;

    if (m->entropy.size < PROTO_ENTROPY_MIN || m->entropy.size > PROTO_ENTROPY_MAX) {
        conn_send_error(c, stream, MSG_RESUME, PROTO_ERR_INVALID, 0, "entropy must have 32 to 512 bytes");
        return;
    }
    snapshot_resume(m, &done);
    CONN_SEND(c, resumed, stream, &done);
}

static void on_stats(struct conn *c, uint32_t stream, const struct msg_stats *m)
{
    struct msg_usage usage;

    (void)m;
    stats_fill(&usage);
    CONN_SEND(c, usage, stream, &usage);
}

/* ---- dispatch ---------------------------------------------------------------------------------------------
 */

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

static bool taken_when_quiesced(uint16_t type)
{
    return type == MSG_HELLO || type == MSG_PING || type == MSG_RESUME || type == MSG_SHUTDOWN;
}

/* One function for each message that the host may send: decodes it and calls its handler. */
#define HANDLE_GUEST(NAME, name)
#define HANDLE_HOST(NAME, name)                                                                              \
    case MSG_##NAME: {                                                                                       \
        struct msg_##name m;                                                                                 \
        if (!msg_##name##_decode(&m, f->payload, f->length))                                                 \
            return false;                                                                                    \
        on_##name(c, f->stream, &m);                                                                         \
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

static void dispatch(struct conn *c, const struct frame *f)
{
    enum stream_use use = stream_use_of(f->type);

    if (!c->greeted && f->type != MSG_HELLO)
        conn_send_error(c, f->stream, f->type, PROTO_ERR_STATE, 0, "no HELLO yet");
    else if (snapshot_quiesced() && !taken_when_quiesced(f->type))
        conn_send_error(c, f->stream, f->type, PROTO_ERR_STATE, 0, "quiesced: RESUME comes first");
    else if (use != ANY_STREAM && f->stream == 0)
        conn_send_error(c, f->stream, f->type, PROTO_ERR_INVALID, 0, "stream 0 is for HELLO and PING");
    else if (use != ON_STREAM && f->type != MSG_HELLO && f->stream != 0 && in_use(c, f->stream))
        conn_send_error(c, f->stream, f->type, PROTO_ERR_BUSY, 0, "the stream is in use");
    else if (!call_handler(c, f))
        conn_break(c, f->stream, f->type, PROTO_ERR_MALFORMED, "malformed message");
}

void handlers_run(struct conn *c)
{
    int r = 0;

    c->again = false;
    while (conn_can_answer(c) && !c->waiting) {
        struct frame f;
        r = frame_reader_next(&c->rx, &f);
        if (r <= 0)
            break;
        c->half_since = 0;
        dispatch(c, &f);
    }
    if (r < 0)
        conn_break(c, 0, 0, PROTO_ERR_MALFORMED, "not a frame");
}

bool handlers_emit(struct conn *c)
{
    bool put = job_io_emit(c);

    return file_emit(c) || put;
}
