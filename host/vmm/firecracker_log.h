/* firecracker_log: what one Firecracker, and before it its jailer, printed, and why it ended by that. */
#ifndef CAPSID_FIRECRACKER_LOG_H
#define CAPSID_FIRECRACKER_LOG_H

#include "base/text.h"

/* Adds the line of the log (vmm_log_open()) that tells why the program ended; nothing when fd is -1 or nothing was printed. */
void firecracker_log_reason(int fd, struct buffer *ret);

/*
 * That line of what was printed, made plain and without the time and place of a log line: a view into text, which is
 * changed; empty when there is none.
 */
const char *firecracker_log_choose(char *text);

#endif
