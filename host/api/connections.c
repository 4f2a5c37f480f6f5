#include "api/connections.h"

#include "base/deadline.h"
#include "base/text.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define OVER_NS 1000000000
#define PATIENCE_MIN_NS 2000000000 /* for a request when there is hardly a place left */
#define NETWORK_SIZE 8   /* bytes of an IPv6 address that name the network: its hosts choose the rest */
#define KIND_CLIENT (-1) /* beside families of addresses */

struct owner_key {
    int kind;
    unsigned char bytes[16];
};

struct connection {
    int fd;        /* MHD's, which closes it after it told so */
    int64_t since; /* when it began to be in its state */
    int64_t over;  /* when it was first seen that nothing more comes; 0: it may */
    enum connection_state state;
    struct connection_owner *owner;
    struct head head;
    struct connection *next, *before; /* of that owner, in that state; the oldest first */
};

struct connection_owner {
    struct owner_key key;
    unsigned counts[CONNECTION_STATES];
    struct connection *first[CONNECTION_STATES], *last[CONNECTION_STATES];
    struct connection_owner *next, *before;
};

void connections_open(struct connections *c, const struct connections_limits *limits)
{
    *c = (struct connections){.limits = *limits};
    pthread_mutex_init(&c->lock, NULL);
}

void connections_close(struct connections *c)
{
    pthread_mutex_destroy(&c->lock);
}

/* ---- owners, all under the lock ------------------------------------------------------------------ */

static struct connection_owner *owner_of(struct connections *c, const struct owner_key *key)
{
    struct connection_owner *o = c->owners;

    while (o && memcmp(&o->key, key, sizeof(*key)) != 0)
        o = o->next;
    if (o)
        return o;
    o = memory_allocate(sizeof(*o));
    o->key = *key;
    o->next = c->owners;
    if (o->next)
        o->next->before = o;
    c->owners = o;
    return o;
}

static void drop_if_empty(struct connections *c, struct connection_owner *o)
{
    for (unsigned i = 0; i < CONNECTION_STATES; i++)
        if (o->counts[i])
            return;
    *(o->before ? &o->before->next : &c->owners) = o->next;
    if (o->next)
        o->next->before = o->before;
    free(o);
}

static void leave(struct connections *c, struct connection *n)
{
    struct connection_owner *o = n->owner;

    *(n->before ? &n->before->next : &o->first[n->state]) = n->next;
    *(n->next ? &n->next->before : &o->last[n->state]) = n->before;
    o->counts[n->state]--;
    c->counts[n->state]--;
}

static void enter(struct connections *c, struct connection *n, struct connection_owner *o,
                  enum connection_state state)
{
    n->owner = o;
    n->state = state;
    n->since = clock_monotonic_ns();
    n->over = 0;
    n->next = NULL;
    n->before = o->last[state];
    *(n->before ? &n->before->next : &o->first[state]) = n;
    o->last[state] = n;
    o->counts[state]++;
    c->counts[state]++;
}

static void move(struct connections *c, struct connection *n, struct connection_owner *o,
                 enum connection_state state)
{
    struct connection_owner *before = n->owner;

    leave(c, n);
    enter(c, n, o, state);
    if (before != o)
        drop_if_empty(c, before);
}

static void end_connections(struct connections *c, struct connection *n)
{
    shutdown(n->fd, SHUT_RDWR);
    move(c, n, n->owner, CONNECTION_ENDS);
}

/* ---- room ---------------------------------------------------------------------------------------- */

static unsigned sum(const unsigned counts[static CONNECTION_STATES])
{
    return counts[CONNECTION_WAITS] + counts[CONNECTION_BRINGS] + counts[CONNECTION_SERVED];
}

/* The one that has waited longest, or, if none waits, has brought a body for longest. */
static struct connection *expendable(const struct connection_owner *o, int64_t before)
{
    for (enum connection_state s = CONNECTION_WAITS; s <= CONNECTION_BRINGS; s++)
        if (o->first[s] && o->first[s]->since < before)
            return o->first[s];
    return NULL;
}

static const struct connection_owner *with_most(const struct connections *c)
{
    const struct connection_owner *most = c->owners;

    for (const struct connection_owner *o = c->owners; o; o = o->next)
        if (o->counts[CONNECTION_WAITS] + o->counts[CONNECTION_BRINGS] >
            most->counts[CONNECTION_WAITS] + most->counts[CONNECTION_BRINGS])
            most = o;
    return most;
}

/* As far as those that are not fresh allow. */
static void make_room(struct connections *c, const struct connection_owner *o, int64_t now)
{
    int64_t before = now - c->limits.fresh_ns;
    struct connection *victim;

    while (sum(o->counts) > c->limits.of_owner && (victim = expendable(o, before))) {
        end_connections(c, victim);
        c->crowded++;
    }
    while (sum(c->counts) > c->limits.all && (victim = expendable(with_most(c), before))) {
        end_connections(c, victim);
        c->crowded++;
    }
}

/* Those that wait will go for one that brings something. */
static bool fits(const struct connections *c, const struct connection_owner *o, unsigned more)
{
    const unsigned *own = o->counts, *all = c->counts;

    return own[CONNECTION_BRINGS] + own[CONNECTION_SERVED] + more <= c->limits.of_owner &&
           all[CONNECTION_BRINGS] + all[CONNECTION_SERVED] + more <= c->limits.all;
}

