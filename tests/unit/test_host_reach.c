/* broker/reach, egress/dial: the file of who may reach what; and connections made by it, on this machine's loopback. */
/* also: threads */
#include "broker/reach.h"

#include "base/cleanup.h"
#include "base/deadline.h"
#include "egress/dial.h"
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct error e;
static char path[] = "/tmp/test-reach-XXXXXX";

static void write_file(const char *text)
{
    FILE *f = fopen(path, "w");

    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static void setup(void)
{
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    close(fd);
    e = (struct error){0};
}

static void teardown(void)
{
    unlink(path);
}

static bool may(struct reach *r, const char *owner, const char *name)
{
    struct policy p;
    bool ret = reach_of(r, owner, &p) && policy_has_name(&p, name, 443);

    policy_done(&p);
    return ret;
}

START_TEST(reads_who_may_reach_what)
{
    write_file("# comment\n\nalice a.org *.b.org # and no more\n\talice c.org\r\n* d.org\nnobody\n");
    struct reach *r = reach_open(path, &e);

    ck_assert_msg(r != NULL, "%s", e.text);
    ck_assert(may(r, "alice", "a.org") && may(r, "alice", "x.b.org") && may(r, "alice", "c.org"));
    ck_assert(!may(r, "alice", "d.org"));
    ck_assert(may(r, "bob", "d.org") && !may(r, "bob", "a.org"));
    ck_assert(!may(r, "nobody", "d.org"));
    write_file("alice e.org\n");
    ck_assert_int_eq(reach_reload(r, &e), 0);
    ck_assert(may(r, "alice", "e.org") && !may(r, "alice", "a.org") && !may(r, "bob", "d.org"));
    write_file("alice f.org\nalice :80\n");
    ck_assert_int_eq(reach_reload(r, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.text, ": line 2: "));
    ck_assert(may(r, "alice", "e.org")); /* as before */
    reach_close(r);
}
END_TEST

START_TEST(refuses_other_files)
{
    const char *const bad[] = {"a/b x.org", "a x..org", "a x.org:99999"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        write_file(bad[i]);
        ck_assert_ptr_null(reach_open(path, &e));
    }
    write_file("a a.org");
    chmod(path, 0666);
    ck_assert_ptr_null(reach_open(path, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "chmod"));
    unlink(path);
    ck_assert_ptr_null(reach_open(path, &e));
    struct reach *none = reach_open(NULL, &e);
    ck_assert(!may(none, "a", "a.org"));
    reach_close(none);
    write_file(""); /* for the end */
}
END_TEST

/* ---- connections ---------------------------------------------------------------------------------- */

static struct policy policies[2];
static struct dial_rules rules = {.policies = {&policies[0], &policies[1]}, .count = 2};
static int ends[2], listener;
static uint16_t port;
static pthread_t server;

static void *serve(void *unused)
{
    (void)unused;
    dial_serve(ends[1], &rules);
    return NULL;
}

static void listen_here(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);

    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert(bind(listener, (void *)&at, size) == 0 && listen(listener, 8) == 0);
    ck_assert_int_eq(getsockname(listener, (void *)&at, &size), 0);
    port = ntohs(at.sin_port);
}

