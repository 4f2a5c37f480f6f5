/* Streams: windows in both directions, every byte in its place, and jobs that outlive connections. */
#include "ns_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct ns_guest guest;
static struct ns_conn conn;
static struct ns_result result;

static void setup(void)
{
    ns_start(&guest, NULL);
    ns_connect(&guest, &conn, true);
}

/* Prints numbers, 8 bytes a line, so that every byte is known. */
#define COUNT_FROM_0_TO(last) "seq -f %07.0f 0 " #last

static void check_count(const char *text, size_t size, unsigned first)
{
    for (size_t at = 0; at + 8 <= size; at += 8)
        ck_assert_uint_eq((unsigned)strtoul(text + at, NULL, 10), first + at / 8);
}

START_TEST(four_mebibytes_byte_for_byte)
{
    static const uint64_t windows[] = {65536, 100000000, 1000};

    setup();
    for (size_t i = 0; i < 3; i++) {
        struct msg_exec m = ns_sh(COUNT_FROM_0_TO(524287));
        m.window = windows[i];
        uint32_t stream = ns_exec(&conn, &m);
        ns_collect(&conn, stream, windows[i], &result);
        ck_assert_uint_eq(result.out_size, 4 << 20);
        check_count(result.out, result.out_size, 0);
    }
    ns_stop(&guest);
}
END_TEST

START_TEST(nothing_comes_beyond_the_window)
{
    struct msg_started s;
    struct msg_data d;
    struct frame f;

    setup();
    struct msg_exec m = ns_sh("echo 0123456789; echo error >&2");
    m.window = 4;
    uint32_t stream = ns_exec(&conn, &m);
    NS_EXPECT(&conn, started, STARTED, stream, &s);
    uint64_t got[3] = {0};
    while (ns_receive_within(&conn, 200, &f)) {
        ck_assert_uint_eq(f.type, MSG_DATA);
        ck_assert(msg_data_decode(&d, f.payload, f.length));
        got[d.channel] += d.data.size;
    }
    ck_assert_uint_eq(got[1], 4);
    ck_assert_uint_eq(got[2], 4);
    /* A repeated or smaller limit changes nothing. */
    NS_SEND(&conn, window, stream, {.channel = 1, .consumed = 0, .limit = 2});
    ck_assert(!ns_receive_within(&conn, 100, &f));
    NS_SEND(&conn, window, stream, {.channel = 1, .consumed = 4, .limit = 7});
    NS_EXPECT(&conn, data, DATA, stream, &d);
    ck_assert_uint_eq(d.offset, 4);
    ck_assert_uint_eq(d.data.size, 3);
    ck_assert(memcmp(d.data.data, "456", 3) == 0);
    /* Consuming what was not sent makes no sense. */
    NS_SEND(&conn, window, stream, {.channel = 1, .consumed = 8, .limit = 9});
    ns_expect_error(&conn, stream, PROTO_ERR_FLOW);
    ck_assert(ns_closed_within(&conn, 2000));
    ns_stop(&guest);
}
END_TEST

static void send_input(uint32_t stream, uint64_t offset, const char *data, size_t size)
{
    NS_SEND(
        &conn, data, stream,
        {.channel = 0, .offset = offset, .data = {.data = (const uint8_t *)data, .size = (uint32_t)size}});
}

START_TEST(standard_input_comes_back)
{
    struct msg_started s;

    setup();
    struct msg_exec m = ns_sh("cat");
    m.flags = PROTO_JOB_STDIN;
    uint32_t stream = ns_exec(&conn, &m);
    NS_EXPECT(&conn, started, STARTED, stream, &s);
    ck_assert_uint_eq(s.stdin_offset, 0);
    ck_assert_uint_ge(s.stdin_limit, 1024);
    send_input(stream, 0, "hello\n", 6);
    send_input(stream, 6, "world\n", 6);
    NS_SEND(&conn, end, stream, {.channel = 0, .offset = 12});
    ns_collect(&conn, stream, 65536, &result);
    ck_assert_str_eq(result.out, "hello\nworld\n");
    ck_assert_uint_eq(result.exit.status, 0);
    ns_stop(&guest);
}
END_TEST

