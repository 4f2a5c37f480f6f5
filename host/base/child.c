#include "base/child.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* glibc 2.36 declares these in sys/pidfd.h, which conflicts with linux/ headers elsewhere; the numbers are
 * the same. */
static int pidfd_of(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

static int pidfd_kill(int pidfd, int signal)
{
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

/* Fields 6 and 22 of /proc/PID/stat (proc(5)): the session and the start time. */
static bool read_stat(pid_t pid, int *session, unsigned long long *start)
{
    char path[64], line[1024];

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    cleanup_file FILE *f = fopen(path, "re");
    if (!f || !fgets(line, sizeof(line), f))
        return false;
    /* The command, field 2, may hold anything; its closing parenthesis is the last one. */
    char *p = strrchr(line, ')');
    return p &&
           sscanf(p + 1, " %*c %*s %*s %d %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
                  session, start) == 2;
}

uint64_t child_start_time(pid_t pid)
{
    unsigned long long start;
    int session;

    return read_stat(pid, &session, &start) ? start : 0;
}

static void redirect(int fd, int target)
{
    if (fd < 0)
        fd = open("/dev/null", target == STDIN_FILENO ? O_RDONLY : O_WRONLY);
    if (fd < 0 || (fd == target ? fcntl(fd, F_SETFD, 0) : dup2(fd, target)) < 0)
        _exit(126);
}

/* What the child says when it could not become the program. The step is a text that the parent holds at the
 * same address. */
struct child_failure {
    int code; /* errno */
    const char *step;
};

static void give_up(int report_fd, const char *step)
{
    struct child_failure f = {.code = errno, .step = step};

    _exit(write(report_fd, &f, sizeof(f)) == (ssize_t)sizeof(f) ? 127 : 126);
}

/* In a pid namespace of its own a child sees no parent to compare. The parent holds the other end of the pipe,
 * so without it the pipe is broken (poll(2), POLLERR). */
void child_die_with_parent(int pipe_fd)
{
    struct pollfd p = {.fd = pipe_fd, .events = POLLOUT};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (poll(&p, 1, 0) < 0 || (p.revents & POLLERR))
        _exit(126);
}

/* A session may be scheduled as a group of its own (sched(7), autogroup), which is to be as nice as what it begins with. */
static void keep_nice(void)
{
    int nice = getpriority(PRIO_PROCESS, 0);
    const char text[] = {(char)('0' + nice / 10), (char)('0' + nice % 10)};

    if (nice <= 0)
        return;
    int fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, text, sizeof(text)) >= 0)
        close(fd); /* if not, the kernel has none, and closes it */
}

