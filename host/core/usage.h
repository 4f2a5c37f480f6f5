/* usage: what processes take, and what the machine has left, as the kernel tells in /proc (proc(5)). */
#ifndef CAPSID_USAGE_H
#define CAPSID_USAGE_H

#include <stdint.h>
#include <sys/types.h>

/* Bytes that a new process can have without swapping: MemAvailable of /proc/meminfo. UINT64_MAX: unknown. */
uint64_t usage_memory_available(void);

/* Bytes that only this process has: resident anonymous memory. Cheap, from counters that the kernel keeps. 0: it is
 * gone. */
uint64_t usage_anonymous(pid_t pid);

/* The same exactly: Private_Clean and Private_Dirty of smaps_rollup. The kernel walks all its pages for it. */
uint64_t usage_unique(pid_t pid);

/* Processor time in ns, user and system. 0: it is gone. */
int64_t usage_cpu_ns(pid_t pid);

#endif
