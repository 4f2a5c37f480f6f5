/* upstream: the proxy that this machine itself uses for the Internet, by http_proxy, https_proxy, all_proxy and no_proxy of the
 * environment, also in capitals. It is asked to CONNECT, whatever the port. */
#ifndef CAPSID_EGRESS_UPSTREAM_H
#define CAPSID_EGRESS_UPSTREAM_H

#include "base/deadline.h"
#include "egress/address.h"

#define UPSTREAM_LOGIN_MAX 256

struct upstream {
    char host[ADDRESS_NAME_MAX];
    uint16_t port;
    char login[UPSTREAM_LOGIN_MAX]; /* USER:PASSWORD, or "" */
};

/* For a connection to host: 1 and the proxy; 0: there is none for it; -1: what the environment says cannot be used. */
int upstream_find(const char *host, uint16_t port, struct upstream *ret, struct error *e);

/* Whether no_proxy, a list with commas, has that host. */
bool upstream_is_excepted(const char *list, const char *host);

/* Asks the proxy, that fd is connected to, for a connection. */
int upstream_connect(const struct upstream *u, int fd, const char *host, uint16_t port, int64_t deadline,
                     const struct cancel *cancel, struct error *e);

#endif
