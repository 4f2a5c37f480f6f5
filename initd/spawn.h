/*
 * spawn: the way of a process from fork to exec. job_start.c decides what it is to be.
 */
#ifndef INITD_SPAWN_H
#define INITD_SPAWN_H

#include "cgroup.h"
#include "wire.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Resource limits, setrlimit(2); 0: as initd has them, or as they are. */
struct spawn_limits {
    uint64_t files;
    uint64_t address_space;
    uint64_t processes;
    uint64_t cpu_s;
};

/* Everything is borrowed for the time of the call. */
struct spawn {
    struct wire_strs argv; /* at least one */
    struct wire_strs env;
    const char *cwd;
    uint32_t uid, gid;
    struct wire_u32s groups;
    int fds[3]; /* become 0, 1 and 2 */
    bool tty;   /* fds[0] is to be the controlling terminal */
    const struct cgroup *cgroup;
    struct spawn_limits limits;
    int status_fd; /* the child's end of the status pipe */
};

/* What a child that could not get to its program writes to the status pipe. When the pipe ends without it,
 * execve(2) has succeeded (or the child was killed on the way). */
struct spawn_failure {
    int32_t os_errno;
    uint32_t step; /* for spawn_step_name() */
};

/* The child's ends of pipes. Borrowed for the time of the call. */
struct spawn_files {
    int fds[3]; /* become 0, 1 and 2 */
    int status_fd;
    int request_fd; /* where it waits for spawn_tell() */
};

const char *spawn_step_name(uint32_t step);

/* Counts and sizes that the child will need fit its tables: 0, or -E2BIG. */
int spawn_check(const struct spawn *s);

/* Sets them for a process that runs already, 0: for the caller. 0, or -errno of the first that could not be set. */
int spawn_limit(pid_t pid, const struct spawn_limits *l);

/* Forks and executes. Returns the child's pid or -errno. */
pid_t spawn_run(const struct spawn *s);

/* False on a kernel without close_range(2), before 5.9: a child that waits would keep the files of others open. */
bool spawn_can_wait(void);

/* The same in two steps: forks a child that waits until it is told what to become, or the pipe ends. Returns its pid or
 * -errno. */
pid_t spawn_waiting(const struct cgroup *g, const struct spawn_files *files);

/* Tells it; of s, what a waiting child has already (fds, tty, cgroup, status_fd) is left out. has_input: its standard
 * input is the pipe, not /dev/null. Returns 0 or -errno: -EMSGSIZE when s is too large, -EPIPE when the child is gone. */
int spawn_tell(int request_fd, const struct spawn *s, bool has_input);

#endif