static void begin(const char *first, const char *second)
{
    char text[100];

    listen_here();
    unsetenv("all_proxy");
    unsetenv("ALL_PROXY");
    unsetenv("https_proxy");
    unsetenv("HTTPS_PROXY");
    snprintf(text, sizeof(text), first, port);
    ck_assert_int_eq(policy_add(&policies[0], text, &e), 0);
    snprintf(text, sizeof(text), second, port);
    ck_assert_int_eq(policy_add(&policies[1], text, &e), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    ck_assert_int_eq(pthread_create(&server, NULL, serve, NULL), 0);
}

static void end(void)
{
    close(ends[0]);
    pthread_join(server, NULL);
    close(ends[1]);
    close(listener);
    policy_done(&policies[0]);
    policy_done(&policies[1]);
}

/* The decision; a connection is tried and closed. */
static enum egress_decision dial(const char *host, uint16_t to)
{
    struct dial_request r = {.serial = 7, .port = to};
    struct dial_answer a;
    int fd;

    strcpy(r.host, host);
    ck_assert_int_eq(dial_send_request(ends[0], &r, &e), 0);
    ck_assert_int_eq(deadline_wait_fd(ends[0], POLLIN, deadline_in_ms(50000), NULL, &e), 1);
    ck_assert_msg(dial_receive_answer(ends[0], &a, &fd, &e) == 0, "%s", e.text);
    ck_assert_uint_eq(a.serial, 7);
    ck_assert((fd >= 0) == (a.decision == EGRESS_ALLOWED));
    ck_assert(a.decision == EGRESS_ALLOWED ||
              strncmp(a.text, egress_decision_name((enum egress_decision)a.decision),
                      strlen(egress_decision_name((enum egress_decision)a.decision))) == 0);
    close_fd(&fd);
    return (enum egress_decision)a.decision;
}

static bool was_reached(void)
{
    int fd = accept(listener, NULL, NULL);
    bool reached = fd >= 0;

    close_fd(&fd);
    return reached;
}

START_TEST(connects_where_both_allow)
{
    begin("127.0.0.0/8:%u", "127.0.0.1:%u");
    ck_assert_int_eq(dial("127.0.0.1", port), EGRESS_ALLOWED);
    ck_assert(was_reached());
    ck_assert_int_eq(dial("0x7f.1", port), EGRESS_ALLOWED);
    ck_assert(was_reached());
    ck_assert_int_eq(dial("127.0.0.2", port), EGRESS_NOT_ALLOWED);
    ck_assert_int_eq(dial("127.0.0.1", port == 65535 ? 1 : (uint16_t)(port + 1)), EGRESS_NOT_ALLOWED);
    ck_assert_int_eq(dial("localhost", port), EGRESS_NOT_ALLOWED);
    ck_assert_int_eq(dial("a..b", port), EGRESS_MALFORMED);
    ck_assert(!was_reached());
    end();
}
END_TEST

START_TEST(reaches_nothing_by_a_name_alone)
{
    begin("localhost:%u", "*:%u");
    ck_assert_int_eq(dial("localhost", port), EGRESS_SPECIAL);
    ck_assert_int_eq(dial("127.0.0.1", port), EGRESS_NOT_ALLOWED);
    ck_assert(!was_reached());
    end();
}
END_TEST

START_TEST(tells_that_nobody_listens)
{
    begin("127.0.0.1:*", "127.0.0.1:*");
    close(listener);
    ck_assert_int_eq(dial("127.0.0.1", port), EGRESS_FAILED);
    listen_here();
    end();
}
END_TEST

START_TEST(ends_at_once_with_its_client)
{
    struct dial_request r = {.serial = 1, .port = 80, .host = "192.0.2.1"};

    begin("192.0.2.0/24", "192.0.2.0/24"); /* where nobody answers */
    for (int i = 0; i < DIAL_AT_A_TIME; i++)
        ck_assert_int_eq(dial_send_request(ends[0], &r, &e), 0);
    end();
}
END_TEST

START_TEST(checks_requests)
{
    struct dial_request r = {.serial = 1, .port = 80, .host = "a"}, out;

    ck_assert(dial_check_request(&r, sizeof(r), &out));
    ck_assert(!dial_check_request(&r, sizeof(r) - 1, &out));
    r.port = 0;
    ck_assert(!dial_check_request(&r, sizeof(r), &out));
    r.port = 80;
    r.host[0] = '\0';
    ck_assert(!dial_check_request(&r, sizeof(r), &out));
    memset(r.host, 'a', sizeof(r.host));
    ck_assert(!dial_check_request(&r, sizeof(r), &out));
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("reach");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, reads_who_may_reach_what);
    unit_add(&u, refuses_other_files);
    unit_add(&u, connects_where_both_allow);
    unit_add(&u, reaches_nothing_by_a_name_alone);
    unit_add(&u, tells_that_nobody_listens);
    unit_add(&u, ends_at_once_with_its_client);
    unit_add(&u, checks_requests);
    return unit_end(&u);
}