/* Between fork and exec: only async-signal-safe calls. */
static void run_child(const struct child_spec *spec, const int report[2])
{
    const struct child_isolation *isolation = spec->isolation;
    const char *step = spec->argv[0];
    sigset_t none;

    close(report[0]);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    setsid();
    keep_nice();
    child_die_with_parent(report[1]);
    redirect(spec->stdin_fd, STDIN_FILENO);
    redirect(spec->stdout_fd, STDOUT_FILENO);
    redirect(spec->stderr_fd, STDERR_FILENO);
    if (isolation && close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
        give_up(report[1], "close_range");
    for (size_t i = 0; i < spec->kept_count; i++)
        fcntl(spec->kept_fds[i], F_SETFD, 0);
    if (spec->directory && chdir(spec->directory) < 0)
        give_up(report[1], spec->directory);
    if (isolation) {
        if (isolation->enter && isolation->enter(isolation->context, &step) < 0)
            give_up(report[1], step);
        child_die_with_parent(report[1]); /* a change of user ended what was asked for (prctl(2)) */
        if (isolation->seal && isolation->seal(isolation->context, &step) < 0)
            give_up(report[1], step);
        if (isolation->rehearsal)
            _exit(0);
        execve(spec->argv[0], (char *const *)spec->argv, (char *const *)isolation->envp);
    } else {
        execvp(spec->argv[0], (char *const *)spec->argv);
    }
    give_up(report[1], spec->argv[0]);
}

static pid_t fork_isolated(const struct child_isolation *isolation)
{
    if (!isolation)
        return fork();
    bool in_cgroup = isolation->cgroup_fd >= 0;
    struct clone_args args = {.flags = isolation->namespaces | (in_cgroup ? CLONE_INTO_CGROUP : 0),
                              .exit_signal = SIGCHLD,
                              .cgroup = in_cgroup ? (unsigned)isolation->cgroup_fd : 0};
    return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

static void abandon(pid_t pid)
{
    int cause = errno;

    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    errno = cause;
}

int child_spawn(struct child *ret, const struct child_spec *spec, struct error *e)
{
    const struct child_isolation *isolation = spec->isolation;
    struct child_failure failure = {0};
    int report[2];

    if (pipe2(report, O_CLOEXEC) < 0)
        return error_errno(e, "pipe");
    pid_t pid = fork_isolated(isolation);
    if (pid == 0)
        run_child(spec, report);
    int cause = errno;
    close(report[1]);
    if (pid < 0) {
        close(report[0]);
        errno = cause;
        return error_errno(e, "cannot start %s", spec->argv[0]);
    }
    if (isolation && isolation->attend && isolation->attend(isolation->context, e) < 0) {
        abandon(pid);
        close(report[0]);
        return -1;
    }
    ssize_t n;
    do
        n = read(report[0], &failure, sizeof(failure));
    while (n < 0 && errno == EINTR);
    close(report[0]);

    struct child c = {.pid = pid,
                      .pidfd = pidfd_of(pid),
                      .start_time = child_start_time(pid),
                      .started_ns = clock_monotonic_ns()};
    if (n == sizeof(failure) || c.pidfd < 0) {
        errno = n == sizeof(failure) ? failure.code : errno;
        abandon(pid);
        cause = errno;
        close_fd(&c.pidfd);
        errno = cause;
        return n == sizeof(failure) && failure.step != spec->argv[0]
                   ? error_errno(e, "cannot start %s: %s", spec->argv[0], failure.step)
                   : error_errno(e, "cannot start %s", spec->argv[0]);
    }
    *ret = c;
    return 0;
}

static int64_t timeval_ns(struct timeval t)
{
    return t.tv_sec * 1000000000ll + t.tv_usec * 1000ll;
}

static int reap(struct child *c, int *ret_status)
{
    struct rusage u = {0};

    while (wait4(c->pid, ret_status, 0, &u) < 0)
        if (errno != EINTR)
            return -1;
    c->cpu_ns = timeval_ns(u.ru_utime) + timeval_ns(u.ru_stime);
    c->peak = (uint64_t)u.ru_maxrss * 1024;
    close_fd(&c->pidfd);
    c->pid = 0;
    return 0;
}

int child_wait(struct child *c, int64_t deadline, const struct cancel *cancel, int *ret_status,
               struct error *e)
{
    int n = deadline_wait_fd(c->pidfd, POLLIN, deadline, cancel, e);

    if (n <= 0)
        return n;
    return reap(c, ret_status) < 0 ? error_errno(e, "wait4") : 1;
}

void child_kill(struct child *c)
{
    if (c->pid <= 0)
        return;
    pidfd_kill(c->pidfd, SIGKILL);
    if (reap(c, NULL) < 0) {
        close_fd(&c->pidfd);
        c->pid = 0;
    }
}

void child_kill_recorded(pid_t pid, uint64_t start_time)
{
    cleanup_fd int pidfd = pidfd_of(pid);

    unsigned long long start;
    int session;

    /* The pidfd pins the process, so what is checked is the very process that is signalled. Ours begin a session. */
    if (pidfd >= 0 && read_stat(pid, &session, &start) && start == start_time && session == pid)
        pidfd_kill(pidfd, SIGKILL);
}

static int collect_output(int fd, size_t max, int64_t deadline, const struct cancel *cancel,
                          struct buffer *ret, struct error *e)
{
    char chunk[4096];

    for (;;) {
        int ready = deadline_wait_fd(fd, POLLIN, deadline, cancel, e);
        if (ready <= 0)
            return ready < 0 ? -1 : error_set(e, ERROR_TIMEOUT, "no end in time");
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n <= 0)
            return n == 0 ? 0 : error_errno(e, "read");
        if (ret->size + (size_t)n > max)
            return error_set(e, ERROR_GENERAL, "too much output");
        buffer_add(ret, chunk, (size_t)n);
    }
}

int child_capture(const char *const *argv, size_t max, int64_t deadline, const struct cancel *cancel,
                  struct buffer *ret, struct error *e)
{
    int out[2], status = 0;

    if (pipe2(out, O_CLOEXEC) < 0)
        return error_errno(e, "pipe");
    cleanup_fd int read_end = out[0];
    struct child_spec spec = {.argv = argv, .stdin_fd = -1, .stdout_fd = out[1], .stderr_fd = -1};
    struct child c = CHILD_NONE;
    int started = child_spawn(&c, &spec, e);
    close(out[1]);
    if (started < 0)
        return -1;
    if (collect_output(read_end, max, deadline, cancel, ret, e) < 0 ||
        child_wait(&c, deadline, cancel, &status, e) <= 0) {
        child_kill(&c);
        return error_wrap(e, "%s", argv[0]);
    }
    if (status != 0)
        return error_set(e, ERROR_GENERAL, "%s failed with status %d", argv[0],
                         WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    buffer_add(ret, "", 0);
    return 0;
}

char *child_find_program(const char *name)
{
    const char *path = getenv("PATH");
    cleanup_free char *copy = text_copy(path ? path : "/usr/local/bin:/usr/bin:/bin");
    char *state = NULL;

    for (char *directory = strtok_r(copy, ":", &state); directory; directory = strtok_r(NULL, ":", &state)) {
        char *candidate = text_format("%s/%s", directory, name);
        if (access(candidate, X_OK) == 0)
            return candidate;
        free(candidate);
    }
    return NULL;
}
