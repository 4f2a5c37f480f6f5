/*
 * spare: a process for the next job, made while nobody waits: forked, in a cgroup and with pipes of its own, it waits to
 * be told what to become. What is left for EXEC is execve(2).
 *
 * It is only ever a saving of time. When it is not there, or has been killed by a job of root, the job is forked as if
 * there were no such thing. One that is on its way to death when it is told what to become is found out later, by what
 * is left in the pipe; then EXEC is refused.
 */
#ifndef INITD_SPARE_H
#define INITD_SPARE_H

#include "cgroup.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* initd's side of a spare process. All is owned. */
struct spare {
    pid_t pid; /* 0: there is none */
    struct cgroup cgroup;
    int in_fd;      /* writes to its standard input */
    int out_fds[2]; /* read its standard output and error */
    int status_fd;  /* see spawn.h */
    int request_fd; /* for spawn_tell() */
};

/* Makes one if there is none. */
void spare_prepare(void);

/* The same, for the loop: some time after the last one was taken. Returns when to call again (sys_now() time), 0: no
 * need. */
uint64_t spare_run_timers(uint64_t now);

/* Hands the spare process over to the caller; false: there is none. */
bool spare_take(struct spare *ret);

/* Kills a process that was taken and is of no use after all, and gives back what it had. */
void spare_drop(struct spare *s);

/* Is it the spare process? */
bool spare_is(pid_t pid);

/* A child of initd has ended; true: it was the spare one. */
bool spare_on_child(pid_t pid);

#endif