/* ---- what happens to one ------------------------------------------------------------------------- */

static void take_address(struct owner_key *key, int fd, const struct sockaddr *address)
{
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;
    struct ucred who = {.uid = (uid_t)-1};
    socklen_t size = sizeof(who);

    key->kind = address->sa_family;
    if (address->sa_family == AF_INET) {
        memcpy(key->bytes, &v4->sin_addr, sizeof(v4->sin_addr));
    } else if (address->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        key->kind = AF_INET;
        memcpy(key->bytes, &v6->sin6_addr.s6_addr[12], 4);
    } else if (address->sa_family == AF_INET6) {
        memcpy(key->bytes, &v6->sin6_addr, NETWORK_SIZE);
    } else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0) {
        memcpy(key->bytes, &who.uid, sizeof(who.uid));
    }
}

static void add(struct connections *c, struct MHD_Connection *connection, void **context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct connection *n = memory_allocate(sizeof(*n));
    struct owner_key key = {.kind = AF_UNSPEC};

    n->fd = info ? info->connect_fd : -1;
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info && info->client_addr)
        take_address(&key, n->fd, info->client_addr);
    pthread_mutex_lock(&c->lock);
    enter(c, n, owner_of(c, &key), CONNECTION_WAITS);
    make_room(c, n->owner, n->since);
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
    leave(c, n);
    drop_if_empty(c, n->owner);
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

bool connections_fits(struct connections *c, struct MHD_Connection *connection)
{
    struct connection *n = find(connection);

    pthread_mutex_lock(&c->lock);
    bool ret = !n || fits(c, n->owner, 1);
    pthread_mutex_unlock(&c->lock);
    return ret;
}

bool connections_taken(struct connections *c, struct MHD_Connection *connection, int client)
{
    struct connection *n = find(connection);
    struct owner_key key = {.kind = KIND_CLIENT};
    bool ret = true;

    if (!n)
        return true;
    memcpy(key.bytes, &client, sizeof(client));
    pthread_mutex_lock(&c->lock);
    if (n->state != CONNECTION_ENDS) {
        move(c, n, client < 0 ? n->owner : owner_of(c, &key), CONNECTION_BRINGS);
        make_room(c, n->owner, n->since);
        ret = fits(c, n->owner, 0);
    }
    pthread_mutex_unlock(&c->lock);
    return ret;
}

static void set(struct connections *c, struct MHD_Connection *connection, enum connection_state state)
{
    struct connection *n = find(connection);

    if (!n)
        return;
    pthread_mutex_lock(&c->lock);
    if (n->state != CONNECTION_ENDS)
        move(c, n, n->owner, state);
    pthread_mutex_unlock(&c->lock);
}

void connections_received(struct connections *c, struct MHD_Connection *connection)
{
    set(c, connection, CONNECTION_SERVED);
}

void connections_answered(struct connections *c, struct MHD_Connection *connection)
{
    set(c, connection, CONNECTION_WAITS);
}

/* ---- those that take too long -------------------------------------------------------------------- */

/* Its client has closed, and all that it had sent was read. */
static bool is_over(const struct connection *n)
{
    char byte;

    return recv(n->fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* How long a request may take to begin and come: all of the time while half of the places are free, then less and less. */
static int64_t patience(const struct connections *c, const struct connection_owner *o)
{
    double all = (double)sum(c->counts) / c->limits.all, own = (double)sum(o->counts) / c->limits.of_owner;
    double left = 2 * (1 - (all > own ? all : own));
    int64_t ret = left < 1 ? (int64_t)((double)c->limits.receive_ns * left) : c->limits.receive_ns;

    if (ret < PATIENCE_MIN_NS)
        ret = PATIENCE_MIN_NS;
    return ret < c->limits.receive_ns ? ret : c->limits.receive_ns;
}

/* MHD 0.9.75 does not see an end that is there before it reads the last bytes: it has asked epoll(7) to tell of changes only, and
 * takes a read that gives less than it had room for as a sign that there is nothing more. What it has just read may be the
 * rest of a request all the same. */
static void expire(struct connections *c, struct connection *n, int64_t now, int64_t allowed)
{
    bool slow = now - n->since > allowed;

    if (!is_over(n))
        n->over = 0;
    else if (!n->over)
        n->over = now;
    if (!slow && !(n->over && now - n->over > OVER_NS))
        return;
    c->slow += slow;
    end_connections(c, n);
}

void connections_expire(struct connections *c, int64_t now)
{
    pthread_mutex_lock(&c->lock);
    for (struct connection_owner *o = c->owners; o; o = o->next) {
        int64_t allowed = patience(c, o);
        make_room(c, o, now);
        for (struct connection *n = o->first[CONNECTION_WAITS], *next; n; n = next) {
            next = n->next;
            expire(c, n, now, allowed);
        }
        for (struct connection *n = o->first[CONNECTION_BRINGS], *next; n; n = next) {
            next = n->next;
            expire(c, n, now, c->limits.receive_ns);
        }
    }
    pthread_mutex_unlock(&c->lock);
}