/* Sends size bytes of input as the windows allow, and takes what comes back. */
static size_t pump(uint32_t stream, const char *input, size_t size, uint64_t limit, char *output)
{
    size_t sent = 0, got = 0;

    for (;;) {
        while (sent < size && sent < limit) {
            size_t n = limit - sent < size - sent ? limit - sent : size - sent;
            n = n < 60000 ? n : 60000;
            send_input(stream, sent, input + sent, n);
            sent += n;
            if (sent == size)
                NS_SEND(&conn, end, stream, {.channel = 0, .offset = size});
        }
        struct frame f = ns_receive(&conn);
        struct msg_window w;
        struct msg_data d;
        if (f.type == MSG_WINDOW) {
            ck_assert(msg_window_decode(&w, f.payload, f.length));
            ck_assert_uint_eq(w.channel, 0);
            ck_assert_uint_ge(w.limit, limit);
            ck_assert_uint_le(w.consumed, sent);
            limit = w.limit;
        } else if (f.type == MSG_DATA) {
            ck_assert(msg_data_decode(&d, f.payload, f.length));
            memcpy(output + got, d.data.data, d.data.size);
            got += d.data.size;
            NS_SEND(&conn, window, stream, {.channel = 1, .consumed = got, .limit = got + 65536});
        } else if (f.type == MSG_EXIT) {
            return got;
        }
    }
}

START_TEST(a_mebibyte_of_input_and_back)
{
    enum { SIZE = 1 << 20 };
    static char input[SIZE], output[SIZE];
    struct msg_started s;

    for (int i = 0; i < SIZE; i++)
        input[i] = (char)(i * 31 + i / 4096);
    setup();
    struct msg_exec m = ns_sh("cat");
    m.flags = PROTO_JOB_STDIN;
    uint32_t stream = ns_exec(&conn, &m);
    NS_EXPECT(&conn, started, STARTED, stream, &s);
    ck_assert_uint_eq(pump(stream, input, SIZE, s.stdin_limit, output), SIZE);
    ck_assert(memcmp(input, output, SIZE) == 0);
    ns_stop(&guest);
}
END_TEST

START_TEST(input_that_nobody_reads_is_dropped)
{
    static char input[1 << 18], output[1];
    struct msg_started s;

    setup();
    struct msg_exec m = ns_sh("exec <&-; sleep 0.3; exit 4");
    m.flags = PROTO_JOB_STDIN;
    uint32_t stream = ns_exec(&conn, &m);
    NS_EXPECT(&conn, started, STARTED, stream, &s);
    ck_assert_uint_eq(pump(stream, input, sizeof(input), s.stdin_limit, output), 0);
    ns_run_sh(&conn, "true", &result);
    ns_stop(&guest);
}
END_TEST

START_TEST(input_outside_of_the_window_closes_the_connection)
{
    static const char zeros[70000];
    struct msg_started s;

    setup();
    for (int i = 0; i < 3; i++) {
        struct msg_exec m = ns_sh("sleep 1");
        m.flags = i == 2 ? 0 : PROTO_JOB_STDIN;
        uint32_t stream = ns_exec(&conn, &m);
        NS_EXPECT(&conn, started, STARTED, stream, &s);
        if (i == 0)
            send_input(stream, 5, zeros, 1); /* a gap */
        else
            send_input(stream, 0, zeros, s.stdin_limit + 1); /* too much; for the third, anything */
        ns_expect_error(&conn, stream, PROTO_ERR_FLOW);
        ck_assert(ns_closed_within(&conn, 2000));
        ns_disconnect(&conn);
        ns_connect(&guest, &conn, true);
    }
    ns_stop(&guest);
}
END_TEST

/* Attaches on a new stream and returns it, STARTED taken. */
static uint32_t attach(uint32_t job, uint64_t out, uint64_t err, uint64_t window)
{
    struct msg_started s;
    uint32_t stream = ns_stream(&conn);

    NS_SEND(&conn, attach, stream,
            {.job = job, .stdout_offset = out, .stderr_offset = err, .window = window});
    NS_EXPECT(&conn, started, STARTED, stream, &s);
    ck_assert_uint_eq(s.job, job);
    return stream;
}

