/*
 * network: what programs of a guest without a network card may reach: a relay in the guest (host/egress), run as a job by a thread
 * of its own over a connection of its own, which is one of several that share the guest's (guest/mux.h).
 */
#ifndef CAPSID_NETWORK_H
#define CAPSID_NETWORK_H

#include "core/call.h"
#include "core/event.h"
#include "core/network_log.h"
#include "egress/policy.h"

#define NETWORK_RULES_MAX 64 /* of a request, and their bytes */
#define NETWORK_RULES_SIZE 8192

/* Whether the rules of a request, which end with NULL, are such; an ERROR_USAGE says what is wrong. */
int network_check(const char *const *rules, struct error *e);

/* Reads them; the caller ends *ret with policy_done(). */
int network_policy(const char *const *rules, struct policy *ret, struct error *e);

/* env with the variables by which programs find the relay ahead of it; the caller frees the list alone. */
const char **network_env(const char *const *env);

#define NETWORK_RELAY_PROGRAM "relay" /* in the data directory */

/* What a network is made from; descriptors are the receiver's. */
struct network_means {
    int dial;  /* the socket of whoever makes the connections, by the rules (egress/dial.h) */
    int relay; /* the relay's program, to be read */
};

/* Where they come from: a function, or where that is NULL this process, with the relay of the directory data. */
typedef int network_source(void *context, const char *const *rules, struct network_means *ret,
                           struct error *e);

struct network_site {
    const struct guest
        *guest; /* whose features are known; borrowed as all here, for as long as the network lives */
    const char *vm, *trace_id; /* for events */
    network_source *source;
    void *context;
    const char *data;
};

struct network;

/* Begins one; log, which may be NULL, is filled until the end. deadline: for getting ready. NULL with an error. */
struct network *network_open(const struct network_site *site, const char *const *rules,
                             struct network_log *log, int64_t deadline, struct error *e);

/* The relay's connection, which is the caller's to give to the guest's mux. Once. */
int network_take_fd(struct network *n);

/* Readable when the relay is ready, or has failed: then network_check_ready() says which. */
int network_told_fd(const struct network *n);
bool network_is_told(const struct network *n);
int network_check_ready(struct network *n, struct error *e);

/* Ends all connections, and lets the relay go, which ends in the guest when its connection does. Accepts NULL. */
void network_close(struct network *n);

#endif
