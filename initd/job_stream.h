/*
 * job_stream: a job and its host: the stream of a connection that a job has, and what is said on it.
 */
#ifndef INITD_JOB_STREAM_H
#define INITD_JOB_STREAM_H

#include "conn.h"
#include "job.h"

#include <stdbool.h>
#include <stdint.h>

/* NULL when there is none. */
struct job *job_find_stream(const struct conn *c, uint32_t stream);

/* The job whose EXIT was the last message of that stream. */
struct job *job_find_told(const struct conn *c, uint32_t stream);

/* The job's stream is (c, stream) from now on, and its output is sent there from the given offsets, window
 * bytes of each before the first WINDOW. Who had the job before is told that it is gone. */
void job_bind(struct job *j, struct conn *c, uint32_t stream, uint16_t request, const uint64_t offsets[2],
              uint64_t window);

/* All streams of c end. */
void job_drop_conn(const struct conn *c);

/* WINDOW of the host. False: more is consumed than was sent, or it is of another channel. */
bool job_take_window(struct job *j, const struct msg_window *m);

/* The last WINDOW of a stream that has ended with EXIT: what was consumed is not kept. */
void job_take_late_window(struct job *j, const struct msg_window *m);

/* Puts what the jobs of this connection have to say into its buffer, in turns. True when something was put. */
bool job_emit(struct conn *c);

#endif