/* Runs a job whose host takes all of its output, says of little that it is consumed, and gets EXIT. Returns the job. */
static uint32_t run_unconsumed(uint64_t size, uint64_t consumed)
{
    struct msg_started s;
    char script[64];

    snprintf(script, sizeof(script), "head -c %llu /dev/zero", (unsigned long long)size);
    struct msg_exec m = ns_sh(script);
    m.window = size;
    uint32_t stream = ns_exec(&conn, &m);
    NS_EXPECT(&conn, started, STARTED, stream, &s);
    ck_assert_uint_eq(ns_receive(&conn).type, MSG_DATA);
    NS_SEND(&conn, window, stream, {.channel = 1, .consumed = consumed, .limit = size});
    while (ns_receive(&conn).type != MSG_EXIT) {
    }
    return s.job;
}

/* initd has sent EXIT, and cannot know whether it came before the connection was lost. */
START_TEST(an_end_that_may_not_have_come_is_kept_beside_busy_jobs)
{
    enum { SIZE = 200000, CONSUMED = 3000 };
    struct ns_result r;

    setup();
    uint32_t job = run_unconsumed(SIZE, CONSUMED);
    ns_disconnect(&conn);
    ns_connect(&guest, &conn, true);
    ns_run(&conn, ns_sh("head -c 1000000 /dev/zero"), &r);
    ck_assert_uint_eq(r.out_size, 1000000);
    uint32_t stream = attach(job, CONSUMED, 0, SIZE);
    uint64_t got = CONSUMED;
    struct frame f;
    while ((f = ns_receive(&conn)).type != MSG_EXIT) {
        struct msg_data d;
        if (f.type == MSG_DATA && msg_data_decode(&d, f.payload, f.length))
            got += d.data.size;
    }
    ck_assert_uint_eq(f.stream, stream);
    ck_assert_uint_eq(got, SIZE);

    /* Now its host takes what is sent later on the same connection, so it has come. */
    ns_run(&conn, ns_sh("head -c 1000000 /dev/zero"), &r);
    stream = ns_stream(&conn);
    NS_SEND(&conn, attach, stream, {.job = job, .stdout_offset = CONSUMED, .window = SIZE});
    ns_expect_error(&conn, stream, PROTO_ERR_NOT_FOUND);
    ns_stop(&guest);
}
END_TEST

START_TEST(a_job_outlives_its_connection)
{
    enum { SIZE = 800000, FIRST = 10000 };
    static char text[SIZE];
    struct msg_started s;
    struct msg_exit e = {0};
    size_t got = 0;

    setup();
    struct msg_exec m = ns_sh(COUNT_FROM_0_TO(99999) "; echo last words >&2; exit 5");
    m.window = FIRST;
    uint32_t stream = ns_exec(&conn, &m);
    NS_EXPECT(&conn, started, STARTED, stream, &s);
    while (got < 4096) { /* what initd keeps at least */
        struct msg_data d;
        NS_EXPECT(&conn, data, DATA, stream, &d);
        memcpy(text + got, d.data.data, d.data.size);
        got += d.data.size;
    }
    ns_disconnect(&conn);
    usleep(50000);

    ns_connect(&guest, &conn, true);
    struct msg_job_list list;
    NS_SEND(&conn, jobs, 77, {});
    NS_EXPECT(&conn, job_list, JOB_LIST, 77, &list);
    ck_assert_uint_eq(list.ids.count, 1);
    ck_assert_uint_eq(wire_u32s_at(list.ids, 0), s.job);
    ck_assert_uint_eq(wire_u32s_at(list.states, 0), PROTO_JOB_RUNNING);

    /* Not all that came is kept by this host: it goes on from an earlier offset. */
    got = 3000;
    stream = attach(s.job, got, 0, 3000);
    for (bool ended = false; !ended;) {
        struct frame f = ns_receive(&conn);
        struct msg_data d;
        if (f.type == MSG_DATA) {
            ck_assert(msg_data_decode(&d, f.payload, f.length));
            if (d.channel == 1) {
                ck_assert_uint_eq(d.offset, got);
                memcpy(text + got, d.data.data, d.data.size);
                got += d.data.size;
                NS_SEND(&conn, window, stream, {.channel = 1, .consumed = got, .limit = got + 3000});
            }
        }
        ended = f.type == MSG_EXIT;
        if (ended)
            ck_assert(msg_exit_decode(&e, f.payload, f.length));
    }
    ck_assert_uint_eq(got, SIZE);
    check_count(text, SIZE, 0);
    ck_assert_uint_eq(e.status, 5);
    ns_stop(&guest);
}
END_TEST

