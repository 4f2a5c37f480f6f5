/*
 * child: programs that this process starts. Each has an owner, who ends it with child_kill(); and each dies
 * by the kernel's hand (PR_SET_PDEATHSIG, prctl(2)) when the thread that started it dies.
 */
#ifndef CAPSID_CHILD_H
#define CAPSID_CHILD_H

#include "base/deadline.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CHILD_KEPT_FDS_MAX 16

/*
 * How a child is set apart from this process. enter() runs in the child before the program does, when the child
 * has its namespaces and file descriptors: it may make only async-signal-safe calls, and returns -1 with errno
 * and the name of the step that failed. seal() is the same, and the last before the program: what it takes from the child
 * enter() may still need. attend(), which may be NULL, runs in this process meanwhile, for what the child waits for.
 */
struct child_isolation {
    uint64_t namespaces;     /* CLONE_NEW* of clone(2) */
    int cgroup_fd;           /* directory of the cgroup (v2) it begins in; -1: this process's */
    const char *const *envp; /* NULL-terminated, instead of this process's environment */
    int (*enter)(const void *context, const char **ret_step);
    int (*seal)(const void *context, const char **ret_step);
    int (*attend)(void *context, struct error *e);
    void *context;
    bool rehearsal; /* end with status 0 instead of executing the program */
};

struct child_spec {
    const char *const *argv;                 /* NULL-terminated; argv[0] is looked up in PATH */
    const char *directory;                   /* to run in; NULL: this process's own */
    int stdin_fd;                            /* -1: /dev/null */
    int stdout_fd;                           /* -1: /dev/null */
    int stderr_fd;                           /* -1: /dev/null */
    const int *kept_fds;                     /* these stay open in the child, under the same numbers */
    size_t kept_count;                       /* at most CHILD_KEPT_FDS_MAX */
    const struct child_isolation *isolation; /* NULL: none */
};

struct child {
    pid_t pid;           /* 0: none */
    int pidfd;           /* -1: none; readable when the child has ended */
    uint64_t start_time; /* field 22 of /proc/PID/stat: with the pid it names this process only */
    uint64_t record;     /* where it is recorded (store/home.h); 0: nowhere */
    int64_t started_ns;  /* CLOCK_MONOTONIC, when the program ran */
    int64_t cpu_ns; /* once it was reaped: processor time that it used, and its children that it waited for */
    uint64_t peak;  /* once it was reaped: bytes it had in memory at most */
};

#define CHILD_NONE ((struct child){.pid = 0, .pidfd = -1})

/* Starts a program in a session of its own. A program that cannot be executed is an error here. */
int child_spawn(struct child *ret, const struct child_spec *spec, struct error *e);

/* Waits until the child has ended and reaps it: 1 and its wait(2) status; 0 at the deadline; -1 on error. */
int child_wait(struct child *c, int64_t deadline, const struct cancel *cancel, int *ret_status,
               struct error *e);

/* SIGKILL, and reaps it. Does nothing for CHILD_NONE. */
void child_kill(struct child *c);

/* Kills the process that pid and start_time name, when it still runs and leads a session, as those of child_spawn() do. For
 * what another process left behind. */
void child_kill_recorded(pid_t pid, uint64_t start_time);

/*
 * For a child that has just been forked, and again after it changed its user, which ends what was asked for (prctl(2)): it is
 * killed when its parent's thread ends, and ends at once if that has happened. pipe_fd is the writing end of a pipe whose
 * other end the parent alone has open. Async-signal-safe.
 */
void child_die_with_parent(int pipe_fd);

/* Start time of a process as in struct child; 0 when there is no such process. */
uint64_t child_start_time(pid_t pid);

/* Runs a program to its end and collects up to max bytes of its standard output (further output is an error).
 * Non-zero exit is an error. */
struct buffer;
int child_capture(const char *const *argv, size_t max, int64_t deadline, const struct cancel *cancel,
                  struct buffer *ret, struct error *e);

/* The path of a program that PATH has, for the caller to free; NULL: none. */
char *child_find_program(const char *name);

#endif
