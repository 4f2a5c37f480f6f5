#include "handle.h"

#include "job.h"
#include "prime.h"
#include "strings.h"
#include "sys.h"
#include "text.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <termios.h>

static const uint64_t from_the_start[2] = {0, 0};

static struct fault start_program(const struct conn *c, uint32_t stream, const struct msg_exec *m,
                                  struct job **ret)
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
    struct fault f = strings_of(c, stream, &r.argv, &r.env);

    if (f.code)
        return f;
    *ret = job_take_slot(&r, &f);
    return *ret ? job_start(*ret, &r) : f;
}

void handle_exec(struct conn *c, uint32_t stream, const struct msg_exec *m)
{
    struct job *j;
    struct fault f = start_program(c, stream, m, &j);

    strings_drop(c, stream);
    if (f.code)
        handle_answer_fault(c, stream, MSG_EXEC, f);
    else
        job_bind(j, c, stream, MSG_EXEC, from_the_start, m->window);
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
    text_add_u64(&t, j->out[0].ring.start);
    text_add(&t, ", channel 2 at ");
    text_add_u64(&t, j->out[1].ring.start);
    conn_send_error(c, stream, MSG_ATTACH, PROTO_ERR_GONE, 0, line);
}

void handle_attach(struct conn *c, uint32_t stream, const struct msg_attach *m)
{
    const uint64_t offsets[2] = {m->stdout_offset, m->stderr_offset};
    struct job *j = job_named(c, stream, MSG_ATTACH, m->job);

    if (!j)
        return;
    for (int i = 0; i < 2; i++) {
        if (offsets[i] < j->out[i].ring.start) {
            refuse_consumed(c, stream, j);
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
                                          .stdout_start = j->out[0].ring.start,
                                          .stdout_end = j->out[0].ring.end,
                                          .stderr_start = j->out[1].ring.start,
                                          .stderr_end = j->out[1].ring.end}));
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
    if (!j->tty)
        conn_send_error(c, stream, MSG_RESIZE, PROTO_ERR_INVALID, 0, "the job has no terminal");
    else if (j->out[0].fd >= 0 && ioctl(j->out[0].fd, TIOCSWINSZ, &size) < 0)
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

static struct fault start_primed(const struct conn *c, uint32_t stream, const struct msg_prime *m,
                                 struct job **ret)
{
    struct job_request r = {
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
    struct fault f = strings_of(c, stream, &r.argv, &r.env);
    if (f.code)
        return f;
    struct job *j = *ret = job_take_slot(&r, &f);
    if (!j)
        return f;
    j->is_prime = true;
    int error = prime_open(j, m->script, m->uid, m->gid);
    if (error < 0) {
        job_free(j);
        return error == -ENAMETOOLONG ? fault_of(PROTO_ERR_LIMIT, "script") : fault_os(error, "script");
    }
    f = job_start(j, &r);
    if (f.code)
        return f;
    j->in.open = false; /* until FEED says whether it is to be */
    prime_set_deadline(j, m->settle_ms, sys_now());
    return f;
}

void handle_prime(struct conn *c, uint32_t stream, const struct msg_prime *m)
{
    struct job *j;
    struct fault f = start_primed(c, stream, m, &j);

    strings_drop(c, stream);
    if (f.code)
        handle_answer_fault(c, stream, MSG_PRIME, f);
    else
        job_bind(j, c, stream, MSG_PRIME, from_the_start, 0);
}

static int limit_process(pid_t pid, int which, uint64_t value)
{
    return value ? sys_limit(pid, which, value) : 0;
}

/* The limits of a job that runs already; see fill_limits() in job.c. */
static struct fault limit_running(struct job *j, const struct msg_feed *m)
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
    /* A FEED that is refused leaves the job as it was: what can fail comes first, and the name can be given back. */
    int fd = prime_open_source(m->source);
    if (fd < 0)
        return fault_os(fd, "source");
    int r = sys_rename(m->source, j->prime.script);
    struct fault f = r < 0 ? fault_os(r, "source") : limit_running(j, m);
    if (f.code) {
        if (r == 0)
            sys_rename(j->prime.script, m->source);
        sys_close(&fd);
        return f;
    }
    j->state = JOB_RUNNING;
    job_start_limits(j, m->wall_ms, m->cpu_ms, m->output);
    prime_feed(j, fd);
    if (m->flags & PROTO_JOB_STDIN)
        j->in.open = true;
    else
        job_io_end_input(j);
    return FAULT_NONE;
}

void handle_feed(struct conn *c, uint32_t stream, const struct msg_feed *m)
{
    struct job *j = job_find(m->job);
    struct fault f = feed(j, m);
    const uint64_t held[2] = {j ? j->out[0].ring.start : 0, j ? j->out[1].ring.start : 0};

    if (f.code)
        handle_answer_fault(c, stream, MSG_FEED, f);
    else
        job_bind(j, c, stream, MSG_FEED, held, m->window);
}
