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
#include <sys/uio.h>
#include <unistd.h>

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin" /* PROTOCOL.md 5 */

enum step {
    STEP_NONE,
    STEP_CGROUP,
    STEP_FILES,
    STEP_TERMINAL,
    STEP_LIMITS,
    STEP_IDENTITY,
    STEP_CWD,
    STEP_EXEC
};

const char *spawn_step_name(uint32_t step)
{
    static const char *const names[] = {
        [STEP_NONE] = "killed while it waited to be told what the job is",
        [STEP_CGROUP] = "entering the cgroup",
        [STEP_FILES] = "standard input and output",
        [STEP_TERMINAL] = "terminal",
        [STEP_LIMITS] = "resource limits",
        [STEP_IDENTITY] = "user and groups",
        [STEP_CWD] = "working directory",
        [STEP_EXEC] = "execve",
    };

    return step < sizeof(names) / sizeof(names[0]) && names[step] ? names[step] : "unknown step";
}

int spawn_check(const struct spawn *s)
{
    if (wire_strs_count(s->argv) + wire_strs_count(s->env) + 2 > JOB_POINTERS_MAX)
        return -E2BIG;
    return s->groups.count > JOB_GROUPS_MAX ? -E2BIG : 0;
}

int spawn_limit(pid_t pid, const struct spawn_limits *l)
{
    int r = l->files ? sys_limit(pid, RLIMIT_NOFILE, l->files) : 0;

    if (r == 0 && l->address_space)
        r = sys_limit(pid, RLIMIT_AS, l->address_space);
    if (r == 0 && l->processes)
        r = sys_limit(pid, RLIMIT_NPROC, l->processes);
    if (r == 0 && l->cpu_s)
        r = sys_limit(pid, RLIMIT_CPU, l->cpu_s);
    return r;
}

/* ---- in the child: only system calls, and its own copy of initd's memory --------------------- */

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

/* So that /dev/stdin, /dev/stdout and /dev/stderr can be opened by name: what initd made for the job, pipes or a terminal,
 * is its user's; /dev/null stays everybody's. Where that cannot be, the same stands in the way of the identity. */
static void give_files(uid_t uid)
{
    for (int i = 0; i < 3; i++) {
        struct stat st;
        if (fstat(i, &st) == 0 && st.st_uid != uid && (S_ISFIFO(st.st_mode) || isatty(i)))
            fchown(i, uid, (gid_t)-1);
    }
}

static int set_files(const int fds[3])
{
    for (int i = 0; i < 3; i++)
        if (fds[i] != i && dup2(fds[i], i) < 0)
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

/* execve(2), also of a file that was written just now (limits.h, EXEC_BUSY_MS). */
static void execute(const char *file, char **argv, char **envp)
{
    unsigned waited = 0;

    for (unsigned pause = EXEC_BUSY_PAUSE_MS;; pause *= 2) {
        execve(file, argv, envp);
        if (errno != ETXTBSY || waited >= EXEC_BUSY_MS)
            return;
        usleep(pause * 1000);
        waited += pause;
    }
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
        execute(file, argv, envp);
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
        execute(argv[0], argv, envp);
    else if (!argv[0][0])
        errno = ENOENT;
    else
        exec_in_path(path ? path : DEFAULT_PATH, argv, envp);
}

/*
 * Every system call here is paid for by every job, so what initd already has the way a job needs it (umask, no
 * core files, "/" as directory, no pending signals) is inherited, and what does not differ is not set. Both
 * functions return the step that failed, with errno set.
 */
static enum step take_place(const struct cgroup *g, bool placed, const int fds[3])
{
    if (!placed && cgroup_enter(g, getpid()) < 0)
        return STEP_CGROUP;
    setsid();
    return set_files(fds) < 0 ? STEP_FILES : STEP_NONE;
}

/* Returns only when something failed. */
static enum step become_program(const struct spawn *s)
{
    sigset_t none;

    if (s->tty && ioctl(0, TIOCSCTTY, 0) < 0)
        return STEP_TERMINAL;
    if (spawn_limit(0, &s->limits) < 0)
        return STEP_LIMITS;
    if (s->uid != 0)
        give_files(s->uid);
    if (set_identity(s) < 0)
        return STEP_IDENTITY;
    if (strcmp(s->cwd, "/") != 0 && chdir(s->cwd) < 0)
        return STEP_CWD;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL); /* initd blocks all; what it blocks would stay blocked */
    exec_program(s);
    return STEP_EXEC;
}

static _Noreturn void fail_child(int status_fd, enum step step)
{
    struct spawn_failure failure = {.os_errno = errno, .step = step};

    if (write(status_fd, &failure, sizeof(failure)) < 0) {
        /* initd will take it for an execve that went well, and see the exit. */
    }
    _exit(127);
}

