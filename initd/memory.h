/*
 * memory: looks after what is left of it while jobs run.
 *
 * The kernel kills a job that is at the limit of all jobs (cgroup.h), but first it looks for pages to take back, in every
 * group that there ever was, again and again for as long as one is found; where a guest is emulated that takes minutes. So
 * initd looks itself, and kills the largest job a little before. It also sees what no limit does: memory that the kernel
 * came to need for itself, and files in memory that are nobody's.
 */
#ifndef INITD_MEMORY_H
#define INITD_MEMORY_H

#include <stdint.h>

/* At boot: initd's own program stays in memory whatever comes. */
void memory_init(void);

/* Kills the largest job, or the main program, when memory is short. Returns when to call again (sys_now() time), 0: nothing
 * runs. */
uint64_t memory_run_timers(uint64_t now);

#endif
