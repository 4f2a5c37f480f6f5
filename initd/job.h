/*
 * job: the jobs: a program started for the host, with everything that it starts, until its end was told.
 *
 *   FREE -> STARTING -> RUNNING ------------> DRAINING -> LEAVING -> FINISHED -> FREE
 *              |  `---> SETTLING -> PRIMED -> RUNNING (after FEED)
 *              `-> (ERR_EXEC) -> FREE
 *
 * STARTING: forked, execve(2) not yet done. SETTLING, PRIMED: see prime.h. DRAINING: the first process is
 * gone, its output is still read. LEAVING: what it left behind is killed, and not gone yet. FINISHED: nothing lives any more, but what
 * a job with JOB_KEEP has left, which its cgroup tells; what was said and EXIT wait for the host.
 *
 * Here are the table, and how a job ends. What goes on with it is above this: job_start.h, job_output.h, job_run.h for
 * what the kernel tells of it, and job_stream.h for its host.
 */
#ifndef INITD_JOB_H
#define INITD_JOB_H

#include "cgroup.h"
#include "channels.h"
#include "fault.h"
#include "limits.h"
#include "messages.h"
#include "prime.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* How long a kill is waited for before the next one. */
#define JOB_KILL_AGAIN_NS (1 * NS_PER_S)

struct conn;

enum job_state {
    JOB_FREE,
    JOB_STARTING,
    JOB_SETTLING,
    JOB_PRIMED,
    JOB_RUNNING,
    JOB_DRAINING,
    JOB_LEAVING,
    JOB_FINISHED
};

struct job {
    enum job_state state;
    uint32_t id;
    pid_t pid; /* of the first process; stays after its end */
    bool reaped;
    bool is_prime;  /* PRIME: it is settling, or primed, or ended before FEED */
    bool keeps;     /* JOB_KEEP: what it leaves is not killed at its end, and holds its group from then on */
    bool delivered; /* EXIT was put on a stream */
    const struct conn *told; /* of this connection, while it is there */
    uint32_t told_stream;    /* on this stream of it */
    uint64_t unproven;       /* standard output up to here was sent before the last EXIT of another job */
    int status_fd;           /* owned; STARTING: the status pipe */
    int request_fd;          /* owned; STARTING: what the spare process was told; -1: there was none */
    struct cgroup cgroup;

    struct conn *conn; /* the present stream; NULL: none */
    uint32_t stream;
    uint16_t request;     /* what opened the stream */
    bool started_due;     /* STARTED has to be sent */
    struct fault failure; /* ERROR has to be sent, and then the job is forgotten */

    struct channels io;
    struct prime prime;

    /* Limits; 0: none. Times are those of sys_now(). */
    uint64_t cpu_max_ns, cpu_base_ns, cpu_look_at;
    uint64_t start, wall_deadline, drain_deadline, leave_deadline;
    uint64_t finished_seq; /* which of two finished jobs is older */
    uint64_t taken;        /* output that had been consumed when wall_deadline passed last */

    uint8_t cause; /* why initd killed it; 0: it did not */
    struct msg_exit exit;
};

/* ---- the table -------------------------------------------------------------------------------- */

void job_init(void);

/* The index-th slot, index < JOBS_MAX, also when it is free. */
struct job *job_at(unsigned index);

/* A free slot, or that of a finished job whose EXIT was delivered and that has left nobody, oldest first; its fields are
 * those of an idle job with a new id. NULL: all slots are in use. What follows is a state, or job_free(). */
struct job *job_take_slot(void);

/* Forgets a job whatever its state: everything it holds is given back. */
void job_free(struct job *j);

/* False: that job has nothing to do, and nothing to tell; its memory need not even be looked at. */
bool job_is_active(unsigned index);
void job_set_active(const struct job *j, bool active);

/* NULL when there is none. */
struct job *job_find(uint32_t id);

/* Jobs that are not FREE. */
unsigned job_count(void);

/* True when some job has not got to its program, or to its script, yet. */
bool job_any_settling(void);

/* Processes of it may be there, also ones that it has left. */
bool job_lives(const struct job *j);

/* The same of a finished job, looked at: when nobody is left, its group is given up. */
bool job_has_left(struct job *j);

/* Its first process is gone: it is finished, or about to be, or only waits for its host to take output. */
bool job_has_ended(const struct job *j);

/* JOB_RUNNING, JOB_PRIMED or JOB_ENDED of the protocol. */
uint32_t job_wire_state(const struct job *j);

/* ---- its end ---------------------------------------------------------------------------------- */

/* Kills every process of the job, or what it has left; EXIT will give this cause, where no other came first. One whose first process is gone and
 * that only waits for its host to take output is finished at once, with what initd has of it. */
void job_kill(struct job *j, uint8_t cause);

/* SIGKILL to all that is known of it, and nothing else. */
void job_kill_processes(struct job *j);

/* SIGNAL. Returns 0 or -errno. */
int job_signal(struct job *j, int signal, bool whole_job);

/* The start failed, or PRIME did: the job is killed, its stream gets ERROR, and it is forgotten. */
void job_fail(struct job *j, struct fault f);

/* Its first process is gone, and no more output is read. Everything that lives is killed, but what is kept; what is left
 * to do is to see it go, and to tell. */
void job_finish(struct job *j);

/* The same where nobody takes its output: the rest of it is given up. */
void job_cut_short(struct job *j);

/* LEAVING: looks whether all are gone. Returns when to look again; now: it is FINISHED. */
uint64_t job_check_leave(struct job *j, uint64_t now);

#endif
