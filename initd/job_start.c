#include "job_start.h"

#include "spare.h"
#include "spawn.h"
#include "sys.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Limits that the cgroup cannot enforce are left to setrlimit(2), which does so for each process or user. */
static struct spawn_limits limits_of(uint64_t memory, uint32_t pids, uint32_t cpu_ms, uint32_t files)
{
    return (struct spawn_limits){
        .files = files,
        .address_space = cgroup_has(CGROUP_MEMORY) ? 0 : memory,
        .processes = cgroup_has(CGROUP_PIDS) ? 0 : pids,
        .cpu_s = cgroup_enabled() ? 0 : (cpu_ms + 999ull) / 1000,
    };
}

/* What spawn.h has to know besides files, cgroup and terminal. */
static struct spawn spawn_of(const struct job_request *r)
{
    return (struct spawn){
        .argv = r->argv,
        .env = r->env,
        .cwd = r->cwd,
        .uid = r->uid,
        .gid = r->gid,
        .groups = r->groups,
        .limits = limits_of(r->memory, r->pids, r->cpu_ms, r->files),
    };
}

/* Can there be such a job? */
static struct fault check_request(const struct job_request *r, const struct spawn *s)
{
    if (r->flags & ~(PROTO_JOB_STDIN | PROTO_JOB_TTY | PROTO_JOB_KEEP))
        return fault_of(PROTO_ERR_UNSUPPORTED, "unknown job flag");
    if ((r->flags & PROTO_JOB_KEEP) && !cgroup_enabled())
        return fault_of(PROTO_ERR_UNSUPPORTED, "without cgroups no process is kept");
    if (!wire_strs_next(r->argv, NULL))
        return fault_of(PROTO_ERR_INVALID, "argv is empty");
    if (r->cwd[0] != '/')
        return fault_of(PROTO_ERR_INVALID, "cwd is not absolute");
    if (r->uid == SYS_NO_ID || r->gid == SYS_NO_ID)
        return fault_of(PROTO_ERR_INVALID, "no such user or group id");
    if (spawn_check(s) < 0)
        return fault_of(PROTO_ERR_LIMIT, "too many arguments, variables or groups");
    return FAULT_NONE;
}

/* Lets the spare process be the job. False: there is none, or it is of no use, and nothing has changed. */
static bool start_spare(struct job *j, const struct job_request *r, const struct spawn *s)
{
    struct spare spare;

    if (j->io.tty || !spare_take(&spare))
        return false;
    if (cgroup_limit(&spare.cgroup, r->memory, r->pids) < 0 ||
        spawn_tell(spare.request_fd, s, r->flags & PROTO_JOB_STDIN) < 0) {
        spare_drop(&spare);
        return false;
    }
    if (!(r->flags & PROTO_JOB_STDIN))
        sys_close(&spare.in_fd);
    j->pid = spare.pid;
    j->cgroup = spare.cgroup;
    j->status_fd = spare.status_fd;
    j->request_fd = spare.request_fd;
    channels_adopt(&j->io, spare.in_fd, spare.out_fds);
    return true;
}

static struct fault fork_program(struct job *j, struct spawn *s)
{
    int error = sys_pipe(&j->status_fd, &s->status_fd, 0);

    if (error < 0)
        return fault_os(error, "pipe");
    pid_t pid = spawn_run(s);
    sys_close(&s->status_fd);
    if (pid < 0)
        return fault_os((int)pid, "fork");
    j->pid = pid;
    return FAULT_NONE;
}

static int open_channels(struct job *j, const struct job_request *r, int child_fds[3])
{
    const struct winsize size = {.ws_row = r->rows, .ws_col = r->cols};
    bool with_input = r->flags & PROTO_JOB_STDIN;

    return j->io.tty ? channels_open_terminal(&j->io, with_input, &size, r->uid, child_fds)
                     : channels_open_pipes(&j->io, with_input, child_fds);
}

static struct fault start_new(struct job *j, const struct job_request *r, struct spawn *s)
{
    int child_fds[3] = {-1, -1, -1};
    int error = cgroup_make(&j->cgroup);

