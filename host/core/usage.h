/* usage: what processes take, and what the machine has left, as the kernel tells in /proc (proc(5)). */
#ifndef CAPSID_USAGE_H
#define CAPSID_USAGE_H

#include <stdint.h>
#include <sys/types.h>

/* Bytes that a new process can have without swapping: MemAvailable of /proc/meminfo. UINT64_MAX: unknown. */
uint64_t usage_memory_available(void);

/* Bytes of memory that this machine has, and bytes of the filesystem of a path that are free for this user (0: there is no such path). */
uint64_t usage_memory_total(void);
uint64_t usage_disk_available(const char *path);

/* Bytes that only this process has: resident anonymous memory. Cheap, from counters that the kernel keeps. 0: it is
 * gone. */
uint64_t usage_anonymous(pid_t pid);

/* The same exactly: Anonymous of smaps_rollup. The kernel walks all its pages for it. It is what comes back when the
 * process ends: pages of its program, and of a template that its pool holds, stay in memory. */
uint64_t usage_unique(pid_t pid);

/* Bytes that no other process has mapped at the moment: Private_Clean and Private_Dirty of smaps_rollup. The only one
 * that runs a program has the program's pages in it. */
uint64_t usage_private(pid_t pid);

/* Of this process: open file descriptors, and bytes in memory (VmRSS of /proc/self/status, which is to be seen in a cage too). */
uint64_t usage_open_files(void);
uint64_t usage_resident(void);

/* Processors that this machine has online; at least 1. */
unsigned usage_processors(void);

/* Processor time in ns, user and system. 0: it is gone. */
int64_t usage_cpu_ns(pid_t pid);

#endif
