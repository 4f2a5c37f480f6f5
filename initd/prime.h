/*
 * prime: interpreters that wait in front of their script (PROTOCOL.md 6).
 *
 * The script is a FIFO that initd holds open for reading and writing: so the interpreter's open(2) returns,
 * and its read(2) sleeps until FEED. When the content is written initd closes the FIFO; what is still in it
 * can be read, and then comes the end of file.
 */
#ifndef INITD_PRIME_H
#define INITD_PRIME_H

#include "cgroup.h"
#include "limits.h"
#include "watch.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct prime {
    int fifo_fd;   /* owned; both ends of the script's FIFO; -1: nobody waits for a script, or it was fed */
    int source_fd; /* owned; what is being fed; -1: nothing */
    uint64_t source_offset;
    bool watched;
    bool opened; /* the interpreter has the FIFO open */
    uint64_t deadline, look_at;
    uint64_t quiet_since, quiet_cpu;
    size_t parents_made; /* for sys_remove_parents() */
    char script[PRIME_SCRIPT_MAX];
};

enum prime_progress { PRIME_WAITS, PRIME_SLEEPS, PRIME_LATE };

#define PRIME_NONE ((struct prime){.fifo_fd = -1, .source_fd = -1})

/* Makes and opens the FIFO. Returns 0 or -errno (-ENAMETOOLONG: the path is too long for its table). */
int prime_open(struct prime *p, const char *script, uint32_t uid, uint32_t gid);

/* The interpreter has started: it has settle_ms to sleep on the script. */
void prime_set_deadline(struct prime *p, uint32_t settle_ms, uint64_t now);

/* Looks whether it sleeps: process pid and what else is in its group. PRIME_WAITS: to be called again at p->look_at. */
enum prime_progress prime_look(struct prime *p, pid_t pid, const struct cgroup *g, uint64_t now);

/* Opens what is to be fed: a regular file. Returns an fd, which the caller owns, or -errno. */
int prime_open_source(const char *source);

/* The source has the script's name now: takes source_fd over, and begins to write it into the FIFO. token: for the FIFO. */
void prime_feed(struct prime *p, int source_fd, struct watch token);

/* The FIFO takes more. */
void prime_write(struct prime *p, struct watch token);

/* Gives back what it holds. */
void prime_close(struct prime *p);

#endif
