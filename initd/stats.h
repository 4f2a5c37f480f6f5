/* stats: the answer to STATS. */
#ifndef INITD_STATS_H
#define INITD_STATS_H

#include "messages.h"

void stats_fill(struct msg_usage *ret);

#endif
