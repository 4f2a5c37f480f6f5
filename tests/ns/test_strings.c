/* argv and env that are larger than a frame: STRINGS, and the limits of execve(2). */
#include "ns_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 60000

static struct ns_guest guest;
static struct ns_conn conn;
static struct ns_result result;

static void setup(void)
{
    ns_start(&guest, NULL);
    ns_connect(&guest, &conn, true);
}

/* argv and env as they are sent. */
struct strings {
    char *data;
    size_t size, argv_size;
};

static void add(struct strings *s, const char *text, size_t times)
{
    size_t length = strlen(text) + 1;

    s->data = realloc(s->data, s->size + length * times);
    for (size_t i = 0; i < times; i++, s->size += length)
        memcpy(s->data + s->size, text, length);
}

/* A string of size bytes with its NUL. */
static void add_long(struct strings *s, const char *prefix, size_t size)
{
    char *text = malloc(size);

    memset(text, 'x', size - 1);
    memcpy(text, prefix, strlen(prefix));
    text[size - 1] = '\0';
    add(s, text, 1);
    free(text);
}

static void begin_env(struct strings *s)
{
    s->argv_size = s->size;
}

static void send_part(uint32_t stream, const struct strings *s, size_t offset, size_t size)
{
    NS_SEND(&conn, strings, stream,
            {.argv_size = (uint32_t)s->argv_size,
             .env_size = (uint32_t)(s->size - s->argv_size),
             .offset = (uint32_t)offset,
             .data = {.data = (const uint8_t *)s->data + offset, .size = (uint32_t)size}});
}

static void send_strings(uint32_t stream, const struct strings *s)
{
    for (size_t at = 0; at < s->size; at += CHUNK)
        send_part(stream, s, at, s->size - at < CHUNK ? s->size - at : CHUNK);
}

static struct msg_exec without_strings(void)
{
    struct msg_exec m = ns_sh("");

    m.argv = m.env = (struct wire_strs){0};
    return m;
}

static uint32_t exec_strings(struct strings *s)
{
    uint32_t stream = ns_stream(&conn);
    struct msg_exec m = without_strings();

    send_strings(stream, s);
    NS_SEND(&conn, exec, stream, m);
    free(s->data);
    *s = (struct strings){0};
    return stream;
}

static void start_script(struct strings *s, const char *script)
{
    *s = (struct strings){0};
    add(s, "/bin/sh", 1);
    add(s, "-c", 1);
    add(s, script, 1);
    add(s, "sh", 1);
}

START_TEST(arguments_and_variables_up_to_the_limits_of_the_kernel)
{
    struct strings s;
    char expected[64];

    setup();
    start_script(&s, "echo ${#1} ${#15} $#; echo ${#LONG}");
    for (int i = 0; i < 15; i++)
        add_long(&s, "", 120000);
    begin_env(&s);
    add_long(&s, "LONG=", PROTO_STRING_MAX);
    ns_collect(&conn, exec_strings(&s), 65536, &result);
    snprintf(expected, sizeof(expected), "119999 119999 15\n%d\n", PROTO_STRING_MAX - 6);
    ck_assert_str_eq(result.out, expected);
    /* Many short ones. */
    start_script(&s, "echo $#");
    add(&s, "a", 100000);
    begin_env(&s);
    ns_collect(&conn, exec_strings(&s), 65536, &result);
    ck_assert_str_eq(result.out, "100000\n");
    ns_stop(&guest);
}
END_TEST

START_TEST(what_the_kernel_refuses_is_E2BIG)
{
    struct strings s;

    setup();
    start_script(&s, "true");
    add_long(&s, "", PROTO_STRING_MAX + 1);
    begin_env(&s);
    ck_assert_uint_eq(ns_expect_error(&conn, exec_strings(&s), PROTO_ERR_EXEC), E2BIG);
    start_script(&s, "true");
    add(&s, "", 250000); /* with their pointers too many */
    begin_env(&s);
    ck_assert_uint_eq(ns_expect_error(&conn, exec_strings(&s), PROTO_ERR_EXEC), E2BIG);
    ns_run_sh(&conn, "true", &result);
    ns_stop(&guest);
}
END_TEST

START_TEST(what_is_beyond_the_limits_of_initd_is_refused)
{
    struct strings s;

    setup();
    start_script(&s, "true");
    add(&s, "", 300000);
    begin_env(&s);
    ns_expect_error(&conn, exec_strings(&s), PROTO_ERR_LIMIT);
    start_script(&s, "true");
    for (int i = 0; i < 17; i++)
        add_long(&s, "", 124000);
    begin_env(&s);
    ns_expect_error(&conn, exec_strings(&s), PROTO_ERR_LIMIT);
    ns_stop(&guest);
}
END_TEST

