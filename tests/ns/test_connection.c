/* Connections and frames: HELLO, refusals, deadlines, several at once, and hosts that do not read. */
#include "ns_client.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct ns_guest guest;
static struct ns_conn conn;

START_TEST(hello_tells_version_and_build)
{
    struct msg_welcome w;

    ns_start(&guest, NULL);
    ns_connect(&guest, &conn, false);
    NS_SEND(&conn, hello, 7, {.magic = PROTO_MAGIC, .version_min = 1, .version_max = 9});
    NS_EXPECT(&conn, welcome, WELCOME, 7, &w);
    ck_assert_uint_eq(w.version, 1);
    ck_assert_uint_eq(w.state, PROTO_STATE_READY);
    ck_assert_uint_eq(w.jobs_max, 32);
    ck_assert_uint_gt(w.ready_ns, w.init_ns);
    ck_assert_uint_gt(strlen(w.build), 0);
    NS_SEND(&conn, hello, 8, {.magic = PROTO_MAGIC, .version_min = 1, .version_max = 9});
    ns_expect_error(&conn, 8, PROTO_ERR_STATE);
    NS_SEND(&conn, ping, 0, {.token = 42});
    struct msg_pong pong;
    NS_EXPECT(&conn, pong, PONG, 0, &pong);
    ck_assert_uint_eq(pong.token, 42);
    ns_stop(&guest);
}
END_TEST

START_TEST(hello_comes_first)
{
    ns_start(&guest, NULL);
    ns_connect(&guest, &conn, false);
    NS_SEND(&conn, ping, 3, {.token = 1});
    ns_expect_error(&conn, 3, PROTO_ERR_STATE);
    NS_SEND(&conn, hello, 0, {.magic = PROTO_MAGIC, .version_min = 2, .version_max = 9});
    ns_expect_error(&conn, 0, PROTO_ERR_UNSUPPORTED);
    ck_assert(ns_closed_within(&conn, 2000));
    ns_connect(&guest, &conn, false);
    NS_SEND(&conn, hello, 0, {.magic = 1, .version_min = 1, .version_max = 1});
    ns_expect_error(&conn, 0, PROTO_ERR_MALFORMED);
    ck_assert(ns_closed_within(&conn, 2000));
    ns_stop(&guest);
}
END_TEST

START_TEST(unknown_message_is_refused_and_the_connection_goes_on)
{
    uint8_t frame[FRAME_HEADER_SIZE + 3] = {0};

    ns_start(&guest, NULL);
    ns_connect(&guest, &conn, true);
    frame_put_header(frame, 999, 5, 3);
    ns_send_bytes(&conn, frame, sizeof(frame));
    ns_expect_error(&conn, 5, PROTO_ERR_UNSUPPORTED);
    /* A message of the guest is none that the host may send. */
    NS_SEND(&conn, pong, 6, {.token = 1});
    ns_expect_error(&conn, 6, PROTO_ERR_UNSUPPORTED);
    NS_SEND(&conn, stat, 0, {.path = "/"});
    ns_expect_error(&conn, 0, PROTO_ERR_INVALID);
    NS_SEND(&conn, ping, 0, {.token = 2});
    struct msg_pong pong;
    NS_EXPECT(&conn, pong, PONG, 0, &pong);
    ns_stop(&guest);
}
END_TEST

static void expect_refusal(const void *bytes, size_t size, uint32_t stream)
{
    ns_connect(&guest, &conn, true);
    ns_send_bytes(&conn, bytes, size);
    ns_expect_error(&conn, stream, PROTO_ERR_MALFORMED);
    ck_assert(ns_closed_within(&conn, 2000));
    ns_disconnect(&conn);
}

