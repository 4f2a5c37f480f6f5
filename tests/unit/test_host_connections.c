/* api/connections.c: whose connections end when there are too many, with a double of the HTTP library's connections. */
#include "api/connections.h"

#include "base/deadline.h"
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the double ---------------------------------------------------------------------------------- */

struct MHD_Connection {
    int fd, other; /* and its client's */
    struct sockaddr_storage address;
    void *context;
    union MHD_ConnectionInfo info;
};

const union MHD_ConnectionInfo *MHD_get_connection_info(struct MHD_Connection *m,
                                                        enum MHD_ConnectionInfoType type, ...)
{
    if (type == MHD_CONNECTION_INFO_CONNECTION_FD)
        m->info.connect_fd = m->fd;
    else if (type == MHD_CONNECTION_INFO_CLIENT_ADDRESS)
        m->info.client_addr = (struct sockaddr *)&m->address;
    else
        m->info.socket_context = m->context;
    return &m->info;
}

static struct connections all;
static struct MHD_Connection made[64];
static unsigned count;

static void open_all(unsigned limit, unsigned of_owner, int64_t receive_ns)
{
    const struct connections_limits limits = {.all = limit, .of_owner = of_owner, .receive_ns = receive_ns};

    connections_open(&all, &limits);
    count = 0;
}

static void hang_up(struct MHD_Connection *m)
{
    connections_notify(&all, m, &m->context, MHD_CONNECTION_NOTIFY_CLOSED);
    close(m->fd);
    close(m->other);
    m->fd = -1;
}

static void close_all(void)
{
    for (unsigned i = 0; i < count; i++)
        if (made[i].fd >= 0)
            hang_up(&made[i]);
    ck_assert_ptr_null(all.owners);
    connections_close(&all);
}

static struct MHD_Connection *from(const char *address)
{
    struct MHD_Connection *m = &made[count++];
    struct sockaddr_in *v4 = (struct sockaddr_in *)&m->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&m->address;
    int pair[2];

    *m = (struct MHD_Connection){0};
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    m->fd = pair[0];
    m->other = pair[1];
    if (inet_pton(AF_INET, address, &v4->sin_addr) == 1)
        v4->sin_family = AF_INET;
    else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1)
        v6->sin6_family = AF_INET6;
    else
        m->address.ss_family = AF_UNIX;
    connections_notify(&all, m, &m->context, MHD_CONNECTION_NOTIFY_STARTED);
    return m;
}

static bool ended(const struct MHD_Connection *m)
{
    return poll(&(struct pollfd){.fd = m->other, .events = POLLRDHUP}, 1, 0) == 1;
}

/* A request with a token has come over it, and is answered or not. */
static void serve(struct MHD_Connection *m, int client, bool answer)
{
    ck_assert(connections_fits(&all, m));
    ck_assert(connections_taken(&all, m, client));
    connections_received(&all, m);
    if (answer)
        connections_answered(&all, m);
}

/* ---- whose --------------------------------------------------------------------------------------- */

START_TEST(an_address_takes_places_from_itself)
{
    open_all(8, 4, 1000000000);
    struct MHD_Connection *other = from("192.0.2.9");
    for (unsigned i = 0; i < 6; i++)
        from("192.0.2.1");
    ck_assert(!ended(other));
    for (unsigned i = 1; i < count; i++)
        ck_assert_int_eq(ended(&made[i]), i <= 2); /* those that waited longest */
    ck_assert_uint_eq(all.crowded, 2);
    ck_assert_uint_eq(all.counts[CONNECTION_WAITS], 5);
    close_all();
}
END_TEST

START_TEST(a_network_and_its_mapped_addresses_are_one)
{
    open_all(8, 1, 1000000000);
    struct MHD_Connection *first = from("2001:db8::1"), *neighbour = from("2001:db8::2"),
                          *other = from("2001:db8:0:1::1"), *v4 = from("192.0.2.1"),
                          *mapped = from("::ffff:192.0.2.1"), *local = from("a user");
    ck_assert(ended(first) && !ended(neighbour) && !ended(other));
    ck_assert(ended(v4) && !ended(mapped));
    from("the same");
    ck_assert(ended(local));
    close_all();
}
END_TEST

