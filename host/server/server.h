/*
 * server: "capsid api", the process that users start: it opens the sockets, takes the signals, talks to systemd, and holds the
 * broker (broker/broker.h) with all its rights. What clients send is read by another process, the front (api/api.h), which it
 * starts, tells what there is to tell, and ends.
 */
#ifndef CAPSID_SERVER_H
#define CAPSID_SERVER_H

#include "config/config.h"
#include "server/listen.h"
#include "service/tokens.h"

struct server_options {
    struct listen_wish listen;
    const char *tokens;         /* borrowed, as all strings here; file; NULL: none */
    struct token_limits limits; /* of clients for which the file has none */
    bool anonymous;             /* without tokens also where others can reach it */
    const char *net_policy;     /* file with what programs may connect to (broker/reach.h); NULL: nothing */
    const char *cors;           /* origin whose pages may use the API, "*": any; NULL: none */
    uint64_t workers;           /* programs with VMs of their own at a time; 0: twice as many as processors */
    uint64_t queue;             /* programs that wait for a VM */
    uint64_t queue_seconds;     /* how long at most; the program's own timeout begins when it has one */
    uint64_t receive_seconds;   /* how long a client may take to send a request */
    uint64_t connections;       /* at a time */
    uint64_t client_connections; /* of one address or client; 0: half of them */
    uint64_t timeout_max;        /* seconds that a request may ask for */
    uint64_t memory_max;         /* MiB that one may ask for; 0: half of the machine's, at most 4096 */
    uint64_t vcpus_max;          /* 0: as many as the machine has */
    uint64_t sessions;           /* at a time, of all clients */
    uint64_t client_sessions;    /* of one */
    uint64_t grace_seconds;      /* that running work gets at shutdown */
    int cancel_fd;               /* as in struct cancel: ends the server while it starts */
    /* Loads the settings anew, for SIGHUP. */
    int (*reload)(struct config *ret, struct error *e);
};

/* Serves until SIGTERM or SIGINT; before it has handlers of its own for them, cancel_fd tells. Prints "listening on
 * http://ADDRESS:PORT" for each socket on standard output, and "ready". */
int server_run(const struct server_options *options, const struct config *config, struct error *e);

#endif
