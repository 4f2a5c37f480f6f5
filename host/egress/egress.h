/*
 * egress: the host's end of a guest's relay (proto/relay.h): the connections that programs of the guest have to the world.
 *
 * The guest is hostile: each message is checked, each connection has a window, all together have bounds, and what breaks the rules
 * ends the network of that guest and nothing else. Where to connect to is not decided here: dial.h.
 *
 * A struct egress belongs to one thread, which runs the relay as a job of the guest.
 */
#ifndef CAPSID_EGRESS_H
#define CAPSID_EGRESS_H

#include "egress/decision.h"
#include "egress/dial.h"
#include "guest/guest.h"

/* Of one guest. */
#define EGRESS_BYTES_MAX (UINT64_C(16) << 30) /* both ways */
#define EGRESS_CONNECTIONS_MAX 20000          /* in all; RELAY_CONNECTIONS at a time */
#define EGRESS_IDLE_MS 300000                 /* a connection without a byte */

/* A connection that has ended, or was not made. */
struct egress_record {
    char host[RELAY_HOST_MAX + 1]; /* as the guest said it; "": it named none */
    uint16_t port;
    char address[ADDRESS_TEXT_MAX]; /* "": there was none */
    enum egress_decision decision;
    uint64_t sent, received; /* bytes, as the guest sees them */
    int64_t ns;              /* from the request for it to its end */
    char text[RELAY_TEXT_MAX + 1];
};

struct egress_options {
    int dial_fd;                     /* taken over: dial.h's socket for those who want connections */
    uint64_t bytes_max;              /* 0: EGRESS_BYTES_MAX */
    uint64_t connections;            /* in all; 0: EGRESS_CONNECTIONS_MAX */
    void (*on_ready)(void *context); /* the relay takes connections */
    void (*on_record)(void *context, const struct egress_record *r);
    void *context;
};

struct egress;

/* NULL with an error. */
struct egress *egress_open(const struct egress_options *options, struct error *e);
/* Ends all connections, and tells of them. */
void egress_close(struct egress *x);

/* Starts the relay, a program in the guest, and serves it until it ends or is cancelled, by the guest's struct cancel: a failure,
 * always. */
int egress_run(struct egress *x, struct guest *g, const char *relay, struct error *e);

/* The parts of egress_run(): bytes of the relay, as job_io's on_output; connections that are ready; how to wait for them. */
int egress_take(struct egress *x, const void *data, size_t size, struct error *e);
int egress_ready(struct egress *x, struct error *e);
struct job_terminal *egress_terminal(struct egress *x);

#endif