START_TEST(an_ended_job_waits_for_its_host)
{
    struct msg_started s;

    setup();
    struct msg_exec m = ns_sh("sleep 0.1; echo done; exit 6");
    uint32_t stream = ns_exec(&conn, &m);
    NS_EXPECT(&conn, started, STARTED, stream, &s);
    NS_SEND(&conn, release, 90, {.job = s.job});
    ns_expect_error(&conn, 90, PROTO_ERR_BUSY);
    ns_disconnect(&conn);
    usleep(300000);
    ns_connect(&guest, &conn, true);
    for (int i = 0; i < 2; i++) { /* as often as wanted */
        uint32_t at = ns_stream(&conn);
        NS_SEND(&conn, attach, at, {.job = s.job, .window = i == 0 ? 0 : 65536});
        NS_EXPECT(&conn, started, STARTED, at, &s);
        if (i == 0) { /* without a window there is no EXIT either; the channel that is empty ends */
            struct msg_end end;
            NS_EXPECT(&conn, end, END, at, &end);
            ck_assert_uint_eq(end.channel, 2);
            struct frame f;
            ck_assert(!ns_receive_within(&conn, 150, &f));
            NS_SEND(&conn, window, at, {.channel = 1, .consumed = 0, .limit = 5});
            struct msg_data d;
            NS_EXPECT(&conn, data, DATA, at, &d);
            NS_EXPECT(&conn, end, END, at, &end);
            struct msg_exit e;
            NS_EXPECT(&conn, exit, EXIT, at, &e);
            ck_assert_uint_eq(e.status, 6);
        } else {
            struct ns_result r;
            ns_collect(&conn, at, 65536, &r);
            ck_assert_str_eq(r.out, "done\n");
        }
    }
    /* What is below the offsets of an ATTACH counts as consumed. */
    uint32_t last = attach(s.job, 5, 0, 65536);
    for (struct frame f = ns_receive(&conn); f.type != MSG_EXIT; f = ns_receive(&conn))
        ck_assert_uint_eq(f.stream, last);
    NS_SEND(&conn, attach, 95, {.job = s.job, .stdout_offset = 4});
    ns_expect_error(&conn, 95, PROTO_ERR_GONE);
    NS_SEND(&conn, attach, 96, {.job = s.job, .stdout_offset = 6});
    ns_expect_error(&conn, 96, PROTO_ERR_INVALID);
    NS_SEND(&conn, release, 97, {.job = s.job});
    ns_expect_ok(&conn, 97);
    NS_SEND(&conn, attach, 98, {.job = s.job, .stdout_offset = 5});
    ns_expect_error(&conn, 98, PROTO_ERR_NOT_FOUND);
    ns_stop(&guest);
}
END_TEST

START_TEST(attach_takes_the_job_from_its_stream)
{
    struct msg_started s;
    static struct ns_conn other;

    setup();
    ns_connect(&guest, &other, true);
    struct msg_exec m = ns_sh("read line; echo $line");
    m.flags = PROTO_JOB_STDIN;
    uint32_t stream = ns_exec(&other, &m);
    NS_EXPECT(&other, started, STARTED, stream, &s);
    uint32_t mine = attach(s.job, 0, 0, 65536);
    ns_expect_error(&other, stream, PROTO_ERR_GONE);
    NS_SEND(&other, kill, stream, {});
    ns_expect_error(&other, stream, PROTO_ERR_NOT_FOUND);
    send_input(mine, 0, "mine\n", 5);
    ns_collect(&conn, mine, 65536, &result);
    ck_assert_str_eq(result.out, "mine\n");
    ns_stop(&guest);
}
END_TEST