START_TEST(the_owner_with_most_gives_when_all_are_taken)
{
    open_all(6, 5, 1000000000);
    struct MHD_Connection *few = from("192.0.2.9"), *oldest = from("192.0.2.1");
    for (unsigned i = 0; i < 4; i++)
        from("192.0.2.1");
    struct MHD_Connection *fresh = from("192.0.2.8");
    ck_assert(ended(oldest) && !ended(few) && !ended(fresh));
    ck_assert(connections_fits(&all, fresh));
    close_all();
}
END_TEST

START_TEST(a_client_with_a_token_has_places_of_its_own)
{
    open_all(16, 3, 1000000000);
    struct MHD_Connection *known = from("192.0.2.1");
    serve(known, 7, true);
    for (unsigned i = 0; i < 8; i++)
        from("192.0.2.1"); /* the same address, no token */
    ck_assert(!ended(known));
    for (unsigned i = 0; i < 3; i++)
        serve(from("192.0.2.2"), 7, true);
    ck_assert(ended(known));
    close_all();
}
END_TEST

START_TEST(what_is_served_stays)
{
    open_all(8, 2, 1000000000);
    struct MHD_Connection *busy = from("192.0.2.1"), *brings = from("192.0.2.1");
    serve(busy, -1, false);
    ck_assert(connections_taken(&all, brings, -1));
    struct MHD_Connection *third = from("192.0.2.1");
    ck_assert(!ended(busy) && ended(brings) && connections_fits(&all, third));
    serve(third, -1, false);
    struct MHD_Connection *fourth = from("192.0.2.1");
    ck_assert(!ended(third) && !ended(fourth) && !connections_fits(&all, fourth));
    connections_answered(&all, busy);
    struct MHD_Connection *fifth = from("192.0.2.1");
    ck_assert(ended(fourth) && ended(busy) && connections_fits(&all, fifth));
    ck_assert(connections_fits(&all, from("192.0.2.2")));
    close_all();
}
END_TEST

START_TEST(a_crowd_that_comes_at_once_may_begin)
{
    open_all(8, 2, 1000000000000);
    all.limits.fresh_ns = 500000000000;
    for (unsigned i = 0; i < 5; i++)
        from("192.0.2.1");
    serve(&made[0], -1, false);
    serve(&made[4], -1, false);
    ck_assert(!connections_fits(&all, &made[2])); /* it is told so */
    ck_assert_uint_eq(all.crowded, 0);
    connections_expire(&all, deadline_in_ms(600000));
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(ended(&made[i]), i > 0 && i < 4);
    close_all();
}
END_TEST

/* ---- how long ------------------------------------------------------------------------------------ */

START_TEST(the_fuller_it_is_the_less_time_there_is)
{
    open_all(40, 20, 100000000000);
    for (unsigned i = 0; i < 20; i++)
        from("192.0.2.1");
    struct MHD_Connection *other = from("192.0.2.2"), *served = from("192.0.2.1");
    serve(served, -1, false);
    connections_expire(&all, clock_monotonic_ns());
    ck_assert(!ended(&made[5]));
    connections_expire(&all, deadline_in_ms(3000));
    ck_assert(ended(&made[5]) && !ended(other) && !ended(served));
    ck_assert_uint_eq(all.slow, 19);
    close_all();
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("connections");

    unit_add(&u, an_address_takes_places_from_itself);
    unit_add(&u, a_network_and_its_mapped_addresses_are_one);
    unit_add(&u, the_owner_with_most_gives_when_all_are_taken);
    unit_add(&u, a_client_with_a_token_has_places_of_its_own);
    unit_add(&u, what_is_served_stays);
    unit_add(&u, a_crowd_that_comes_at_once_may_begin);
    unit_add(&u, the_fuller_it_is_the_less_time_there_is);
    return unit_end(&u);
}
