/*
 * job_output: reading of a job's output: what it means for the job, and who has the large ring.
 */
#ifndef INITD_JOB_OUTPUT_H
#define INITD_JOB_OUTPUT_H

#include "job.h"

#include <stdbool.h>

/* Reads output channel n + 1 once. True: something came, or the channel ended. When the job's output becomes too much, it
 * is killed; an ended job whose host knows of the end may be forgotten for its large ring. */
bool job_read(struct job *j, unsigned n);

/* Reads on where a full ring had stopped it. */
void job_read_on(struct job *j);

#endif
