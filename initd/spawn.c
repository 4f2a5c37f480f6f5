#include "spawn.h"

#include "limits.h"
#include "sys.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin" /* PROTOCOL.md 5 */

enum step { STEP_CGROUP, STEP_FILES, STEP_TERMINAL, STEP_LIMITS, STEP_IDENTITY, STEP_CWD, STEP_EXEC };

const char *spawn_step_name(uint32_t step)
{
    static const char *const names[] = {
        [STEP_CGROUP] = "entering the cgroup",
        [STEP_FILES] = "standard input and output",
        [STEP_TERMINAL] = "terminal",
        [STEP_LIMITS] = "resource limits",
        [STEP_IDENTITY] = "user and groups",
        [STEP_CWD] = "working directory",
        [STEP_EXEC] = "execve",
    };

    return step < sizeof(names) / sizeof(names[0]) ? names[step] : "unknown step";
}

int spawn_check(const struct spawn *s)
{
    if (wire_strs_count(s->argv) + wire_strs_count(s->env) + 2 > JOB_POINTERS_MAX)
        return -E2BIG;
    return s->groups.count > JOB_GROUPS_MAX ? -E2BIG : 0;
}

/* ---- in the child: only system calls, and its own copy of initd's memory --------------------- */

static int set_limits(const struct spawn *s)
{
    if (s->max_files && sys_limit(0, RLIMIT_NOFILE, s->max_files) < 0)
        return -1;
    if (s->max_address_space && sys_limit(0, RLIMIT_AS, s->max_address_space) < 0)
        return -1;
    if (s->max_processes && sys_limit(0, RLIMIT_NPROC, s->max_processes) < 0)
        return -1;
    return s->max_cpu_s ? sys_limit(0, RLIMIT_CPU, s->max_cpu_s) : 0;
}

static int set_identity(const struct spawn *s)
{
    gid_t groups[JOB_GROUPS_MAX];

    if (s->uid == 0 && s->gid == 0 && s->groups.count == 0)
        return 0;
    for (uint32_t i = 0; i < s->groups.count; i++)
        groups[i] = wire_u32s_at(s->groups, i);
    /* The libc's wrappers look after other threads; there are none. */
    if (syscall(SYS_setgroups, (size_t)s->groups.count, groups) < 0 &&
        (s->groups.count > 0 || errno != EPERM))
        return -1;
    if (syscall(SYS_setresgid, s->gid, s->gid, s->gid) < 0)
        return -1;
    return (int)syscall(SYS_setresuid, s->uid, s->uid, s->uid);
}

static int set_files(const struct spawn *s)
{
    for (int i = 0; i < 3; i++)
        if (s->fds[i] != i && dup2(s->fds[i], i) < 0)
            return -1;
    return 0;
}

static const char *find_variable(struct wire_strs env, const char *prefix)
{
    for (const char *s = wire_strs_next(env, NULL); s; s = wire_strs_next(env, s))
        if (text_starts(s, prefix))
            return s + strlen(prefix);
    return NULL;
}

/* execve(2) in each directory of PATH, as execvp(3) does: what cannot be is remembered, what is missing is
 * not. */
static void exec_in_path(const char *directories, char **argv, char **envp)
{
    char file[PATH_MAX];
    int error = ENOENT;

    for (const char *d = directories; d; d = strchr(d, ':') ? strchr(d, ':') + 1 : NULL) {
        size_t n = strcspn(d, ":");
        if (n + strlen(argv[0]) + 2 > sizeof(file))
            continue;
        memcpy(file, d, n);
        file[n] = '\0';
        if (n > 0)
            strcat(file, "/"); /* an empty directory is the current one */
        strcat(file, argv[0]);
        execve(file, argv, envp);
        if (errno != ENOENT && errno != ENOTDIR)
            error = errno;
        if (error != ENOENT && error != EACCES)
            break;
    }
    errno = error;
}

static void exec_program(const struct spawn *s)
{
    static char
        *pointers[JOB_POINTERS_MAX]; /* written in the child only, so initd itself never has the pages */
    char **argv = pointers, **next = pointers;

    /* execve(2) does not change the strings. */
    for (const char *a = wire_strs_next(s->argv, NULL); a; a = wire_strs_next(s->argv, a))
        *next++ = (char *)(uintptr_t)a;
    *next++ = NULL;
    char **envp = next;
    for (const char *e = wire_strs_next(s->env, NULL); e; e = wire_strs_next(s->env, e))
        *next++ = (char *)(uintptr_t)e;
    *next = NULL;

    const char *path = find_variable(s->env, "PATH=");
    if (strchr(argv[0], '/'))
        execve(argv[0], argv, envp);
    else if (!argv[0][0])
        errno = ENOENT;
    else
        exec_in_path(path ? path : DEFAULT_PATH, argv, envp);
}

/*
 * Returns only when something failed, with errno set. Every system call here is paid for by every job, so
 * what initd already has the way a job needs it (umask, no core files, "/" as directory, no pending signals)
 * is inherited, and what does not differ is not set.
 */
static enum step become_program(const struct spawn *s, bool placed)
{
    sigset_t none;

    if (!placed && cgroup_enter(s->cgroup, getpid()) < 0)
        return STEP_CGROUP;
    setsid();
    if (set_files(s) < 0)
        return STEP_FILES;
    if (s->tty && ioctl(0, TIOCSCTTY, 0) < 0)
        return STEP_TERMINAL;
    if (set_limits(s) < 0)
        return STEP_LIMITS;
    if (set_identity(s) < 0)
        return STEP_IDENTITY;
    if (strcmp(s->cwd, "/") != 0 && chdir(s->cwd) < 0)
        return STEP_CWD;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL); /* initd blocks all; what it blocks would stay blocked */
    exec_program(s);
    return STEP_EXEC;
}

pid_t spawn_run(const struct spawn *s)
{
    bool placed;
    pid_t pid = sys_fork_into(s->cgroup->fd, &placed);

    if (pid != 0)
        return pid;

    struct spawn_failure failure = {0};
    failure.step = become_program(s, placed);
    failure.os_errno = errno;
    if (write(s->status_fd, &failure, sizeof(failure)) < 0) {
        /* initd will take it for an execve that went well, and see the exit. */
    }
    _exit(127);
}
