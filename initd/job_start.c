#include "job.h"

#include "spare.h"
#include "sys.h"

#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Limits that the cgroup cannot enforce are left to setrlimit(2), which does so for each process or user. */
static void fill_limits(struct spawn *s, const struct job_request *r)
{
    s->max_files = r->files;
    if (r->memory && !cgroup_has(CGROUP_MEMORY))
        s->max_address_space = r->memory;
    if (r->pids && !cgroup_has(CGROUP_PIDS))
        s->max_processes = r->pids;
    if (r->cpu_ms && !cgroup_enabled())
        s->max_cpu_s = (r->cpu_ms + 999ull) / 1000;
}

/* What spawn.h has to know besides files, cgroup and terminal. */
static struct spawn spawn_of(const struct job_request *r)
{
    struct spawn s = {
        .argv = r->argv, .env = r->env, .cwd = r->cwd, .uid = r->uid, .gid = r->gid, .groups = r->groups};

    fill_limits(&s, r);
    return s;
}

struct fault job_check(const struct job_request *r)
{
    struct spawn s = spawn_of(r);

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
    if (spawn_check(&s) < 0)
        return fault_of(PROTO_ERR_LIMIT, "too many arguments, variables or groups");
    return FAULT_NONE;
}

/* Lets the spare process be the job. False: there is none, or it is of no use, and nothing has changed. */
static bool start_spare(struct job *j, const struct job_request *r, const struct spawn *s)
{
    struct spare spare;

    if (j->tty || !spare_take(&spare))
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
    job_io_adopt(j, spare.in_fd, spare.out_fds);
    return true;
}

static struct fault fork_program(struct job *j, struct spawn *s)
{
    int status[2];
    int error = sys_pipe(status, 0);

    if (error < 0)
        return fault_os(error, "pipe");
    s->status_fd = status[1];
    pid_t pid = spawn_run(s);
    sys_close(&status[1]);
    j->status_fd = status[0];
    if (pid < 0)
        return fault_os((int)pid, "fork");
    j->pid = pid;
    return FAULT_NONE;
}

static struct fault start_new(struct job *j, const struct job_request *r, struct spawn *s)
{
    int child_fds[3] = {-1, -1, -1};
    int error = cgroup_make(&j->cgroup);

    if (error == 0)
        error = cgroup_limit(&j->cgroup, r->memory, r->pids);
    if (error < 0)
        return fault_os(error, "cgroup");
    error = job_io_open(j, r, child_fds);
    memcpy(s->fds, child_fds, sizeof(s->fds));
    s->tty = j->tty;
    s->cgroup = &j->cgroup;
    struct fault f = error < 0 ? fault_os(error, "pipes or terminal") : fork_program(j, s);
    job_io_close_child(child_fds);
    return f;
}

struct fault job_start(struct job *j, const struct job_request *r)
{
    struct fault f = FAULT_NONE;
    struct spawn s = spawn_of(r);

    j->tty = r->flags & PROTO_JOB_TTY;
    j->in.open = r->flags & PROTO_JOB_STDIN;
    j->keeps = r->flags & PROTO_JOB_KEEP;
    if (!start_spare(j, r, &s))
        f = start_new(j, r, &s);
    if (f.code) {
        job_free(j);
        return f;
    }
    job_start_limits(j, r->wall_ms, r->cpu_ms, r->output);
    j->state = JOB_STARTING;
    int error = job_io_watch(j);
    if (error == 0)
        error = watch_add(j->status_fd, EPOLLIN, job_token(j, WATCH_JOB_STATUS));
    if (error < 0)
        job_fail(j, fault_os(error, "epoll"));
    return FAULT_NONE;
}

void job_start_limits(struct job *j, uint32_t wall_ms, uint32_t cpu_ms, uint64_t output_max)
{
    j->start = sys_now();
    j->wall_deadline = wall_ms ? j->start + wall_ms * NS_PER_MS : 0;
    j->output_max = output_max;
    j->cpu_max_ns = cpu_ms * NS_PER_MS;
    j->cpu_base_ns =
        cpu_ms ? cgroup_cpu_ns(&j->cgroup) : 0; /* a primed job, or the group's last one, has used some */
    j->cpu_look_at = cpu_ms && cgroup_enabled() ? j->start + JOB_CPU_CHECK_MS * NS_PER_MS : 0;
}
