/*
 * bench_spawn: starts a program again and again, without initd, and prints how long each time took, in ns.
 *
 *   bench_spawn COUNT plain PROGRAM    fork, execve, wait
 *   bench_spawn COUNT vfork PROGRAM    the same, but the child borrows the memory
 *   bench_spawn COUNT pipes PROGRAM    with three pipes: output, errors, and one that tells of execve
 *   bench_spawn COUNT into PROGRAM     plain, into a cgroup that is there
 *   bench_spawn COUNT fresh PROGRAM    plain, into a new cgroup; its kill and peak are part of it, making and
 *                                      removing it is not
 *   bench_spawn COUNT job PROGRAM      the same with pipes: what initd does from EXEC to EXIT, but for frames
 *   bench_spawn COUNT cgroup PROGRAM   as fresh; making and removing it are part of it
 *   bench_spawn COUNT group PROGRAM    makes and removes a cgroup, and starts nothing
 *
 * COUNT may be COUNT/MS: with a pause of so many milliseconds before each, in which the guest sleeps.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GROUP "/sys/fs/cgroup/bench"

struct way {
    const char *name;
    bool pipes, placed, made, beforehand, vfork, no_program;
};

static const struct way ways[] = {
    {.name = "plain"},
    {.name = "vfork", .vfork = true},
    {.name = "pipes", .pipes = true},
    {.name = "into", .placed = true},
    {.name = "fresh", .placed = true, .made = true, .beforehand = true},
    {.name = "job", .placed = true, .made = true, .beforehand = true, .pipes = true},
    {.name = "cgroup", .placed = true, .made = true},
    {.name = "group", .placed = true, .made = true, .no_program = true},
};

struct group {
    int fd, kill_fd, peak_fd;
};

static _Noreturn void fail(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct group group_make(void)
{
    struct group g;

    if (mkdir(GROUP, 0755) < 0)
        fail("mkdir " GROUP);
    g.fd = open(GROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int oom = openat(g.fd, "memory.oom.group", O_WRONLY | O_CLOEXEC);
    if (oom < 0 || write(oom, "1", 1) != 1)
        fail("memory.oom.group");
    close(oom);
    g.kill_fd = openat(g.fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);
    g.peak_fd = openat(g.fd, "memory.peak", O_RDONLY | O_CLOEXEC);
    return g;
}

static void group_end(const struct group *g)
{
    char number[32];

    if (write(g->kill_fd, "1", 1) != 1 || pread(g->peak_fd, number, sizeof(number), 0) <= 0)
        fail("cgroup.kill, memory.peak");
}

static void group_remove(const struct group *g)
{
    close(g->kill_fd);
    close(g->peak_fd);
    close(g->fd);
    if (rmdir(GROUP) < 0)
        fail("rmdir " GROUP);
}

static pid_t start(const struct way *w, int group_fd)
{
    struct clone_args args = {.exit_signal = SIGCHLD};

    if (w->placed) {
        args.flags = CLONE_INTO_CGROUP;
        args.cgroup = (unsigned)group_fd;
    }
    /* Not the libc's fork(), which does more. */
    return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

static void pipes_open(int pipes[3][2])
{
    for (int i = 0; i < 3; i++) {
        if (pipe2(pipes[i], O_CLOEXEC) < 0)
            fail("pipe2");
    }
}

static void pipes_become_output(int pipes[3][2])
{
    dup2(pipes[0][1], 1);
    dup2(pipes[1][1], 2);
}

/* The end of the status pipe says that the program runs; that of the others, that all output is there. */
static void pipes_read(int pipes[3][2])
{
    char data[4096];

    for (int i = 0; i < 3; i++)
        close(pipes[i][1]);
    for (int i = 2; i >= 0; i--) {
        while (read(pipes[i][0], data, sizeof(data)) > 0) {
        }
        close(pipes[i][0]);
    }
}

static void run(const struct way *w, int group_fd, char **argv)
{
    int pipes[3][2], status;

    if (w->pipes)
        pipes_open(pipes);
    pid_t pid = w->vfork ? vfork() : start(w, group_fd);
    if (pid == 0) {
        if (w->pipes)
            pipes_become_output(pipes);
        execv(argv[0], argv);
        _exit(127);
    }
    if (pid < 0)
        fail("fork");
    if (w->pipes)
        pipes_read(pipes);
    if (waitpid(pid, &status, 0) != pid || status != 0)
        fail("waitpid");
}

static uint64_t once(const struct way *w, int group_fd, char **argv)
{
    struct group g = {.fd = group_fd};
    uint64_t before = now();

    if (w->made)
        g = group_make();
    if (w->beforehand)
        before = now();
    if (!w->no_program)
        run(w, g.fd, argv);
    if (w->made)
        group_end(&g);
    if (w->made && !w->beforehand)
        group_remove(&g);
    uint64_t after = now();
    if (w->beforehand)
        group_remove(&g);
    return after - before;
}

int main(int argc, char **argv)
{
    const struct way *w = NULL;
    struct group shared = {.fd = -1};

    for (size_t i = 0; argc > 3 && i < sizeof(ways) / sizeof(ways[0]); i++)
        if (strcmp(argv[2], ways[i].name) == 0)
            w = &ways[i];
    if (!w) {
        fprintf(stderr, "bench_spawn: usage: COUNT WAY PROGRAM...\n");
        return 2;
    }
    char *end;
    size_t count = strtoul(argv[1], &end, 10);
    const struct timespec pause = {.tv_nsec = *end == '/' ? 1000000 * strtol(end + 1, NULL, 10) : 0};
    uint64_t *took = calloc(count, sizeof(*took));
    if (!took)
        fail("calloc");
    if (w->placed && !w->made)
        shared = group_make();
    for (size_t i = 0; i < count; i++) {
        if (pause.tv_nsec)
            nanosleep(&pause, NULL);
        took[i] = once(w, shared.fd, argv + 3);
    }
    if (w->placed && !w->made)
        group_remove(&shared);
    for (size_t i = 0; i < count; i++)
        printf("%llu\n", (unsigned long long)took[i]);
    free(took);
    return 0;
}
