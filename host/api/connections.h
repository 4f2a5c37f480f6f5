/*
 * connections: who has how many, and which must go for others. Each is its address's (of IPv6: its network's, of a Unix socket: its
 * user's), or its client's once a request with a token came over it. An owner that has all that are its loses the one that has
 * brought nothing for longest; when there are as many as there may be, the owner with the most of such ones does. So who keeps places by half
 * a request takes them from itself. The HTTP library ends connections on which nothing happens; this also ends those on which a byte comes
 * now and then, the sooner the fuller it is, and those that nobody has any more.
 */
#ifndef CAPSID_API_CONNECTIONS_H
#define CAPSID_API_CONNECTIONS_H

#include "api/head.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum connection_state {
    CONNECTION_WAITS,  /* for a request; or it has one that is refused */
    CONNECTION_BRINGS, /* a body */
    CONNECTION_SERVED,
    CONNECTION_ENDS, /* it was told to */
    CONNECTION_STATES
};

struct connections_limits {
    unsigned all, of_owner; /* at a time */
    int64_t receive_ns;     /* how long a request may take to come */
    int64_t fresh_ns;       /* how long everyone may take to begin, however many there are */
};

struct connection_owner;

struct connections {
    pthread_mutex_t lock;
    struct connections_limits limits;
    struct connection_owner *owners; /* that have any */
    unsigned counts[CONNECTION_STATES];
    unsigned long long slow, crowded; /* that were told to end: too slow, or for others */
};

void connections_open(struct connections *c, const struct connections_limits *limits);
void connections_close(struct connections *c);

/* A MHD_NotifyConnectionCallback; its first argument is a struct connections. */
void connections_notify(void *connections, struct MHD_Connection *connection, void **context,
                        enum MHD_ConnectionNotificationCode code);

/* What is kept of the head that it brings, for its thread alone; NULL: the connection is not known. */
struct head *connections_head(struct MHD_Connection *connection);

/* A head has come: may it be heard? Not if its owner's, or all, that bring or get something are as many as there may be. */
bool connections_fits(struct connections *c, struct MHD_Connection *connection);

/* A head was taken, a body may follow; client: whose token it had, -1: none was needed. False: that client has too many. */
bool connections_taken(struct connections *c, struct MHD_Connection *connection, int client);

/* The request is here, whole; or it is answered, and the next one may come. */
void connections_received(struct connections *c, struct MHD_Connection *connection);
void connections_answered(struct connections *c, struct MHD_Connection *connection);

/* Ends those that take too long to bring a request, and those whose client went away in the middle of one. To be called now and then. */
void connections_expire(struct connections *c, int64_t now);

#endif
