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
 * job.c has the table and the life of a job; job_start.c how it begins; job_io.c its channels and what is sent of them.
 */
#ifndef INITD_JOB_H
#define INITD_JOB_H

#include "cgroup.h"
#include "conn.h"
#include "fault.h"
#include "limits.h"
#include "messages.h"
#include "ring.h"
#include "spawn.h"
#include "watch.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

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

/* An output channel: 1 or 2 of the protocol, [0] and [1] of job.out. */
struct job_output {
    int fd;        /* owned; -1: at its end */
    bool watched;  /* by epoll; not while the ring is full */
    bool end_sent; /* on the present stream */
    struct ring ring;
    uint64_t sent;  /* below: sent on the present stream */
    uint64_t limit; /* below: the host takes it */
};

/* Channel 0. The ring's end is what was received, its start what the job was given. */
struct job_input {
    int fd; /* owned; -1: closed, or there was none */
    bool watched;
    bool open;        /* the host may send: JOB_STDIN was asked for */
    bool ending;      /* END came; fd is closed when the ring is empty */
    bool in_line;     /* terminal: the last byte given was not a newline */
    uint64_t granted; /* the limit that the host knows of */
    struct ring ring;
};

/* PRIME and FEED; see prime.c. */
struct job_prime {
    int fifo_fd;   /* owned; both ends of the script's FIFO; -1: not a primed job, or fed */
    int source_fd; /* owned; what is being fed; -1: nothing */
    uint64_t source_offset;
    bool watched;
    bool opened; /* the interpreter has the FIFO open */
    uint64_t deadline, look_at;
    uint64_t quiet_since, quiet_cpu;
    size_t parents_made; /* for sys_remove_parents() */
    char script[PRIME_SCRIPT_MAX];
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
    bool tty;
    int status_fd;  /* owned; STARTING: the status pipe */
    int request_fd; /* owned; STARTING: what the spare process was told; -1: there was none */
    struct cgroup cgroup;

    struct conn *conn; /* the present stream; NULL: none */
    uint32_t stream;
    uint16_t request;     /* what opened the stream */
    bool started_due;     /* STARTED has to be sent */
    struct fault failure; /* ERROR has to be sent, and then the job is forgotten */

    struct job_input in;
    struct job_output out[2];
    struct job_prime prime;

    /* Limits; 0: none. Times are those of sys_now(). */
    uint64_t output_max;
    uint64_t cpu_max_ns, cpu_base_ns, cpu_look_at;
    uint64_t start, wall_deadline, drain_deadline, leave_deadline;
    uint64_t finished_seq; /* which of two finished jobs is older */
    uint64_t taken;        /* output that had been consumed when wall_deadline passed last */

    uint8_t cause; /* why initd killed it; 0: it did not */
    struct msg_exit exit;
};

/* ---- the table (job.c) ----------------------------------------------------------------------- */

void job_init(void);

/* The index-th slot, index < JOBS_MAX, also when it is free. */
struct job *job_at(unsigned index);

/* Processes of it may be there, also ones that it has left. */
bool job_lives(const struct job *j);

/* False: that job has nothing to do, and nothing to tell. */
bool job_is_active(unsigned index);

/* NULL when there is none. */
struct job *job_find(uint32_t id);
struct job *job_find_stream(const struct conn *c, uint32_t stream);

/* The job whose EXIT was the last message of that stream. */
struct job *job_find_told(const struct conn *c, uint32_t stream);

/* Jobs that are not FREE. */
unsigned job_count(void);

/* True when some job has not got to its program, or to its script, yet. */
bool job_any_settling(void);

/* What a new job is; the fields of EXEC, or of PRIME and no limits. Borrowed for the time of the call. */
struct job_request {
    struct wire_strs argv, env;
    const char *cwd;
    uint32_t uid, gid;
    struct wire_u32s groups;
    uint16_t flags;
    uint16_t rows, cols;
    uint32_t wall_ms, cpu_ms, pids, files;
    uint64_t memory, output, window;
};

/* Checks r, and gives it a free slot, or that of a finished job whose EXIT was delivered and that has left nobody, oldest first; its fields are those of an idle job with a new
 * id. NULL: r cannot be, or all slots are in use; nothing has changed. job_start() of r, or job_free(), comes next. */
struct job *job_take_slot(const struct job_request *r, struct fault *ret);

