/* session_network: the network of a session, as long as that lives; its connection to the guest is one of those that the session's
 * thread serves. */
#ifndef CAPSID_SERVICE_SESSION_NETWORK_H
#define CAPSID_SERVICE_SESSION_NETWORK_H

#include "broker/lease.h"
#include "core/network.h"
#include "guest/mux.h"

/* {0} is none. */
struct session_network {
    struct network *network;
    struct network_site site;
    const char **
        env; /* owned list of others' texts: the session's, with what programs find the network by; NULL: no network */
};

/* Until programs can use it: serves the mux meanwhile. rules and env end with NULL, and live as long; no rules: no network. */
int session_network_begin(struct session_network *n, struct lease *l, struct mux *m, const char *const *rules,
                          const char *const *env, struct error *e);

/* Before the mux is closed; env stays until session_network_done(). */
void session_network_end(struct session_network *n);
void session_network_done(struct session_network *n);

#endif
