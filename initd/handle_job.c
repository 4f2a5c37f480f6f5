#include "handle.h"

#include "job.h"
#include "job_output.h"
#include "job_start.h"
#include "job_stream.h"
#include "strings.h"
#include "text.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <termios.h>

static const uint64_t from_the_start[2] = {0, 0};

/* argv and env may have come before; the stream becomes that of the job. */
static void start_job(struct conn *c, uint32_t stream, uint16_t request, struct job_request *r,
                      uint64_t window)
{
    struct job *j;
    struct fault f = strings_of(c, stream, &r->argv, &r->env);

    if (!f.code)
        f = job_start(r, &j);
    strings_drop(c, stream);
    if (f.code)
        handle_answer_fault(c, stream, request, f);
    else
        job_bind(j, c, stream, request, from_the_start, window);
}

void handle_exec(struct conn *c, uint32_t stream, const struct msg_exec *m)
{
    struct job_request r = {
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

    start_job(c, stream, MSG_EXEC, &r, m->window);
}

/* One that EXEC or PRIME have not failed to start. */
static struct job *job_named(struct conn *c, uint32_t stream, uint16_t request, uint32_t id)
{
    struct job *j = job_find(id);

    if (j && !j->failure.code)
        return j;
    conn_send_error(c, stream, request, PROTO_ERR_NOT_FOUND, 0, "no such job");
    return NULL;
}

static void refuse_consumed(struct conn *c, uint32_t stream, const struct job *j)
{
    char line[120];
    struct text t = text_of(line, sizeof(line));

    text_add(&t, "that output was consumed; channel 1 begins at ");
    text_add_u64(&t, j->io.out[0].ring.start);
    text_add(&t, ", channel 2 at ");
    text_add_u64(&t, j->io.out[1].ring.start);
    conn_send_error(c, stream, MSG_ATTACH, PROTO_ERR_GONE, 0, line);
}

void handle_attach(struct conn *c, uint32_t stream, const struct msg_attach *m)
{
    const uint64_t offsets[2] = {m->stdout_offset, m->stderr_offset};
    struct job *j = job_named(c, stream, MSG_ATTACH, m->job);

    if (!j)
        return;
    for (int i = 0; i < 2; i++) {
        if (offsets[i] < j->io.out[i].ring.start) {
            refuse_consumed(c, stream, j);
            return;
        }
        if (offsets[i] > j->io.out[i].ring.end) {
            conn_send_error(c, stream, MSG_ATTACH, PROTO_ERR_INVALID, 0, "there is not so much output yet");
            return;
        }
    }
    /* What is below is not wanted again. If it stayed, a full ring could wait for a WINDOW that nothing
     * causes. */
    ring_consume(&j->io.out[0].ring, offsets[0]);
    ring_consume(&j->io.out[1].ring, offsets[1]);
    job_read_on(j);
    job_bind(j, c, stream, MSG_ATTACH, offsets, m->window);
}

void handle_release(struct conn *c, uint32_t stream, const struct msg_release *m)
{
    struct job *j = job_find(m->job);
    struct fault f = FAULT_NONE;

    if (!j)
        f = fault_of(PROTO_ERR_NOT_FOUND, "no such job");
    else if (!job_has_ended(j))
        f = fault_of(PROTO_ERR_BUSY, "the job still runs");
    else if (j->conn)
        conn_note_gone(j->conn, j->stream);
    if (!f.code)
        job_free(j);
    handle_answer(c, stream, MSG_RELEASE, f);
}

void handle_job(struct conn *c, uint32_t stream, const struct msg_job *m)
{
    const struct job *j = job_named(c, stream, MSG_JOB, m->job);

    if (j)
        CONN_SEND(c, job_info, stream,
                  &((struct msg_job_info){.job = j->id,
                                          .state = (uint8_t)job_wire_state(j),
                                          .stdout_start = j->io.out[0].ring.start,
                                          .stdout_end = j->io.out[0].ring.end,
                                          .stderr_start = j->io.out[1].ring.start,
                                          .stderr_end = j->io.out[1].ring.end}));
}

void handle_kill_job(struct conn *c, uint32_t stream, const struct msg_kill_job *m)
{
    struct job *j = job_named(c, stream, MSG_KILL_JOB, m->job);

    if (!j)
        return;
    job_kill(j, PROTO_CAUSE_CANCELLED);
    handle_answer_ok(c, stream);
}

void handle_jobs(struct conn *c, uint32_t stream, const struct msg_jobs *m)
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

void handle_resize(struct conn *c, uint32_t stream, const struct msg_resize *m)
{
    struct job *j = job_of_stream(c, stream, MSG_RESIZE);
    struct winsize size = {.ws_row = m->rows, .ws_col = m->cols};

    if (!j)
        return;
    if (!j->io.tty)
        conn_send_error(c, stream, MSG_RESIZE, PROTO_ERR_INVALID, 0, "the job has no terminal");
    else if (j->io.out[0].fd >= 0 && ioctl(j->io.out[0].fd, TIOCSWINSZ, &size) < 0)
        conn_send_error(c, stream, MSG_RESIZE, PROTO_ERR_OS, errno, "terminal");
    else
        handle_answer_ok(c, stream);
}

void handle_signal(struct conn *c, uint32_t stream, const struct msg_signal *m)
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
    handle_answer(c, stream, MSG_SIGNAL, f);
}

void handle_kill(struct conn *c, uint32_t stream, const struct msg_kill *m)
{
    struct job *j = job_of_stream(c, stream, MSG_KILL);

    (void)m;
    if (!j)
        return;
    job_kill(j, PROTO_CAUSE_CANCELLED);
    handle_answer_ok(c, stream);
}

/* ---- priming --------------------------------------------------------------------------------- */

void handle_prime(struct conn *c, uint32_t stream, const struct msg_prime *m)
{
    struct job_request r = {
        .argv = m->argv,
        .env = m->env,
        .cwd = m->cwd,
        .uid = m->uid,
        .gid = m->gid,
        .groups = m->groups,
        .flags = PROTO_JOB_STDIN,
        .script = m->script,
        .settle_ms = m->settle_ms,
    };

    if (m->script[0] == '/') {
        start_job(c, stream, MSG_PRIME, &r, 0);
        return;
    }
    strings_drop(c, stream);
    conn_send_error(c, stream, MSG_PRIME, PROTO_ERR_INVALID, 0, "script is not absolute");
}

void handle_feed(struct conn *c, uint32_t stream, const struct msg_feed *m)
{
    struct job *j = job_find(m->job);
    struct fault f = job_feed(j, m);
    const uint64_t held[2] = {j ? j->io.out[0].ring.start : 0, j ? j->io.out[1].ring.start : 0};

    if (f.code)
        handle_answer_fault(c, stream, MSG_FEED, f);
    else
        job_bind(j, c, stream, MSG_FEED, held, m->window);
}