/* The job's stream is (c, stream) from now on, and its output is sent there from the given offsets, window
 * bytes of each before the first WINDOW. Who had the job before is told that it is gone. */
void job_bind(struct job *j, struct conn *c, uint32_t stream, uint16_t request, const uint64_t offsets[2],
              uint64_t window);

/* The job has no stream any more. */
void job_unbind(struct job *j);

/* All streams of c end. */
void job_drop_conn(const struct conn *c);

/* Kills every process of the job, or what it has left; EXIT will give this cause, where no other came first. One whose first process is gone and
 * that only waits for its host to take output is finished at once, with what initd has of it. */
void job_kill(struct job *j, uint8_t cause);

/* SIGNAL. Returns 0 or -errno. */
int job_signal(struct job *j, int signal, bool whole_job);

/* The start failed, or PRIME did: the job is killed, its stream gets ERROR, and it is forgotten. */
void job_fail(struct job *j, struct fault f);

/* Forgets a job whatever its state: everything it holds is given back. */
void job_free(struct job *j);

/* Is it a job's first process, on its way to execve(2)? */
bool job_is_starting(pid_t pid);

/* A child of initd has ended. Unknown ones are orphans that initd inherited. */
void job_on_child(pid_t pid, int status, const struct rusage *usage, uint64_t now);

/* An event for w; stale ones are ignored. */
void job_on_event(struct watch w, uint32_t events);

/* Does what time asks for. Returns when to call again (sys_now() time), 0: no need, now: connections have to
 * be served. */
uint64_t job_run_timers(uint64_t now);

/* Its first process is gone: it is finished, or about to be, or only waits for its host to take output. */
bool job_has_ended(const struct job *j);

/* JOB_RUNNING, JOB_PRIMED or JOB_ENDED of the protocol. */
uint32_t job_wire_state(const struct job *j);

/* ---- start (job_start.c) ---------------------------------------------------------------------- */

/* Can there be such a job? */
struct fault job_check(const struct job_request *r);

/* Starts the program. After a fault the slot is free. */
struct fault job_start(struct job *j, const struct job_request *r);

/* The clock of a job's limits begins to run. */
void job_start_limits(struct job *j, uint32_t wall_ms, uint32_t cpu_ms, uint64_t output_max);

/* ---- channels (job_io.c) --------------------------------------------------------------------- */

/* At boot. What a terminal is made of stays reachable when a job of root takes away or covers /dev. */
void job_io_open_devpts(void);

void job_io_init(struct job *j);

struct watch job_token(const struct job *j, enum watch_kind kind);

/* Opens pipes or a terminal; the child's ends are put in child_fds. Returns 0 or -errno. */
int job_io_open(struct job *j, const struct job_request *r, int child_fds[3]);

/* Takes over pipes that are open already; in_fd -1: no standard input. */
void job_io_adopt(struct job *j, int in_fd, const int out_fds[2]);

/* Closes the child's ends. */
void job_io_close_child(int child_fds[3]);

/* Begins to read output. */
int job_io_watch(struct job *j);

/* Closes all channels; what was read stays. */
void job_io_close(struct job *j);

/* The job is forgotten: gives everything back. */
void job_io_free(struct job *j);

/* Reads output channel n (0 or 1). Returns true when something came or the channel ended. */
bool job_io_read(struct job *j, unsigned n);

/* Reads on where a full ring had stopped it. */
void job_io_resume(struct job *j);

/* True when no output can come any more. */
bool job_io_ended(const struct job *j);

/* True when output waits in a pipe because a ring is full. */
bool job_io_blocked(const struct job *j);

/* DATA, END and WINDOW from the host. Return 0, or PROTO_ERR_FLOW. */
int job_io_take(struct job *j, uint64_t offset, struct wire_bytes data);
int job_io_take_end(struct job *j, uint64_t offset);
int job_io_take_window(struct job *j, const struct msg_window *m);

/* The last WINDOW of a stream that has ended with EXIT: what was consumed is not kept. */
void job_io_take_late_window(struct job *j, const struct msg_window *m);

/* Gives standard input what it takes. */
void job_io_write(struct job *j);

/* Standard input is at its end: what is buffered goes out, then it is closed. */
void job_io_end_input(struct job *j);

/* Puts what the jobs of this connection have to say into its buffer, in turns. True when something was put.
 */
bool job_io_emit(struct conn *c);

#endif
