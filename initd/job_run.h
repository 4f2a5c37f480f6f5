/*
 * job_run: what happens to jobs: their events, the end of their processes, and what time asks for.
 */
#ifndef INITD_JOB_RUN_H
#define INITD_JOB_RUN_H

#include "watch.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

/* Is it a job's first process, on its way to execve(2)? */
bool job_is_starting(pid_t pid);

/* A child of initd has ended. Unknown ones are orphans that initd inherited. */
void job_on_child(pid_t pid, int status, const struct rusage *usage, uint64_t now);

/* An event for w; stale ones are ignored. */
void job_on_event(struct watch w, uint32_t events);

/* Does what time asks for. Returns when to call again (sys_now() time), 0: no need, now: connections have to
 * be served. */
uint64_t job_run_timers(uint64_t now);

#endif
