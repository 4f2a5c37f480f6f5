/* network_run: a network for the time of one run: the guest's connection is shared between the relay and the program. */
#ifndef CAPSID_NETWORK_RUN_H
#define CAPSID_NETWORK_RUN_H

#include "core/network.h"

struct network_run;

/* Returns when programs can use it. guest is nobody else's until network_run_end(); site->guest is the same. NULL with an error. */
struct network_run *network_run_begin(const struct network_site *site, struct guest *guest,
                                      const struct cancel *cancel, const char *const *rules,
                                      struct network_log *log, int64_t deadline, struct error *e);

/* The guest as the program's side may use it. */
struct guest *network_run_guest(struct network_run *n);

/* Ends all connections, and the relay; the guest is its owner's again, unless it is lost. */
void network_run_end(struct network_run *n);

#endif
