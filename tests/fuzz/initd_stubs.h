/*
 * initd_stubs: what stands in for the machine below initd in fuzz_initd: clock, processes, cgroups, files.
 *
 * Taken out are boot.c, cgroup.c, cmdline.c, layers.c, main.c, power.c, root.c, service.c, spare.c, spawn.c and sys.c; this file has doubles of their
 * functions. The other sources of initd are as they are, but that initd.syms renames the system calls that
 * name a path, a process or the machine to fake_...(), so that none of them is ever made.
 */
#ifndef TESTS_FUZZ_INITD_STUBS_H
#define TESTS_FUZZ_INITD_STUBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

#define CHILDREN_MAX 48
#define FIRST_CHILD 1000 /* pids of jobs; helpers begin at FIRST_HELPER */
#define FIRST_HELPER 100000

/* The first process of a job, as far as initd can see it. */
struct child {
    pid_t pid; /* 0: none */
    uint32_t group;
    int fds[3]; /* -1: closed */
    int status_fd;
    bool gone;           /* it has ended; descendants may hold fds */
    uint64_t written[2]; /* bytes of output so far */
};

extern struct child stub_children[CHILDREN_MAX];
extern uint64_t stub_now;   /* ns */
extern bool stub_no_cgroup; /* a kernel without cgroups */
extern bool stub_no_fork;   /* no process to be had for helpers */
extern bool stub_never_sleeps;
extern bool stub_over; /* the loop is to return */

/* What initd does when it waits: the script goes on. As epoll_wait(2). */
int script_step(int epoll, struct epoll_event *events, int max, int timeout_ms);

/* Once: makes dangerous system calls impossible, whatever the doubles forget. */
void stub_confine(void);

/* Everything as after boot. */
void stub_reset(void);

/* initd's end of a new connection, for its next accept. */
void stub_offer(int fd);
bool stub_offered(void);

void child_exec(struct child *c, int os_errno); /* 0: the program runs */
void child_close(struct child *c, unsigned n);
void child_write(struct child *c, unsigned n, size_t size);
void child_read(struct child *c, size_t size);
void child_exit(struct child *c, int status, bool leave_output);
uint8_t child_pattern(uint32_t pid, unsigned channel, uint64_t offset);

/* The oldest helper ends; false: there is none. */
bool helper_exit(int code);

/* How many there were. */
int helper_count(void);

/* Interpreters read their FIFOs. */
void fifo_drain(void);

#endif