pid_t spawn_run(const struct spawn *s)
{
    bool placed;
    pid_t pid = sys_fork_into(s->cgroup->fd, &placed);

    if (pid != 0)
        return pid;

    enum step failed = take_place(s->cgroup, placed, s->fds);
    fail_child(s->status_fd, failed ? failed : become_program(s));
}

/* ---- a child that waits ------------------------------------------------------------------------ */

/* What goes through the pipe: this, and then argv, env, cwd with its NUL, and groups as they are in a frame. */
struct request {
    uint32_t argv_size, env_size, cwd_size, group_count;
    uint32_t uid, gid;
    struct spawn_limits limits;
    bool has_input;
};

#define PARTS 4

static size_t group_bytes(uint32_t count)
{
    return count * sizeof(uint32_t);
}

int spawn_tell(int request_fd, const struct spawn *s, bool has_input)
{
    struct request r = {
        .argv_size = s->argv.size,
        .env_size = s->env.size,
        .cwd_size = (uint32_t)strlen(s->cwd) + 1,
        .group_count = s->groups.count,
        .uid = s->uid,
        .gid = s->gid,
        .limits = s->limits,
        .has_input = has_input,
    };
    const struct iovec parts[1 + PARTS] = {
        {&r, sizeof(r)},
        {(void *)(uintptr_t)s->argv.data, r.argv_size},
        {(void *)(uintptr_t)s->env.data, r.env_size},
        {(void *)(uintptr_t)s->cwd, r.cwd_size},
        {(void *)(uintptr_t)s->groups.data, group_bytes(r.group_count)},
    };
    size_t size = 0;

    for (int i = 0; i < 1 + PARTS; i++)
        size += parts[i].iov_len;
    if (size > SPAWN_REQUEST_MAX)
        return -EMSGSIZE;
    /* An empty pipe takes all of it at once. */
    return writev(request_fd, parts, 1 + PARTS) == (ssize_t)size ? 0 : -EPIPE;
}

static void read_fully(int fd, void *buffer, size_t size)
{
    for (size_t got = 0; got < size;) {
        ssize_t n = read(fd, (uint8_t *)buffer + got, size - got);
        if (n <= 0 && !(n < 0 && errno == EINTR))
            _exit(0); /* it is not needed any more */
        got += n > 0 ? (size_t)n : 0;
    }
}

/* Closes everything above 2 but count files, which are sorted: initd's own, and those of other jobs, which would not see
 * the end of their input otherwise. */
static int close_others(int *kept, int count)
{
    unsigned next = 3;

    for (int i = 1; i < count; i++)
        for (int k = i; k > 0 && kept[k] < kept[k - 1]; k--) {
            int lower = kept[k];
            kept[k] = kept[k - 1];
            kept[k - 1] = lower;
        }
    for (int i = 0; i < count; next = (unsigned)kept[i++] + 1)
        if ((unsigned)kept[i] > next && syscall(SYS_close_range, next, (unsigned)kept[i] - 1, 0u) < 0)
            return -1;
    return (int)syscall(SYS_close_range, next, ~0u, 0u);
}

static _Noreturn void wait_and_become(const struct spawn_files *files, int null)
{
    static uint8_t
        strings[SPAWN_REQUEST_MAX]; /* written in the child only, as the pointers of exec_program() */
    struct request r;

    read_fully(files->request_fd, &r, sizeof(r));
    size_t size = (size_t)r.argv_size + r.env_size + r.cwd_size + group_bytes(r.group_count);
    if (size > sizeof(strings))
        _exit(0); /* not from initd: root can write to its pipes */
    read_fully(files->request_fd, strings, size);
    const uint8_t *env = strings + r.argv_size, *cwd = env + r.env_size;
    const struct spawn s = {
        .argv = {.data = (const void *)strings, .size = r.argv_size},
        .env = {.data = (const void *)env, .size = r.env_size},
        .cwd = (const char *)cwd,
        .groups = {.data = cwd + r.cwd_size, .count = r.group_count},
        .uid = r.uid,
        .gid = r.gid,
        .limits = r.limits,
    };
    if (!r.has_input && dup2(null, STDIN_FILENO) < 0)
        fail_child(files->status_fd, STEP_FILES);
    fail_child(files->status_fd, become_program(&s));
}

bool spawn_can_wait(void)
{
    static int can = -1;

    if (can < 0)
        can = syscall(SYS_close_range, ~0u, ~0u, 0u) == 0; /* no such file */
    return can;
}

pid_t spawn_waiting(const struct cgroup *g, const struct spawn_files *files)
{
    bool placed;
    pid_t pid = sys_fork_into(g->fd, &placed);

    if (pid != 0)
        return pid;

    int null = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3); /* initd's own standard input */
    int kept[3] = {null, files->status_fd, files->request_fd};
    enum step failed = null < 0 ? STEP_FILES : take_place(g, placed, files->fds);
    if (failed)
        fail_child(files->status_fd, failed);
    if (close_others(kept, 3) < 0)
        fail_child(files->status_fd, STEP_FILES);
    wait_and_become(files, null);
}