    if (error == 0)
        error = cgroup_limit(&j->cgroup, r->memory, r->pids);
    if (error < 0)
        return fault_os(error, "cgroup");
    error = open_channels(j, r, child_fds);
    memcpy(s->fds, child_fds, sizeof(s->fds));
    s->tty = j->io.tty;
    s->cgroup = &j->cgroup;
    struct fault f = error < 0 ? fault_os(error, "pipes or terminal") : fork_program(j, s);
    channels_close_child(child_fds);
    return f;
}

/* The clock of a job's limits begins to run. */
static void start_limits(struct job *j, uint32_t wall_ms, uint32_t cpu_ms, uint64_t output_max)
{
    j->start = sys_now();
    j->wall_deadline = wall_ms ? j->start + wall_ms * NS_PER_MS : 0;
    j->io.output_max = output_max;
    j->cpu_max_ns = cpu_ms * NS_PER_MS;
    j->cpu_base_ns =
        cpu_ms ? cgroup_cpu_ns(&j->cgroup) : 0; /* a primed job, or the group's last one, has used some */
    j->cpu_look_at = cpu_ms && cgroup_enabled() ? j->start + JOB_CPU_CHECK_MS * NS_PER_MS : 0;
}

/* Makes what the interpreter is to wait for, where it is to. */
static struct fault open_script(struct job *j, const struct job_request *r)
{
    int error = r->script ? prime_open(&j->prime, r->script, r->uid, r->gid) : 0;

    if (error == -ENAMETOOLONG)
        return fault_of(PROTO_ERR_LIMIT, "script");
    return error < 0 ? fault_os(error, "script") : FAULT_NONE;
}

static int watch_start(struct job *j)
{
    int error = channels_watch(&j->io);

    return error < 0 ? error : watch_add(j->status_fd, EPOLLIN, channels_token(&j->io, WATCH_JOB_STATUS));
}

struct fault job_start(const struct job_request *r, struct job **ret)
{
    struct spawn s = spawn_of(r);
    struct fault f = check_request(r, &s);

    if (f.code)
        return f;
    struct job *j = *ret = job_take_slot();
    if (!j)
        return fault_of(PROTO_ERR_LIMIT, "too many jobs run, have left processes or have not told their end");
    j->is_prime = r->script;
    j->keeps = r->flags & PROTO_JOB_KEEP;
    j->io.tty = r->flags & PROTO_JOB_TTY;
    j->io.in.open = (r->flags & PROTO_JOB_STDIN) && !r->script; /* FEED says whether it is to be */
    f = open_script(j, r);
    if (!f.code && !start_spare(j, r, &s))
        f = start_new(j, r, &s);
    if (f.code) {
        job_free(j);
        return f;
    }
    start_limits(j, r->wall_ms, r->cpu_ms, r->output);
    if (r->script)
        prime_set_deadline(&j->prime, r->settle_ms, j->start);
    j->state = JOB_STARTING;
    int error = watch_start(j);
    if (error < 0)
        job_fail(j, fault_os(error, "epoll"));
    return FAULT_NONE;
}

/* ---- FEED ------------------------------------------------------------------------------------ */

/* The limits of a job that runs already. */
static struct fault limit_running(struct job *j, const struct msg_feed *m)
{
    const struct spawn_limits limits = limits_of(m->memory, m->pids, m->cpu_ms, m->files);
    int r = cgroup_limit(&j->cgroup, m->memory, m->pids);

    if (r == 0)
        r = spawn_limit(j->pid, &limits);
    return r < 0 ? fault_os(r, "limits") : FAULT_NONE;
}

struct fault job_feed(struct job *j, const struct msg_feed *m)
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
    start_limits(j, m->wall_ms, m->cpu_ms, m->output);
    prime_feed(&j->prime, fd, channels_token(&j->io, WATCH_JOB_SCRIPT));
    if (m->flags & PROTO_JOB_STDIN)
        j->io.in.open = true;
    else
        channels_end_input(&j->io);
    return FAULT_NONE;
}