START_TEST(garbage_closes_the_connection)
{
    uint8_t noise[64], trailing[FRAME_HEADER_SIZE + 9] = {0}, flags[FRAME_HEADER_SIZE + 8] = {0};
    uint8_t empty_data[128];

    ns_start(&guest, NULL);
    memset(noise, 0xff, sizeof(noise));
    expect_refusal(noise, sizeof(noise), 0);
    frame_put_header(trailing, MSG_PING, 4, 9); /* one byte too many */
    expect_refusal(trailing, sizeof(trailing), 4);
    frame_put_header(flags, MSG_PING, 4, 8);
    flags[6] = 1;
    expect_refusal(flags, sizeof(flags), 0);
    size_t n = msg_data_frame(&(struct msg_data){.channel = 0}, 9, empty_data, sizeof(empty_data));
    expect_refusal(empty_data, n, 9);
    n = msg_end_frame(&(struct msg_end){.channel = 1}, 9, empty_data, sizeof(empty_data));
    expect_refusal(empty_data, n, 9);
    ns_connect(&guest, &conn, true);
    ns_stop(&guest);
}
END_TEST

START_TEST(a_half_frame_has_a_deadline)
{
    static const char *const arguments[] = {"--test-frame-ms=150", NULL};
    uint8_t frame[FRAME_HEADER_SIZE];

    ns_start(&guest, arguments);
    ns_connect(&guest, &conn, true);
    usleep(300000); /* silence between frames is fine */
    frame_put_header(frame, MSG_PING, 1, 8);
    double began = ns_now();
    ns_send_bytes(&conn, frame, sizeof(frame));
    ns_expect_error(&conn, 0, PROTO_ERR_MALFORMED);
    ck_assert(ns_closed_within(&conn, 2000));
    ck_assert_double_ge(ns_now() - began, 0.14);
    ns_stop(&guest);
}
END_TEST

START_TEST(a_stranger_has_a_deadline)
{
    static const char *const arguments[] = {"--test-hello-ms=150", NULL};
    static struct ns_conn known;

    ns_start(&guest, arguments);
    ns_connect(&guest, &known, true);
    ns_connect(&guest, &conn, false);
    ck_assert(ns_closed_within(&conn, 2000));
    ck_assert(!ns_closed_within(&known, 200));
    ns_stop(&guest);
}
END_TEST

START_TEST(several_connections_at_once)
{
    static struct ns_conn conns[4], more;
    struct ns_result r;

    ns_start(&guest, NULL);
    for (int i = 0; i < 4; i++)
        ns_connect(&guest, &conns[i], true);
    for (int i = 0; i < 4; i++) {
        ns_run_sh(&conns[i], "echo $$", &r);
        ck_assert_uint_gt(r.out_size, 1);
    }
    /* All slots are taken by connections that have said HELLO: one more is refused. */
    ns_connect(&guest, &more, false);
    ck_assert(ns_closed_within(&more, 2000));
    ns_disconnect(&more);
    ns_disconnect(&conns[2]);
    usleep(50000);
    ns_connect(&guest, &more, true);
    /* A stranger gives way. */
    ns_disconnect(&conns[3]);
    usleep(50000);
    ns_connect(&guest, &conns[2], false);
    ns_connect(&guest, &conns[3], true);
    ck_assert(ns_closed_within(&conns[2], 2000));
    ns_run_sh(&conns[0], "true", &r);
    ns_stop(&guest);
}
END_TEST

START_TEST(a_stream_id_in_use_is_refused)
{
    ns_start(&guest, NULL);
    ns_connect(&guest, &conn, true);
    struct msg_exec m = ns_sh("sleep 100");
    uint32_t stream = ns_exec(&conn, &m);
    struct msg_started s;
    NS_EXPECT(&conn, started, STARTED, stream, &s);
    NS_SEND(&conn, stat, stream, {.path = "/"});
    ns_expect_error(&conn, stream, PROTO_ERR_BUSY);
    NS_SEND(&conn, kill, stream + 1, {});
    ns_expect_error(&conn, stream + 1, PROTO_ERR_NOT_FOUND);
    NS_SEND(&conn, kill, stream, {});
    ns_expect_ok(&conn, stream);
    struct ns_result r;
    ns_collect(&conn, stream, 1, &r);
    ck_assert_uint_eq(r.exit.cause, PROTO_CAUSE_CANCELLED);
    ck_assert_uint_eq(r.exit.signal, 9);
    /* It is free again, and messages for what is gone are ignored. */
    NS_SEND(&conn, window, stream, {.channel = 1, .consumed = 0, .limit = 99});
    NS_SEND(&conn, data, stream,
            {.channel = 0, .offset = 0, .data = {.data = (const uint8_t *)"x", .size = 1}});
    NS_SEND(&conn, end, stream, {.channel = 0, .offset = 1});
    NS_SEND(&conn, stat, stream, {.path = "/"});
    struct msg_file_info info;
    NS_EXPECT(&conn, file_info, FILE_INFO, stream, &info);
    ns_stop(&guest);
}
END_TEST