START_TEST(strings_that_make_no_sense_are_refused)
{
    struct strings s;
    struct msg_exec m = without_strings();

    setup();
    uint32_t stream = ns_stream(&conn);
    start_script(&s, "true");
    begin_env(&s);
    /* Not all of them. */
    send_part(stream, &s, 0, s.size - 1);
    NS_SEND(&conn, exec, stream, m);
    ns_expect_error(&conn, stream, PROTO_ERR_INVALID);
    /* In both places. */
    send_part(stream, &s, 0, s.size);
    struct msg_exec both = ns_sh("true");
    NS_SEND(&conn, exec, stream, both);
    ns_expect_error(&conn, stream, PROTO_ERR_INVALID);
    /* No NUL at the end of argv. */
    s.argv_size = s.size - 1;
    send_part(stream, &s, 0, s.size);
    NS_SEND(&conn, exec, stream, m);
    ns_expect_error(&conn, stream, PROTO_ERR_INVALID);
    /* Taken back: END says so. */
    s.argv_size = s.size;
    send_part(stream, &s, 0, s.size);
    NS_SEND(&conn, end, stream, {.channel = 0});
    NS_SEND(&conn, exec, stream, m);
    ns_expect_error(&conn, stream, PROTO_ERR_INVALID);
    /* The stream is in use for anything but its request. */
    send_part(stream, &s, 0, s.size);
    NS_SEND(&conn, stats, stream, {});
    ns_expect_error(&conn, stream, PROTO_ERR_BUSY);
    uint32_t other = ns_stream(&conn);
    NS_SEND(&conn, quiesce, other, {});
    ns_expect_error(&conn, other, PROTO_ERR_BUSY);
    NS_SEND(&conn, exec, stream, m);
    ns_collect(&conn, stream, 65536, &result);
    ck_assert_uint_eq(result.exit.status, 0);
    /* Not what comes next. */
    send_part(stream, &s, 0, 2);
    send_part(stream, &s, 3, 2);
    ns_expect_error(&conn, stream, PROTO_ERR_FLOW);
    ck_assert(ns_closed_within(&conn, 5000));
    free(s.data);
    ns_stop(&guest);
}
END_TEST

/* Two of the largest requests may be under way; what waits goes with its connection. */
START_TEST(memory_for_strings_is_bounded)
{
    struct strings s = {0}, small;
    struct msg_exec m = without_strings();

    setup();
    add(&s, "", PROTO_STRINGS_MAX);
    begin_env(&s);
    for (int i = 0; i < 3; i++)
        send_part(ns_stream(&conn), &s, 0, 1);
    uint32_t third = ns_stream(&conn) - 1;
    NS_SEND(&conn, exec, third, m);
    ns_expect_error(&conn, third, PROTO_ERR_BUSY);
    /* All slots. */
    for (int i = 0; i < 6; i++)
        send_part(ns_stream(&conn), &s, 0, 1);
    start_script(&small, "true");
    begin_env(&small);
    uint32_t ninth = ns_stream(&conn);
    send_part(ninth, &small, 0, small.size);
    NS_SEND(&conn, exec, ninth, m);
    ns_expect_error(&conn, ninth, PROTO_ERR_BUSY);
    ns_disconnect(&conn);
    ns_connect(&guest, &conn, true);
    ns_collect(&conn, exec_strings(&small), 65536, &result);
    ck_assert_uint_eq(result.exit.status, 0);
    free(s.data);
    ns_stop(&guest);
}
END_TEST

START_TEST(a_primed_interpreter_takes_them_too)
{
    struct strings s;
    struct msg_started started;
    uint32_t stream;

    setup();
    stream = ns_stream(&conn);
    start_script(&s, "read line < $1; echo ${#2} $line");
    const char *script = ns_in_dir(&guest, "script");
    add(&s, script, 1);
    add_long(&s, "", 100000);
    begin_env(&s);
    send_strings(stream, &s);
    NS_SEND(&conn, prime, stream, {.cwd = "/", .script = script, .settle_ms = 5000});
    NS_EXPECT(&conn, started, STARTED, stream, &started);
    free(s.data);
    const char *source = ns_in_dir(&guest, "source");
    FILE *f = fopen(source, "w");
    fputs("hello\n", f);
    fclose(f);
    stream = ns_stream(&conn);
    NS_SEND(&conn, feed, stream, {.job = started.job, .source = source, .window = 65536});
    ns_collect(&conn, stream, 65536, &result);
    ck_assert_str_eq(result.out, "99999 hello\n");
    ns_stop(&guest);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        arguments_and_variables_up_to_the_limits_of_the_kernel,
        what_the_kernel_refuses_is_E2BIG,
        what_is_beyond_the_limits_of_initd_is_refused,
        strings_that_make_no_sense_are_refused,
        memory_for_strings_is_bounded,
        a_primed_interpreter_takes_them_too,
    };

    return ns_main("strings", tests, sizeof(tests) / sizeof(tests[0]), 20);
}