START_TEST(finished_jobs_give_way_oldest_first)
{
    struct msg_job_list list;

    setup();
    for (int i = 0; i < 40; i++)
        ns_run_sh(&conn, "true", &result);
    NS_SEND(&conn, jobs, 7777, {});
    NS_EXPECT(&conn, job_list, JOB_LIST, 7777, &list);
    ck_assert_uint_eq(list.ids.count, 32);
    for (uint32_t i = 0; i < 32; i++) {
        ck_assert_uint_eq(wire_u32s_at(list.ids, i), 9 + i);
        ck_assert_uint_eq(wire_u32s_at(list.states, i), PROTO_JOB_ENDED);
    }
    /* Not to a request that is refused. */
    struct msg_exec m = ns_sh("true");
    m.cwd = "relative";
    ns_expect_error(&conn, ns_exec(&conn, &m), PROTO_ERR_INVALID);
    NS_SEND(&conn, prime, 7777, {.argv = m.argv, .cwd = "/", .script = "relative"});
    ns_expect_error(&conn, 7777, PROTO_ERR_INVALID);
    NS_SEND(&conn, prime, 7777, {.argv = m.argv, .cwd = "relative", .script = "/nowhere"});
    ns_expect_error(&conn, 7777, PROTO_ERR_INVALID);
    NS_SEND(&conn, jobs, 7777, {});
    NS_EXPECT(&conn, job_list, JOB_LIST, 7777, &list);
    ck_assert_uint_eq(list.ids.count, 32);
    ck_assert_uint_eq(wire_u32s_at(list.ids, 0), 9);
    ns_stop(&guest);
}
END_TEST

START_TEST(jobs_of_one_connection_take_turns)
{
    enum { JOBS = 6, SIZE = 400000 };
    uint32_t streams[JOBS];
    uint64_t got[JOBS] = {0};
    unsigned ended = 0;

    setup();
    for (int i = 0; i < JOBS; i++) {
        struct msg_exec m = ns_sh("head -c 400000 /dev/zero");
        m.window = SIZE;
        streams[i] = ns_exec(&conn, &m);
    }
    while (ended < JOBS) {
        struct frame f = ns_receive(&conn);
        struct msg_data d;
        uint32_t i = f.stream - streams[0];
        ck_assert_uint_lt(i, JOBS);
        if (f.type == MSG_DATA) {
            ck_assert(msg_data_decode(&d, f.payload, f.length));
            ck_assert_uint_eq(d.offset, got[i]);
            got[i] += d.data.size;
            NS_SEND(&conn, window, f.stream, {.channel = 1, .consumed = got[i], .limit = SIZE});
        }
        ended += f.type == MSG_EXIT;
    }
    for (int i = 0; i < JOBS; i++)
        ck_assert_uint_eq(got[i], SIZE);
    ns_stop(&guest);
}
END_TEST

static struct msg_job_info job_info(uint32_t job)
{
    struct msg_job_info m;
    uint32_t stream = ns_stream(&conn);
    struct frame f;

    NS_SEND(&conn, job, stream, {.job = job});
    do /* other streams go on meanwhile */
        f = ns_receive(&conn);
    while (f.stream != stream);
    ck_assert(f.type == MSG_JOB_INFO && msg_job_info_decode(&m, f.payload, f.length));
    ck_assert_uint_eq(m.job, job);
    return m;
}

static uint32_t dead_job;

static bool has_ended(void *unused)
{
    (void)unused;
    return job_info(dead_job).state == PROTO_JOB_ENDED;
}

/* A job that is dead, with more output than initd keeps, which nobody takes. Returns its stream. */
static uint32_t start_dead(uint32_t wall_ms, uint64_t window)
{
    struct msg_started s;
    struct msg_exec m = ns_sh("head -c 50000 /dev/zero");

    m.window = window;
    m.wall_ms = wall_ms;
    uint32_t stream = ns_exec(&conn, &m);
    NS_EXPECT(&conn, started, STARTED, stream, &s);
    dead_job = s.job;
    return stream;
}

/* Takes what is left of it. */
static void expect_cut_short(uint32_t stream)
{
    struct msg_exit e;
    struct frame f;

    while ((f = ns_receive(&conn)).type != MSG_EXIT)
        ck_assert_uint_eq(f.stream, stream);
    ck_assert(msg_exit_decode(&e, f.payload, f.length));
    ck_assert_uint_eq(e.cause, PROTO_CAUSE_EXITED);
    ck_assert_uint_eq(e.flags, PROTO_EXIT_OUTPUT_LOST);
    ck_assert_uint_eq(e.stdout_size, 4096);
}

