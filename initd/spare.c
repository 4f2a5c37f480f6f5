#include "spare.h"

#include "limits.h"
#include "spawn.h"
#include "sys.h"

#include <signal.h>

static const struct spare no_spare = {
    .cgroup = CGROUP_NONE,
    .in_fd = -1,
    .out_fds = {-1, -1},
    .status_fd = -1,
    .request_fd = -1,
};
static struct spare spare; /* pid 0: the rest means nothing */
static uint64_t make_at;

static int make_spare(struct spare *ret)
{
    struct spawn_files theirs = {.fds = {-1, -1, -1}, .status_fd = -1, .request_fd = -1};

    *ret = no_spare;
    int r = cgroup_make(&ret->cgroup);
    if (r == 0)
        r = sys_pipe(&ret->in_fd, &theirs.fds[0], 1);
    for (int i = 0; i < 2 && r == 0; i++)
        r = sys_pipe(&ret->out_fds[i], &theirs.fds[1 + i], 0);
    if (r == 0)
        r = sys_pipe(&ret->status_fd, &theirs.status_fd, 0);
    if (r == 0)
        r = sys_pipe(&ret->request_fd, &theirs.request_fd, 1);
    if (r == 0)
        r = ret->pid = spawn_waiting(&ret->cgroup, &theirs);
    for (int i = 0; i < 3; i++)
        sys_close(&theirs.fds[i]);
    sys_close(&theirs.status_fd);
    sys_close(&theirs.request_fd);
    return r < 0 ? r : 0;
}

void spare_drop(struct spare *s)
{
    if (s->pid > 0)
        kill(s->pid, SIGKILL);
    sys_close(&s->in_fd);
    sys_close(&s->out_fds[0]);
    sys_close(&s->out_fds[1]);
    sys_close(&s->status_fd);
    sys_close(&s->request_fd);
    cgroup_retire(&s->cgroup);
    *s = no_spare;
}

void spare_prepare(void)
{
    make_at = 0;
    if (!spare.pid && spawn_can_wait() && make_spare(&spare) < 0)
        spare_drop(&spare); /* no processes or files are left; jobs will say so */
}

uint64_t spare_run_timers(uint64_t now)
{
    if (spare.pid || !spawn_can_wait())
        return 0;
    if (make_at && now >= make_at)
        spare_prepare();
    if (!spare.pid && !make_at)
        make_at = now + SPARE_POSTPONE_MS * NS_PER_MS;
    return make_at;
}

bool spare_take(struct spare *ret)
{
    *ret = spare;
    spare = no_spare;
    return ret->pid > 0;
}

bool spare_is(pid_t pid)
{
    return pid > 0 && pid == spare.pid;
}

bool spare_on_child(pid_t pid)
{
    if (!spare_is(pid))
        return false;
    spare_drop(&spare);
    return true;
}
