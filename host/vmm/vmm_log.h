/* vmm_log: what a VMM prints, for error messages. A guest can make its VMM print as much as it likes, and a VMM that was taken
 * over writes what it likes, so there is room for so much only. */
#ifndef CAPSID_VMM_LOG_H
#define CAPSID_VMM_LOG_H

#include "base/error.h"

#include <stddef.h>

/* An fd for standard output and error, or -1. What is written beyond the room fails. */
int vmm_log_open(struct error *e);

/* The first (last: the last) bytes of what was printed, up to size - 1, and a NUL; how many. fd may be -1: none. */
size_t vmm_log_first(int fd, char *ret, size_t size);
size_t vmm_log_last(int fd, char *ret, size_t size);

#endif