START_TEST(a_dead_job_whose_output_nobody_takes_can_be_got_rid_of)
{
    struct frame f;

    setup();
    uint32_t stream = start_dead(0, 0);
    ns_wait_until(has_ended, NULL);
    NS_SEND(&conn, kill, stream, {});
    while ((f = ns_receive(&conn)).type != MSG_OK)
        ck_assert_uint_eq(f.type, MSG_END); /* of channel 2, on its way */
    NS_SEND(&conn, window, stream, {.channel = 1, .limit = 100000});
    expect_cut_short(stream);

    stream = start_dead(0, 0);
    ns_wait_until(has_ended, NULL);
    uint32_t other = ns_stream(&conn);
    NS_SEND(&conn, release, other, {.job = dead_job});
    for (int told = 0; told < 2;) { /* OK, and that the stream has lost its job */
        f = ns_receive(&conn);
        ck_assert(f.type == MSG_END || f.type == (f.stream == other ? MSG_OK : MSG_ERROR));
        told += f.type != MSG_END;
    }
    NS_SEND(&conn, job, other, {.job = dead_job});
    ns_expect_error(&conn, other, PROTO_ERR_NOT_FOUND);
    ns_stop(&guest);
}
END_TEST

START_TEST(the_wall_clock_limit_counts_for_output_that_nobody_takes)
{
    setup();
    expect_cut_short(start_dead(300, 100000)); /* which is sent, and not consumed */
    /* Nor do those live on that a killed job could not tell of. */
    struct msg_exec m = ns_sh("yes");
    struct msg_exit e;
    struct frame f;
    m.window = 4096;
    m.wall_ms = 100;
    ns_exec(&conn, &m);
    while ((f = ns_receive(&conn)).type != MSG_EXIT) {
    }
    ck_assert(msg_exit_decode(&e, f.payload, f.length));
    ck_assert_uint_eq(e.cause, PROTO_CAUSE_TIMEOUT);
    ck_assert_uint_eq(e.flags, PROTO_EXIT_OUTPUT_LOST);
    ns_stop(&guest);
}
END_TEST

/* A host that lost its notes. */
START_TEST(a_job_can_be_asked_about_and_killed_by_its_id)
{
    struct msg_started s;
    struct msg_error error;
    struct msg_data d;

    setup();
    struct msg_exec m = ns_sh("printf 0123456789; printf abc >&2; exec sleep 100");
    m.window = 100;
    uint32_t stream = ns_exec(&conn, &m);
    NS_EXPECT(&conn, started, STARTED, stream, &s);
    NS_EXPECT(&conn, data, DATA, stream, &d);
    NS_EXPECT(&conn, data, DATA, stream, &d);
    NS_SEND(&conn, window, stream, {.channel = 1, .consumed = 7, .limit = 100});
    ns_disconnect(&conn);
    ns_connect(&guest, &conn, true);
    uint32_t at = ns_stream(&conn);
    NS_SEND(&conn, attach, at, {.job = s.job, .window = 100});
    NS_EXPECT(&conn, error, ERROR, at, &error);
    ck_assert_uint_eq(error.code, PROTO_ERR_GONE);
    ck_assert_str_eq(error.text, "that output was consumed; channel 1 begins at 7, channel 2 at 0");
    struct msg_job_info i = job_info(s.job);
    ck_assert_uint_eq(i.state, PROTO_JOB_RUNNING);
    ck_assert_uint_eq(i.stdout_start, 7);
    ck_assert_uint_eq(i.stdout_end, 10);
    ck_assert_uint_eq(i.stderr_start, 0);
    ck_assert_uint_eq(i.stderr_end, 3);
    NS_SEND(&conn, kill_job, at, {.job = s.job});
    ns_expect_ok(&conn, at);
    at = attach(s.job, i.stdout_start, i.stderr_start, 100);
    struct frame f;
    while ((f = ns_receive(&conn)).type != MSG_EXIT) {
    }
    struct msg_exit e;
    ck_assert(msg_exit_decode(&e, f.payload, f.length));
    ck_assert_uint_eq(e.cause, PROTO_CAUSE_CANCELLED);
    NS_SEND(&conn, kill_job, at, {.job = s.job + 1});
    ns_expect_error(&conn, at, PROTO_ERR_NOT_FOUND);
    NS_SEND(&conn, job, at, {.job = s.job + 1});
    ns_expect_error(&conn, at, PROTO_ERR_NOT_FOUND);
    ns_stop(&guest);
}
END_TEST

