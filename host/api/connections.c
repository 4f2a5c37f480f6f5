#include "api/connections.h"

#include "base/deadline.h"
#include "base/text.h"

#include <stdlib.h>
#include <sys/socket.h>

struct connection {
    int fd;        /* MHD's, which closes it after it told so */
    int64_t since; /* when it began to wait for a request; 0: it has one */
    struct connection *next, *before;
};

void connections_open(struct connections *c)
{
    *c = (struct connections){0};
    pthread_mutex_init(&c->lock, NULL);
}

void connections_close(struct connections *c)
{
    pthread_mutex_destroy(&c->lock);
}

static void add(struct connections *c, struct MHD_Connection *connection, void **context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct connection *n = memory_allocate(sizeof(*n));

    *n = (struct connection){.fd = info ? info->connect_fd : -1, .since = clock_monotonic_ns()};
    pthread_mutex_lock(&c->lock);
    n->next = c->first;
    if (n->next)
        n->next->before = n;
    c->first = n;
    pthread_mutex_unlock(&c->lock);
    *context = n;
}

void connections_notify(void *connections, struct MHD_Connection *connection, void **context,
                        enum MHD_ConnectionNotificationCode code)
{
    struct connections *c = connections;
    struct connection *n = *context;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        add(c, connection, context);
        return;
    }
    if (!n)
        return;
    pthread_mutex_lock(&c->lock);
    *(n->before ? &n->before->next : &c->first) = n->next;
    if (n->next)
        n->next->before = n->before;
    pthread_mutex_unlock(&c->lock);
    free(n);
    *context = NULL;
}

static void set(struct connections *c, struct MHD_Connection *connection, int64_t since)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct connection *n = info ? info->socket_context : NULL;

    if (!n)
        return;
    pthread_mutex_lock(&c->lock);
    n->since = since;
    pthread_mutex_unlock(&c->lock);
}

void connections_received(struct connections *c, struct MHD_Connection *connection)
{
    set(c, connection, 0);
}

void connections_answered(struct connections *c, struct MHD_Connection *connection)
{
    set(c, connection, clock_monotonic_ns());
}

void connections_expire(struct connections *c, int64_t before)
{
    pthread_mutex_lock(&c->lock);
    for (struct connection *n = c->first; n; n = n->next)
        if (n->since && n->since < before)
            shutdown(n->fd, SHUT_RDWR);
    pthread_mutex_unlock(&c->lock);
}
