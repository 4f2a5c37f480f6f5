/* egress: a guest's connections, and what a hostile relay may not do. */
#include "egress/egress.h"

#include "base/cleanup.h"
#include "base/message.h"
#include "unit.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static struct egress *x;
static struct error e;
static int dialer;
static struct egress_record last;
static unsigned records;
static bool relay_is_ready;
static struct frame_reader reader;
static uint8_t heard_buffer[FRAME_MAX];

static void on_record(void *context, const struct egress_record *r)
{
    (void)context;
    last = *r;
    records++;
}

static void on_ready(void *context)
{
    (void)context;
    relay_is_ready = true;
}

static void open_with(uint64_t bytes_max, uint64_t connections)
{
    int pair[2];

    e = (struct error){0};
    records = 0;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    dialer = pair[1];
    x = egress_open(&(struct egress_options){.dial_fd = pair[0],
                                             .bytes_max = bytes_max,
                                             .connections = connections,
                                             .on_ready = on_ready,
                                             .on_record = on_record},
                    &e);
    ck_assert_ptr_nonnull(x);
    frame_reader_init(&reader, heard_buffer, sizeof(heard_buffer));
}

static void setup(void)
{
    open_with(0, 0);
}

static void teardown(void)
{
    egress_close(x);
    close_fd(&dialer);
}

/* ---- the relay's side ----------------------------------------------------------------------------- */

static int say(struct relay_message m)
{
    uint8_t out[RELAY_FRAME_MAX];
    void *frame;
    size_t size = relay_encode(&m, out);

    frame = unit_exact(out, size);
    int result = egress_take(x, frame, size, &e);
    free(frame);
    return result;
}

static int say_open(uint32_t stream, const char *host, uint16_t port)
{
    return say((struct relay_message){.type = RELAY_OPEN,
                                      .stream = stream,
                                      .port = port,
                                      .data = (const uint8_t *)host,
                                      .size = (uint32_t)strlen(host)});
}

static int say_data(uint32_t stream, const void *data, size_t size)
{
    return say(
        (struct relay_message){.type = RELAY_DATA, .stream = stream, .data = data, .size = (uint32_t)size});
}

static int say_empty(enum relay_type type, uint32_t stream)
{
    return say((struct relay_message){.type = type, .stream = stream});
}

/* The next message for the relay; false: there is none. */
static bool hear(struct relay_message *ret)
{
    struct buffer *typed = &egress_terminal(x)->typed;
    struct frame f;

    while (frame_reader_next(&reader, &f) == 0) {
        size_t room, n = typed->size;
        uint8_t *space = frame_reader_space(&reader, &room);
        if (n == 0)
            return false;
        n = n < room ? n : room;
        memcpy(space, typed->data, n);
        memmove(typed->data, typed->data + n, typed->size - n);
        typed->size -= n;
        frame_reader_added(&reader, n);
        if (frame_reader_next(&reader, &f) == 1) {
            ck_assert(relay_decode(ret, &f));
            return true;
        }
    }
    ck_assert(relay_decode(ret, &f));
    return true;
}

static struct relay_message expect_message(enum relay_type type, uint32_t stream)
{
    struct relay_message m;

    ck_assert(hear(&m));
    ck_assert_msg(m.type == type && m.stream == stream, "got %d of %u, wanted %d of %u", m.type, m.stream,
                  type, stream);
    return m;
}

/* ---- the dialer's side ---------------------------------------------------------------------------- */

static struct dial_request asked(void)
{
    struct dial_request r, checked;

    ck_assert_int_eq(recv(dialer, &r, sizeof(r), MSG_DONTWAIT), sizeof(r));
    ck_assert(dial_check_request(&r, sizeof(r), &checked));
    return checked;
}

