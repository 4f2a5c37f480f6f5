/*
 * network: what a program without a network card may reach: for the time of a run its guest has a relay (host/egress), and the
 * guest's connection is shared between that and the program.
 */
#ifndef CAPSID_NETWORK_H
#define CAPSID_NETWORK_H

#include "core/call.h"
#include "core/event.h"
#include "egress/egress.h"
#include "guest/guest.h"

#define NETWORK_ENTRIES_MAX 256 /* of a log; what is beyond is counted */
#define NETWORK_RULES_MAX 64    /* of a request, and their bytes */
#define NETWORK_RULES_SIZE 8192

/* Connections of one kind to one place. Texts are owned. */
struct network_entry {
    const char *host; /* as the program said it; "": it named none */
    uint64_t port;
    const char *address; /* that was connected to, or refused; NULL: none */
    enum egress_decision decision;
    const char *why;              /* not "allowed"; NULL: it is */
    uint64_t connections;         /* how many there were */
    uint64_t bytes_in, bytes_out; /* to and from the program */
};

struct network_log {
    struct network_entry *entries; /* owned */
    size_t count;
    uint64_t omitted; /* connections that found no room */
};

void network_log_add(struct network_log *log, const struct egress_record *r);
void network_log_free(struct network_log *log);

/* Whether the rules of a request, which end with NULL, are such; an ERROR_USAGE says what is wrong. */
int network_check(const char *const *rules, struct error *e);

/* Reads them; the caller ends *ret with policy_done(). */
int network_policy(const char *const *rules, struct policy *ret, struct error *e);

/* What a relay needs. All borrowed, for as long as there is a network. */
struct network_site {
    struct guest *guest; /* nobody else's meanwhile */
    const struct vm_life *life;
    const char *data; /* directory with the relay's program */
    /* The socket of whoever makes the connections, by these rules (egress/dial.h); NULL: this process does. */
    int (*dial)(void *context, const char *const *rules, struct error *e);
    void *dial_context;
};

struct network;

/* Starts the relay in the guest, and returns when programs can use it. log, which may be NULL, is filled until the end. */
struct network *network_begin(const struct network_site *site, const struct call *call,
                              const char *const *rules, struct network_log *log, int64_t deadline,
                              struct error *e);

/* The guest as the program's side may use it. */
struct guest *network_guest(struct network *n);

/* Ends all connections, and the relay; the guest is its owner's again, unless it is lost. */
void network_end(struct network *n);

/* env with the variables by which programs find the relay ahead of it; the caller frees the list alone. */
const char **network_env(const char *const *env);

#endif
