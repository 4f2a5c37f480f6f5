/*
 * prime: interpreters that wait in front of their script (PROTOCOL.md 6).
 *
 * The script is a FIFO that initd holds open for reading and writing: so the interpreter's open(2) returns,
 * and its read(2) sleeps until FEED. When the content is written initd closes the FIFO; what is still in it
 * can be read, and then comes the end of file.
 */
#ifndef INITD_PRIME_H
#define INITD_PRIME_H

#include "job.h"

void prime_init(struct job *j);

/* Makes and opens the FIFO. Returns 0 or -errno (-ENAMETOOLONG: the path is too long for its table). */
int prime_open(struct job *j, const char *script, uint32_t uid, uint32_t gid);

/* The job has started: wait until it sleeps on the script, for at most settle_ms. */
void prime_set_deadline(struct job *j, uint32_t settle_ms, uint64_t now);

/* SETTLING: looks at it. Returns when to call again; now: it has an end, and there is something to tell. */
uint64_t prime_run_timers(struct job *j, uint64_t now);

/* Opens what is to be fed: a regular file. Returns an fd, which the caller owns, or -errno. */
int prime_open_source(const char *source);

/* The source has the script's name now: takes source_fd over, and begins to write it into the FIFO. */
void prime_feed(struct job *j, int source_fd);

/* The FIFO takes more. */
void prime_write(struct job *j);

/* Gives back what it holds. */
void prime_close(struct job *j);

#endif