static bool is_asked(void)
{
    char byte;

    return recv(dialer, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 1;
}

static void serve(void)
{
    ck_assert_msg(egress_ready(x, &e) == 0, "%s", e.text);
}

/* Answers with a socket; its other end. */
static int give_socket(uint32_t serial)
{
    struct dial_answer a = {.serial = serial, .decision = EGRESS_ALLOWED, .address = "192.0.2.1"};
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    ck_assert_int_eq(message_send(dialer, &(struct iovec){&a, sizeof(a)}, 1, &pair[0], 1, &e), 0);
    close(pair[0]);
    serve();
    return pair[1];
}

static void refuse(uint32_t serial, enum egress_decision decision)
{
    struct dial_answer a = {.serial = serial, .decision = decision, .text = "not_allowed: no"};

    ck_assert_int_eq(message_send(dialer, &(struct iovec){&a, sizeof(a)}, 1, NULL, 0, &e), 0);
    serve();
}

static int open_connection(uint32_t stream)
{
    ck_assert_int_eq(say_open(stream, "example.org", 443), 0);
    int fd = give_socket(asked().serial);
    expect_message(RELAY_OPENED, stream);
    return fd;
}

static void expect_bytes(int fd, const char *text)
{
    char got[64] = "";

    ck_assert_int_eq(recv(fd, got, sizeof(got), MSG_DONTWAIT), strlen(text));
    ck_assert_str_eq(got, text);
}

/* ---- tests ---------------------------------------------------------------------------------------- */

START_TEST(carries_bytes_both_ways)
{
    char byte;

    ck_assert_int_eq(say_empty(RELAY_READY, 0), 0);
    ck_assert(relay_is_ready);
    ck_assert_int_eq(say_open(3, "Example.ORG", 8080), 0);
    struct dial_request r = asked();
    ck_assert_str_eq(r.host, "Example.ORG");
    ck_assert_uint_eq(r.port, 8080);
    int fd = give_socket(r.serial);
    expect_message(RELAY_OPENED, 3);
    ck_assert_int_eq(say_data(3, "hello", 5), 0);
    expect_bytes(fd, "hello");
    ck_assert_int_eq(write(fd, "world!", 6), 6);
    serve();
    struct relay_message m = expect_message(RELAY_DATA, 3);
    ck_assert(m.size == 6 && memcmp(m.data, "world!", 6) == 0);
    ck_assert_int_eq(say_empty(RELAY_END, 3), 0);
    ck_assert_int_eq(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
    close(fd);
    serve();
    expect_message(RELAY_END, 3);
    expect_message(RELAY_CLOSE, 3);
    ck_assert_uint_eq(records, 1);
    ck_assert_str_eq(last.host, "Example.ORG");
    ck_assert_str_eq(last.address, "192.0.2.1");
    ck_assert(last.port == 8080 && last.decision == EGRESS_ALLOWED && last.sent == 5 && last.received == 6);
    ck_assert_int_eq(say_empty(RELAY_CLOSE, 3), 0);
    close(open_connection(3));
}
END_TEST

START_TEST(tells_why_there_is_none)
{
    ck_assert_int_eq(say_open(1, "10.0.0.1", 80), 0);
    refuse(asked().serial, EGRESS_NOT_ALLOWED);
    struct relay_message m = expect_message(RELAY_REFUSED, 1);
    ck_assert(m.size == 15 && memcmp(m.data, "not_allowed: no", 15) == 0);
    ck_assert_uint_eq(last.decision, EGRESS_NOT_ALLOWED);
    ck_assert_int_eq(say_open(1, "x", 80), 0); /* the number is free */
    const char note[] = "somebody did something";
    ck_assert_int_eq(say((struct relay_message){.type = RELAY_NOTE, .data = (const void *)note, .size = 10}),
                     0);
    ck_assert_uint_eq(last.decision, EGRESS_MALFORMED);
    ck_assert_str_eq(last.text, "somebody d");
}
END_TEST

START_TEST(asks_for_few_at_a_time)
{
    uint32_t first = 0;

    for (uint32_t i = 1; i <= DIAL_AT_A_TIME + 2; i++)
        ck_assert_int_eq(say_open(i, "x", 80), 0);
    for (int i = 0; i < DIAL_AT_A_TIME; i++) {
        uint32_t serial = asked().serial;
        first = i == 0 ? serial : first;
    }
    ck_assert(!is_asked());
    refuse(first, EGRESS_FAILED);
    asked();
    ck_assert(!is_asked());
}
END_TEST

START_TEST(drops_what_came_too_late)
{
    char byte;

    ck_assert_int_eq(say_open(1, "x", 80), 0);
    uint32_t serial = asked().serial;
    ck_assert_int_eq(say_empty(RELAY_CLOSE, 1), 0);
    expect_message(RELAY_CLOSE, 1);
    ck_assert_uint_eq(records, 1);
    int fd = give_socket(serial);
    ck_assert_int_eq(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
    close(fd);
}
END_TEST

/* A server that does not read: the window is all there is. */
START_TEST(holds_no_more_than_a_window)
{
    static uint8_t block[RELAY_DATA_MAX];
    int fd = open_connection(1), result = 0;
    size_t sent = 0;

    for (; sent < (8u << 20) && result == 0; sent += sizeof(block))
        result = say_data(1, block, sizeof(block));
    ck_assert_int_eq(result, -1);
    ck_assert_int_eq(e.kind, ERROR_GENERAL);
    close(fd);
}
END_TEST

START_TEST(tells_what_was_taken)
{
    static uint8_t block[RELAY_DATA_MAX];
    int fd = open_connection(1);
    size_t credit = RELAY_WINDOW;

    for (int i = 0; i < 64; i++) {
        struct relay_message m;
        ck_assert(credit >= sizeof(block));
        ck_assert_int_eq(say_data(1, block, sizeof(block)), 0);
        credit -= sizeof(block);
        while (recv(fd, block, sizeof(block), MSG_DONTWAIT) > 0)
            ;
        serve();
        while (hear(&m)) {
            ck_assert(m.type == RELAY_TAKEN && m.stream == 1);
            credit += m.count;
        }
    }
    close(fd);
}
END_TEST

/* A guest that does not read: no more is fetched for it than it was said it may have. */
START_TEST(sends_no_more_than_a_window)
{
    static uint8_t block[65536];
    int fd = open_connection(1);
    size_t got = 0;

    for (int i = 0; i < 100; i++) {
        struct relay_message m;
        while (write(fd, block, sizeof(block)) > 0)
            ;
        serve();
        while (hear(&m))
            got += m.size;
    }
    ck_assert_uint_eq(got, RELAY_WINDOW);
    ck_assert_int_eq(say((struct relay_message){.type = RELAY_TAKEN, .stream = 1, .count = 100}), 0);
    serve();
    ck_assert_uint_eq(expect_message(RELAY_DATA, 1).size, 100);
    close(fd);
}
END_TEST

START_TEST(bounds_connections)
{
    teardown();
    open_with(0, 3);
    int fds[3];
    for (uint32_t i = 0; i < 3; i++)
        fds[i] = open_connection(i + 1);
    ck_assert_int_eq(say_open(4, "x", 80), 0);
    ck_assert_uint_eq(last.decision, EGRESS_LIMIT);
    ck_assert(!is_asked());
    for (uint32_t i = 0; i < 3; i++)
        close(fds[i]);
}
END_TEST

START_TEST(bounds_bytes)
{
    teardown();
    open_with(10, 0);
    int fd = open_connection(1), other = open_connection(2);
    ck_assert_int_eq(say_data(1, "0123456789", 10), 0);
    ck_assert_uint_eq(records, 0);
    ck_assert_int_eq(say_data(1, "0", 1), 0);
    ck_assert_uint_eq(records, 2); /* both are closed */
    ck_assert_uint_eq(last.decision, EGRESS_LIMIT);
    ck_assert_int_eq(say_open(3, "x", 80), 0);
    ck_assert_uint_eq(records, 3);
    ck_assert(!is_asked());
    close(fd);
    close(other);
}
END_TEST

/* What ends the network of a guest. */
START_TEST(refuses_broken_rules)
{
    int fd = open_connection(1), result = 0;

    switch (_i) {
    case 0:
        result = say_open(1, "twice", 80);
        break;
    case 1:
        result = say_empty(RELAY_CLOSE, 2);
        break;
    case 2:
        result = say((struct relay_message){.type = RELAY_TAKEN, .stream = 1, .count = 1});
        break;
    case 3:
        result = say_empty(RELAY_OPENED, 1);
        break;
    case 4:
        result = say_open(RELAY_CONNECTIONS + 1, "not its number", 80);
        break;
    case 5:
        ck_assert_int_eq(say_empty(RELAY_END, 1), 0);
        result = say_data(1, "x", 1);
        break;
    case 6:
        result = egress_take(x, "\xff\xff\xff\xff\x01\0\0\0\0\0\0\0", 12, &e);
        break;
    case 7:
        result = say_open(2, "a b", 80);
        break;
    default:
        result = say_empty(RELAY_READY, 1);
    }
    ck_assert_int_eq(result, -1);
    ck_assert_int_eq(e.kind, ERROR_GENERAL);
    close(fd);
}
END_TEST

/* It asks without end, and reads nothing that it is told. */
START_TEST(does_not_listen_to_who_does_not_read)
{
    for (int i = 0; i < 20000 && !egress_terminal(x)->hold; i++)
        ck_assert_int_eq(say_open(1, "x", 0), 0);
    ck_assert(egress_terminal(x)->hold);
    ck_assert_uint_lt(egress_terminal(x)->typed.size, 1u << 20);
}
END_TEST

/* What the program sent last arrives, also when it has gone by then. */
START_TEST(delivers_what_was_sent_before_the_end)
{
    static uint8_t block[RELAY_DATA_MAX];
    int fd = open_connection(1);
    ssize_t n, got = 0, filled = 0;

    for (; filled < RELAY_WINDOW; filled += RELAY_DATA_MAX) /* it does not read yet */
        ck_assert_int_eq(say_data(1, block, RELAY_DATA_MAX), 0);
    ck_assert_int_eq(say_empty(RELAY_END, 1), 0);
    shutdown(fd, SHUT_WR);
    serve();
    if (records == 0)
        ck_assert_int_eq(say_empty(RELAY_CLOSE, 1), 0);
    for (int i = 0; i < 1000; i++) {
        while ((n = recv(fd, block, sizeof(block), MSG_DONTWAIT)) > 0)
            got += n;
        serve();
    }
    ck_assert_int_eq(got, filled);
    close(fd);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("egress");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, carries_bytes_both_ways);
    unit_add(&u, tells_why_there_is_none);
    unit_add(&u, asks_for_few_at_a_time);
    unit_add(&u, drops_what_came_too_late);
    unit_add(&u, holds_no_more_than_a_window);
    unit_add(&u, tells_what_was_taken);
    unit_add(&u, sends_no_more_than_a_window);
    unit_add(&u, bounds_connections);
    unit_add(&u, bounds_bytes);
    unit_add_loop(&u, refuses_broken_rules, 9);
    unit_add(&u, does_not_listen_to_who_does_not_read);
    unit_add(&u, delivers_what_was_sent_before_the_end);
    return unit_end(&u);
}