/* A host that asks for a lot and never reads stops only itself. */
START_TEST(a_host_that_does_not_read_stops_nobody_else)
{
    static struct ns_conn other;
    struct ns_result r;

    ns_start(&guest, NULL);
    ns_connect(&guest, &conn, true);
    ns_connect(&guest, &other, true);
    struct msg_exec m = ns_sh("cat /dev/zero");
    m.window = UINT64_MAX;
    ns_exec(&conn, &m);
    for (int i = 0; i < 200; i++)
        NS_SEND(&conn, list, 100u + (uint32_t)i, {.path = "/proc"});
    for (int i = 0; i < 20; i++) {
        ns_run_sh(&other, "echo alive", &r);
        ck_assert_str_eq(r.out, "alive\n");
        ck_assert_double_lt(r.seconds, 1);
    }
    /* It gets all its answers once it reads. */
    unsigned listings = 0;
    while (listings < 200) {
        struct frame f = ns_receive(&conn);
        listings += f.type == MSG_LISTING;
    }
    ns_stop(&guest);
}
END_TEST

START_TEST(shutdown_ends_initd_and_every_process)
{
    ns_start(&guest, NULL);
    ns_connect(&guest, &conn, true);
    struct msg_exec m = ns_sh("sleep 100");
    ns_exec(&conn, &m);
    ns_receive(&conn);
    NS_SEND(&conn, shutdown, 50, {.action = 7});
    ns_expect_error(&conn, 50, PROTO_ERR_INVALID);
    NS_SEND(&conn, shutdown, 50, {.action = PROTO_SHUTDOWN_POWEROFF});
    ns_expect_ok(&conn, 50);
    ck_assert(ns_closed_within(&conn, 3000));
    ns_join(&guest);
}
END_TEST

/* Also when it has come already. */
START_TEST(nothing_is_taken_after_shutdown)
{
    uint8_t frames[4096];
    char path[64] = "/tmp/capsid-shutdown-XXXXXX";
    struct stat st;

    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ns_start(&guest, NULL);
    ns_connect(&guest, &conn, true);
    struct msg_shutdown end = {.action = PROTO_SHUTDOWN_POWEROFF};
    struct msg_remove remove = {.path = path};
    size_t n = msg_shutdown_frame(&end, 50, frames, sizeof(frames));
    n += msg_remove_frame(&remove, 51, frames + n, sizeof(frames) - n);
    ns_send_bytes(&conn, frames, n);
    ns_expect_ok(&conn, 50);
    ck_assert(ns_closed_within(&conn, 3000));
    ns_join(&guest);
    ck_assert_int_eq(stat(path, &st), 0);
    unlink(path);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        hello_tells_version_and_build,
        hello_comes_first,
        unknown_message_is_refused_and_the_connection_goes_on,
        garbage_closes_the_connection,
        a_half_frame_has_a_deadline,
        a_stranger_has_a_deadline,
        several_connections_at_once,
        a_stream_id_in_use_is_refused,
        a_host_that_does_not_read_stops_nobody_else,
        shutdown_ends_initd_and_every_process,
        nothing_is_taken_after_shutdown,
    };

    return ns_main("connection", tests, sizeof(tests) / sizeof(tests[0]), 20);
}
