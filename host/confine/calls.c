#include "confine/calls.h"

#include "base/cleanup.h"
#include "confine/plan.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

int calls_plan(struct plan *p, const struct confinement *c, unsigned sets, struct error *e)
{
    p->guard = c->guard;
    p->whose = sets & FILTER_FRONT ? "the front of the server" : "a VMM";
    if (!c->have[CONFINE_CALLS] && !(sets & FILTER_FRONT)) {
        filter_lenient(&p->filter);
        return 0;
    }
    filter_list(&p->filter, sets, c->have[CONFINE_VIOLATIONS] && c->guard);
    if (p->filter.listens && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p->handover) < 0)
        return error_errno(e, "socketpair");
    if (p->filter.listens)
        p->room = guard_room(c->guard);
    return 0;
}

void calls_done(struct plan *p)
{
    close_fd(&p->handover[0]);
    close_fd(&p->handover[1]);
}

/* What seal_hand_over() sent: 1, and an fd or -1; 0: nobody is left who could send. */
static int receive_calls(int socket, int *ret_fd, struct error *e)
{
    char byte;
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec data = {&byte, 1};
    struct msghdr m = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t n;

    *ret_fd = -1;
    do
        n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != ECONNRESET)
        return error_errno(e, "cannot take over the system call filter");
    struct cmsghdr *c = n == 1 ? CMSG_FIRSTHDR(&m) : NULL;
    if (c && c->cmsg_type == SCM_RIGHTS)
        memcpy(ret_fd, CMSG_DATA(c), sizeof(*ret_fd));
    return n == 1;
}

/* A child that fails before says why by itself. */
int calls_attend(void *context, struct error *e)
{
    struct plan *p = context;
    int fd;

    if (!p->filter.listens)
        return 0;
    close_fd(&p->handover[1]);
    int n = receive_calls(p->handover[0], &fd, e);
    if (n <= 0)
        return n;
    if (fd < 0) /* it was sent, and there was no place for it */
        return error_set(e, ERROR_EXHAUSTED, "cannot take over the system call filter: too many open files");
    p->guarded = guard_take(p->guard, fd, p->whose, e);
    return p->guarded ? 0 : -1;
}

/* ---- Firecracker ----------------------------------------------------------------------------------- */

int confine_spawn_listed(struct child *child, struct confined *ret, const struct confinement *c,
                         const struct child_spec *spec, struct error *e)
{
    struct plan p = {.handover = {-1, -1}};
    struct child_spec filtered = *spec;
    const struct child_isolation isolation = {.cgroup_fd = -1,
                                              .envp = (const char *const *)environ,
                                              .seal = plan_seal,
                                              .attend = calls_attend,
                                              .context = &p};

    *ret = CONFINED_NONE;
    if (c->off)
        return child_spawn(child, spec, e);
    filtered.isolation = &isolation;
    int result = calls_plan(&p, c, FILTER_FIRECRACKER | FILTER_KVM, e);
    if (result == 0)
        result = child_spawn(child, &filtered, e);
    calls_done(&p);
    ret->guarded = p.guarded;
    if (result == 0 && p.guarded && guard_arm(p.guarded, child->pidfd, e) < 0) {
        child_kill(child);
        return -1;
    }
    return result;
}

int confine_offer_list(const struct confinement *c, int *ret_ours, int *ret_theirs, struct error *e)
{
    struct filter f = {.count = 0};
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(e, "socketpair");
    *ret_ours = pair[0];
    *ret_theirs = pair[1];
    if (c->have[CONFINE_CALLS])
        filter_list(&f, FILTER_FIRECRACKER | FILTER_KVM, c->have[CONFINE_VIOLATIONS]);
    else if (!c->off)
        filter_lenient(&f);
    if (send(pair[0], &f, sizeof(f), MSG_NOSIGNAL) != (ssize_t)sizeof(f))
        return error_errno(e, "cannot offer a system call filter");
    return 0;
}

int confine_take_list(struct confined *ret, const struct confinement *c, int ours, const struct child *vmm,
                      int64_t deadline, const struct cancel *cancel, struct error *e)
{
    int fd = -1;
    int n = deadline_wait_fd(ours, POLLIN, deadline, cancel, e);

    if (n > 0)
        n = receive_calls(ours, &fd, e);
    else if (n == 0)
        return error_set(e, ERROR_TIMEOUT, "the jailer did not start the VMM in time");
    if (n <= 0)
        return n;
    shutdown(ours, SHUT_RDWR);
    if (fd < 0)
        return 0;
    ret->guarded = guard_take(c->guard, fd, "a VMM", e);
    return ret->guarded ? guard_arm(ret->guarded, vmm->pidfd, e) : -1;
}

/* ---- violations ------------------------------------------------------------------------------------ */

/* By SIGSYS without a word from the guard: there is none, or it was a filter of the VMM's own. */
static bool ended_by_filter(const struct child *vmm)
{
    siginfo_t info = {0};

    return vmm->pidfd >= 0 && waitid(P_PIDFD, (id_t)vmm->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid != 0 && info.si_code != CLD_EXITED && info.si_status == SIGSYS;
}

void confine_violation(const struct confined *c, const struct child *vmm,
                       char ret[static CONFINE_VIOLATION_MAX])
{
    ret[0] = '\0';
    if (c->guarded && guard_verdict(c->guarded, ret, CONFINE_VIOLATION_MAX) > 0)
        return;
    if (ended_by_filter(vmm))
        snprintf(ret, CONFINE_VIOLATION_MAX, "a system call");
}

void confine_explain(const struct confined *c, const struct child *vmm, struct error *e)
{
    char what[CONFINE_VIOLATION_MAX];

    confine_violation(c, vmm, what);
    if (what[0] && e->kind == ERROR_VM_LOST)
        error_set(e, ERROR_VM_LOST,
                  "the VMM was ended by its system call filter: %s; one that needs it can be run with "
                  "vmm_calls = lenient",
                  what);
}