/* What has not told its end gives way to nobody. */
START_TEST(jobs_whose_end_was_not_told_are_kept)
{
    struct msg_started first, s;

    setup();
    for (int i = 0; i < 32; i++) {
        struct msg_exec m = ns_sh("echo x");
        m.window = 0;
        uint32_t stream = ns_exec(&conn, &m);
        NS_EXPECT(&conn, started, STARTED, stream, &s);
        if (i == 0)
            first = s;
        dead_job = s.job;
        ck_assert_uint_eq(ns_receive(&conn).type, MSG_END); /* of channel 2 */
        ns_wait_until(has_ended, NULL);
    }
    ns_disconnect(&conn);
    ns_connect(&guest, &conn, true);
    struct msg_exec m = ns_sh("true");
    ns_expect_error(&conn, ns_exec(&conn, &m), PROTO_ERR_LIMIT);
    ns_collect(&conn, attach(first.job, 0, 0, 100), 100, &result);
    ck_assert_str_eq(result.out, "x\n");
    ns_run_sh(&conn, "true", &result); /* in its place */
    ns_run_sh(&conn, "true", &result);
    ns_collect(&conn, attach(first.job + 1, 0, 0, 100), 100, &result);
    ck_assert_str_eq(result.out, "x\n");
    ns_stop(&guest);
}
END_TEST

/* The host's last WINDOW comes after EXIT, mostly: what it had then must not slow the next host down. */
START_TEST(output_is_fast_after_a_reconnect)
{
    size_t largest = 0;
    struct msg_started s;
    struct frame f;

    setup();
    struct msg_exec m = ns_sh("head -c 200000 /dev/zero");
    m.window = 200000;
    uint32_t stream = ns_exec(&conn, &m);
    NS_EXPECT(&conn, started, STARTED, stream, &s);
    ck_assert_uint_eq(ns_receive(&conn).type, MSG_DATA);
    NS_SEND(&conn, window, stream, {.channel = 1, .consumed = 4000, .limit = 200000});
    while (ns_receive(&conn).type != MSG_EXIT) {
    }
    NS_SEND(&conn, window, stream, {.channel = 1, .consumed = 200000, .limit = 200000});
    ck_assert_uint_eq(job_info(s.job).stdout_start, 200000);
    ns_disconnect(&conn);
    ns_connect(&guest, &conn, true);
    m = ns_sh("head -c 4000000 /dev/zero");
    m.window = 200000;
    stream = ns_exec(&conn, &m);
    for (uint64_t got = 0; (f = ns_receive(&conn)).type != MSG_EXIT;) {
        struct msg_data d;
        if (f.type != MSG_DATA || !msg_data_decode(&d, f.payload, f.length))
            continue;
        largest = d.data.size > largest ? d.data.size : largest;
        got += d.data.size;
        NS_SEND(&conn, window, stream, {.channel = 1, .consumed = got, .limit = got + 200000});
    }
    ck_assert_uint_gt(largest, 16384); /* 4,096 at a time otherwise */
    ns_stop(&guest);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        four_mebibytes_byte_for_byte,
        nothing_comes_beyond_the_window,
        standard_input_comes_back,
        a_mebibyte_of_input_and_back,
        input_that_nobody_reads_is_dropped,
        input_outside_of_the_window_closes_the_connection,
        an_end_that_may_not_have_come_is_kept_beside_busy_jobs,
        a_job_outlives_its_connection,
        an_ended_job_waits_for_its_host,
        attach_takes_the_job_from_its_stream,
        finished_jobs_give_way_oldest_first,
        jobs_of_one_connection_take_turns,
        a_dead_job_whose_output_nobody_takes_can_be_got_rid_of,
        the_wall_clock_limit_counts_for_output_that_nobody_takes,
        a_job_can_be_asked_about_and_killed_by_its_id,
        jobs_whose_end_was_not_told_are_kept,
        output_is_fast_after_a_reconnect,
    };

    return ns_main("stream", tests, sizeof(tests) / sizeof(tests[0]), 30);
}
