/*
 * job_start: how a job begins: EXEC, PRIME, and FEED, which lets a primed one go on.
 */
#ifndef INITD_JOB_START_H
#define INITD_JOB_START_H

#include "fault.h"
#include "job.h"
#include "messages.h"
#include "wire.h"

#include <stdint.h>

/* What a new job is; the fields of EXEC, or of PRIME and no limits. Borrowed for the time of the call. */
struct job_request {
    struct wire_strs argv, env;
    const char *cwd;
    uint32_t uid, gid;
    struct wire_u32s groups;
    uint16_t flags;
    uint16_t rows, cols;
    uint32_t wall_ms, cpu_ms, pids, files;
    uint64_t memory, output;
    const char *script; /* absolute; NULL: it is not to wait for one */
    uint32_t settle_ms; /* for how long it may take until it does */
};

/* Starts the program. After a fault nothing has changed, but that an ended job may have been forgotten. What fails later is
 * told on the stream that *ret is given next. */
struct fault job_start(const struct job_request *r, struct job **ret);

/* FEED. NULL: there is no such job. After a fault it is as it was. */
struct fault job_feed(struct job *j, const struct msg_feed *m);

#endif
