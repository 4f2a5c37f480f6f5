#include "api/connections.h"

#include "base/deadline.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#define OVER_NS 1000000000

struct connection {
    int fd;        /* MHD's, which closes it after it told so */
    int64_t since; /* when it began to wait for a request; 0: it has one */
    int64_t over;  /* when it was first seen that nothing more comes; 0: it may */
    struct head head;
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

static struct connection *find(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info ? info->socket_context : NULL;
}

struct head *connections_head(struct MHD_Connection *connection)
{
    struct connection *n = find(connection);

    return n ? &n->head : NULL;
}

static void set(struct connections *c, struct MHD_Connection *connection, int64_t since)
{
    struct connection *n = find(connection);

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

/* Its client has closed, and all that it had sent was read. */
static bool is_over(const struct connection *n)
{
    char byte;

    return recv(n->fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* MHD 0.9.75 does not see an end that is there before it reads the last bytes: it has asked epoll(7) to tell of changes only, and
 * takes a read that gives less than it had room for as a sign that there is nothing more. What it has just read may be the
 * rest of a request all the same. */
void connections_expire(struct connections *c, int64_t before)
{
    int64_t now = clock_monotonic_ns();

    pthread_mutex_lock(&c->lock);
    for (struct connection *n = c->first; n; n = n->next) {
        if (!n->since || !is_over(n))
            n->over = 0;
        else if (!n->over)
            n->over = now;
        if (n->since && (n->since < before || (n->over && now - n->over > OVER_NS)))
            shutdown(n->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&c->lock);
}
