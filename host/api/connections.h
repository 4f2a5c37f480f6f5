/*
 * connections: clients that take too long to send a request. The HTTP library ends connections on which nothing
 * happens; this ends those on which a byte comes now and then, and those that nobody has any more.
 */
#ifndef CAPSID_API_CONNECTIONS_H
#define CAPSID_API_CONNECTIONS_H

#include "api/head.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdint.h>

struct connection;

struct connections {
    pthread_mutex_t lock;
    struct connection *first;
};

void connections_open(struct connections *c);
void connections_close(struct connections *c);

/* A MHD_NotifyConnectionCallback; its first argument is a struct connections. */
void connections_notify(void *connections, struct MHD_Connection *connection, void **context,
                        enum MHD_ConnectionNotificationCode code);

/* What is kept of the head that it brings, for its thread alone; NULL: the connection is not known. */
struct head *connections_head(struct MHD_Connection *connection);

/* The request is here, whole; or it is answered, and the next one may come. */
void connections_received(struct connections *c, struct MHD_Connection *connection);
void connections_answered(struct connections *c, struct MHD_Connection *connection);

/* Ends those that wait for a request since before that time (ns, monotonic), and those whose client went away in the middle of one.
 * To be called now and then. */
void connections_expire(struct connections *c, int64_t before);

#endif
