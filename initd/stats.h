/* stats: the answers to STATS and DISK. */
#ifndef INITD_STATS_H
#define INITD_STATS_H

#include "messages.h"

void stats_fill(struct msg_usage *ret);

/* How much room the filesystem of a path has. Returns 0 or -errno, and zeros. */
int stats_disk(const char *path, struct msg_disk_info *ret);

#endif
