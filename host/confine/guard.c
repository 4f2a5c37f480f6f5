#include "confine/guard.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "confine/confinement.h"
#include "confine/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NUMBER_OF_STOP 0 /* of the eventfd among what the thread waits for; those of filters count from 1 */
#define NOTICE_MAX 512

struct guarded {
    struct guard *guard;
    struct guarded *next;
    uint64_t number;
    int listener;
    const char *whose; /* for messages */
    int pidfd;         /* owned; -1: not known yet */
    bool executed;     /* the program, once */
    char verdict[CONFINE_VIOLATION_MAX];
};

struct guard {
    pthread_t thread;
    pthread_mutex_t mutex; /* for all below, and every guarded */
    int epoll_fd, stop_fd;
    struct guarded *first;
    uint64_t count;
};

static void end_guard(const struct guarded *v)
{
    if (v->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, v->pidfd, SIGKILL, NULL, 0);
}

static void judge_guard(struct guarded *v, const struct seccomp_notif *n)
{
    char name[40];
    bool known = n->data.arch == FILTER_ARCHITECTURE && filter_call_name(n->data.nr, name, sizeof(name)) > 0;

    snprintf(v->verdict, sizeof(v->verdict), "system call %d%s%s%s", n->data.nr, known ? " (" : "",
             known                                 ? name
             : n->data.arch == FILTER_ARCHITECTURE ? ""
                                                   : " of another architecture",
             known ? ")" : "");
    log_warning(
        "%s (process %u) was ended for %s, which is not on its list; its arguments: %#llx %#llx %#llx",
        v->whose, n->pid, v->verdict, n->data.args[0], n->data.args[1], n->data.args[2]);
    end_guard(v);
}

/* The kernel wants the room zeroed, and may know a longer one. ENOENT: the thread that called has ended, or was interrupted
 * and will call again. */
static void answer(struct guarded *v)
{
    union {
        struct seccomp_notif n;
        char room[NOTICE_MAX];
    } u = {.room = {0}};

    if (ioctl(v->listener, SECCOMP_IOCTL_NOTIF_RECV, &u) < 0)
        return;
    if (u.n.data.arch == FILTER_ARCHITECTURE && u.n.data.nr == SYS_execve && !v->executed) {
        struct seccomp_notif_resp go_on = {.id = u.n.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        v->executed = true;
        ioctl(v->listener, SECCOMP_IOCTL_NOTIF_SEND, &go_on);
    } else if (!v->verdict[0]) {
        judge_guard(v, &u.n);
    }
}

static void serve_guard(struct guard *g, const struct epoll_event *event)
{
    struct guarded *v = g->first;

    while (v && v->number != event->data.u64)
        v = v->next;
    if (!v)
        return;
    if (event->events & EPOLLIN)
        answer(v);
    else /* nobody is left who has the filter */
        epoll_ctl(g->epoll_fd, EPOLL_CTL_DEL, v->listener, NULL);
}

static void *run_guard(void *context)
{
    struct guard *g = context;
    struct epoll_event event;

    for (;;) {
        int n = epoll_wait(g->epoll_fd, &event, 1, -1);
        if (n > 0 && event.data.u64 == NUMBER_OF_STOP)
            return NULL;
        pthread_mutex_lock(&g->mutex);
        if (n > 0)
            serve_guard(g, &event);
        pthread_mutex_unlock(&g->mutex);
    }
}

static int await(struct guard *g, int fd, uint64_t number)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = number};

    return epoll_ctl(g->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

/* Signals are for the threads that wait for them. */
static int start_guard(struct guard *g)
{
    sigset_t all, before;

    if (g->epoll_fd < 0 || g->stop_fd < 0 || await(g, g->stop_fd, NUMBER_OF_STOP) < 0)
        return errno;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&g->thread, NULL, run_guard, g);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

static void discard(struct guard *g)
{
    close_fd(&g->epoll_fd);
    close_fd(&g->stop_fd);
    pthread_mutex_destroy(&g->mutex);
    free(g);
}

struct guard *guard_open(struct error *e)
{
    struct guard *g = memory_allocate(sizeof(*g));

    *g = (struct guard){.epoll_fd = epoll_create1(EPOLL_CLOEXEC),
                        .stop_fd = eventfd(0, EFD_CLOEXEC),
                        .mutex = PTHREAD_MUTEX_INITIALIZER};
    errno = start_guard(g);
    if (errno == 0)
        return g;
    error_errno(e, "cannot watch over system calls");
    int cause = errno;
    discard(g);
    errno = cause;
    return NULL;
}

void guard_close(struct guard *g)
{
    const uint64_t one = 1;

    if (!g)
        return;
    while (write(g->stop_fd, &one, sizeof(one)) < 0)
        ;
    pthread_join(g->thread, NULL);
    discard(g);
}

int guard_room(const struct guard *g)
{
    return g->stop_fd;
}

struct guarded *guard_take(struct guard *g, int listener, const char *whose, struct error *e)
{
    struct guarded *v = memory_allocate(sizeof(*v));

    pthread_mutex_lock(&g->mutex);
    *v = (struct guarded){.guard = g,
                          .next = g->first,
                          .number = ++g->count,
                          .listener = listener,
                          .whose = whose,
                          .pidfd = -1};
    int result = await(g, listener, v->number);
    int cause = errno;
    if (result == 0)
        g->first = v;
    pthread_mutex_unlock(&g->mutex);
    if (result == 0)
        return v;
    errno = cause;
    error_errno(e, "cannot watch over system calls");
    close(listener);
    free(v);
    return NULL;
}

int guard_arm(struct guarded *v, int pidfd, struct error *e)
{
    int own = fcntl(pidfd, F_DUPFD_CLOEXEC, 0);

    if (own < 0)
        return error_errno(e, "cannot watch over system calls");
    pthread_mutex_lock(&v->guard->mutex);
    v->pidfd = own;
    if (v->verdict[0])
        end_guard(v);
    pthread_mutex_unlock(&v->guard->mutex);
    return 0;
}

size_t guard_verdict(struct guarded *v, char *ret, size_t size)
{
    pthread_mutex_lock(&v->guard->mutex);
    int n = snprintf(ret, size, "%s", v->verdict);
    pthread_mutex_unlock(&v->guard->mutex);
    return n > 0 ? (size_t)n : 0;
}

void guard_release(struct guarded *v)
{
    if (!v)
        return;
    struct guard *g = v->guard;
    pthread_mutex_lock(&g->mutex);
    struct guarded **link = &g->first;
    while (*link != v)
        link = &(*link)->next;
    *link = v->next;
    epoll_ctl(g->epoll_fd, EPOLL_CTL_DEL, v->listener, NULL);
    pthread_mutex_unlock(&g->mutex);
    close_fd(&v->listener);
    close_fd(&v->pidfd);
    free(v);
}
