/* proto/relay: messages about connections; and what a client of the relay may say before it has one (initd/relay/head.c). */
#include "relay.h"

#include "../initd/relay/head.c" /* pure, and of no library */
#include "unit.h"

static const struct relay_message messages[] = {
    {.type = RELAY_READY},
    {.type = RELAY_OPEN, .stream = 1, .port = 443, .data = (const uint8_t *)"example.org", .size = 11},
    {.type = RELAY_OPENED, .stream = RELAY_NUMBERS},
    {.type = RELAY_REFUSED, .stream = 7, .data = (const uint8_t *)"no: a reason", .size = 12},
    {.type = RELAY_DATA, .stream = 7, .data = (const uint8_t *)"\0\xff", .size = 2},
    {.type = RELAY_END, .stream = 7},
    {.type = RELAY_TAKEN, .stream = 7, .count = RELAY_WINDOW},
    {.type = RELAY_CLOSE, .stream = 7},
    {.type = RELAY_NOTE, .data = (const uint8_t *)"", .size = 0},
};

static struct frame frame_of(const struct relay_message *m, uint8_t *out)
{
    struct frame_reader r;
    struct frame f;
    static uint8_t buffer[FRAME_MAX];
    size_t room, size = relay_encode(m, out);

    frame_reader_init(&r, buffer, sizeof(buffer));
    memcpy(frame_reader_space(&r, &room), out, size);
    frame_reader_added(&r, size);
    ck_assert_int_eq(frame_reader_next(&r, &f), 1);
    return f;
}

START_TEST(decodes_what_was_encoded)
{
    const struct relay_message *m = &messages[_i];
    uint8_t out[RELAY_FRAME_MAX];
    struct frame f = frame_of(m, out);
    struct relay_message got;

    ck_assert(relay_decode(&got, &f));
    ck_assert(got.type == m->type && got.stream == m->stream && got.port == m->port &&
              got.count == m->count && got.size == m->size &&
              (m->size == 0 || memcmp(got.data, m->data, m->size) == 0));
    f.length++; /* what is too long is wrong, but for what is open at its end */
    if (m->size == 0 && m->type != RELAY_NOTE)
        ck_assert(!relay_decode(&got, &f));
}
END_TEST

START_TEST(refuses_what_is_malformed)
{
    static const uint8_t bytes[RELAY_DATA_MAX + 1];
    struct relay_message m;
    const struct frame bad[] = {
        {.type = 0, .stream = 1},
        {.type = 10, .stream = 1},
        {.type = RELAY_READY, .stream = 1},
        {.type = RELAY_NOTE, .stream = 1},
        {.type = RELAY_END, .stream = 0},
        {.type = RELAY_END, .stream = RELAY_NUMBERS + 1},
        {.type = RELAY_DATA, .stream = 1},
        {.type = RELAY_DATA, .stream = 1, .payload = bytes, .length = RELAY_DATA_MAX + 1},
        {.type = RELAY_OPEN, .stream = 1, .payload = (const uint8_t *)"\x50", .length = 1},
        {.type = RELAY_OPEN, .stream = 1, .payload = (const uint8_t *)"\x50\0", .length = 2},
        {.type = RELAY_OPEN, .stream = 1, .payload = (const uint8_t *)"\x50\0a\0b", .length = 5},
        {.type = RELAY_OPEN, .stream = 1, .payload = (const uint8_t *)"\x50\0a b", .length = 5},
        {.type = RELAY_OPEN, .stream = 1, .payload = (const uint8_t *)"\x50\0\xc3\xa4", .length = 4},
        {.type = RELAY_OPEN, .stream = 1, .payload = bytes, .length = 2 + RELAY_HOST_MAX + 1},
        {.type = RELAY_TAKEN, .stream = 1, .payload = bytes, .length = 4},
        {.type = RELAY_TAKEN, .stream = 1, .payload = (const uint8_t *)"\x01\0\x01\0", .length = 4},
        {.type = RELAY_TAKEN, .stream = 1, .payload = (const uint8_t *)"\x01\0\0", .length = 3},
        {.type = RELAY_REFUSED, .stream = 1, .payload = (const uint8_t *)"a\nb", .length = 3},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!relay_decode(&m, &bad[i]), "%zu", i);
}
END_TEST

/* ---- heads ---------------------------------------------------------------------------------------- */

static struct head head;
static char reply[HEAD_REPLY_MAX];
static size_t reply_size;

static enum head_verdict look(const void *data, size_t size)
{
    uint8_t *exact = unit_exact(data, size);
    enum head_verdict v = head_look(&head, exact, size, reply, &reply_size);

    free(exact);
    return v;
}

static void expect_target(const char *text, const char *host, uint16_t port, int64_t body)
{
    head = (struct head){0};
    ck_assert_msg(look(text, strlen(text)) == HEAD_TARGET, "%s", text);
    ck_assert_str_eq(head.host, host);
    ck_assert_uint_eq(head.port, port);
    ck_assert_int_eq(head.body, body);
}

static void expect_bad(const char *text, const char *status)
{
    head = (struct head){0};
    ck_assert_msg(look(text, strlen(text)) == HEAD_BAD, "%s", text);
    ck_assert_msg(strncmp(reply, "HTTP/1.1 ", 9) == 0 && strncmp(reply + 9, status, 3) == 0, "%s: %.30s",
                  text, reply);
}

START_TEST(reads_requests)
{
    expect_target("CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n", "example.org", 443, -1);
    expect_target("CONNECT [::1]:443 HTTP/1.1\n\n", "::1", 443, -1);
    expect_target("GET http://example.org HTTP/1.0\r\n\r\n", "example.org", 80, 0);
    expect_target("GET HTTP://u:p@example.org:8080/a?b@c HTTP/1.1\r\n\r\n", "example.org", 8080, 0);
    expect_target("GET http://example.org?x=http://10.0.0.1/ HTTP/1.1\r\n\r\n", "example.org", 80, 0);
    expect_target("POST http://a/ HTTP/1.1\r\ncontent-LENGTH:  12\r\n\r\nhello", "a", 80, 12);
    expect_target("POST http://a/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", "a",
                  80, -1);
    expect_target("GET http://a/ HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "a", 80, -1);
}
END_TEST

START_TEST(refuses_other_requests)
{
    expect_bad("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", "400");
    expect_bad("CONNECT example.org HTTP/1.1\r\n\r\n", "400");
    expect_bad("CONNECT example.org:0 HTTP/1.1\r\n\r\n", "400");
    expect_bad("CONNECT example.org:65536 HTTP/1.1\r\n\r\n", "400");
    expect_bad("CONNECT :80 HTTP/1.1\r\n\r\n", "400");
    expect_bad("CONNECT [::1:80 HTTP/1.1\r\n\r\n", "400");
    expect_bad("GET https://example.org/ HTTP/1.1\r\n\r\n", "400");
    expect_bad("GET http:///x HTTP/1.1\r\n\r\n", "400");
    expect_bad("GET http://a/\r\n\r\n", "400");
    expect_bad("POST http://a/ HTTP/1.1\r\nContent-Length: x\r\n\r\n", "400");
    expect_bad("POST http://a/ HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", "400");
    expect_bad("\r\n\r\n", "400");
}
END_TEST

START_TEST(waits_for_what_is_missing_and_no_longer)
{
    static char large[HEAD_MAX];
    const char whole_head[] = "CONNECT example.org:443 HTTP/1.1\r\n\r\n";

    for (size_t i = 0; i < sizeof(whole_head) - 1; i++) {
        head = (struct head){0};
        ck_assert_int_eq(look(whole_head, i), HEAD_MORE);
    }
    memset(large, 'a', sizeof(large));
    head = (struct head){0};
    ck_assert_int_eq(look(large, sizeof(large) - 1), HEAD_MORE);
    ck_assert_int_eq(look(large, sizeof(large)), HEAD_BAD);
    ck_assert(strncmp(reply, "HTTP/1.1 431 ", 13) == 0);
}
END_TEST

START_TEST(rewrites_requests)
{
    static const struct {
        const char *from, *to;
    } all[] = {
        {"GET http://a:81/b?c HTTP/1.1\r\nHost: a:81\r\nProxy-Connection: keep-alive\r\nConnection: x\r\nA: "
         "b\r\n\r\n",
         "GET /b?c HTTP/1.1\r\nHost: a:81\r\nA: b\r\nConnection: close\r\n\r\n"},
        {"GET http://a HTTP/1.0\n\n", "GET / HTTP/1.0\r\nConnection: close\r\n\r\n"},
        {"GET http://a?q HTTP/1.1\r\nProxy-Authorization: secret\r\n\r\n",
         "GET /?q HTTP/1.1\r\nConnection: close\r\n\r\n"},
        {"GET http://a/ HTTP/1.1\r\nUpgrade: w\r\nConnection: Upgrade\r\n\r\n",
         "GET / HTTP/1.1\r\nUpgrade: w\r\nConnection: Upgrade\r\n\r\n"},
    };
    uint8_t out[RELAY_DATA_MAX];

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        size_t size = head_rewrite((const uint8_t *)all[i].from, strlen(all[i].from), out);
        ck_assert_uint_eq(size, strlen(all[i].to));
        ck_assert_msg(memcmp(out, all[i].to, size) == 0, "%.*s", (int)size, out);
    }
}
END_TEST

START_TEST(speaks_socks)
{
    head = (struct head){0};
    ck_assert_int_eq(look("\5\2\1", 3), HEAD_MORE);
    ck_assert_int_eq(look("\5\2\1\0", 4), HEAD_ANSWER);
    ck_assert(reply_size == 2 && memcmp(reply, "\5\0", 2) == 0 && head.used == 4);
    ck_assert_int_eq(look("\5\1\0\3\13example.or", 15), HEAD_MORE);
    ck_assert_int_eq(look("\5\1\0\3\13example.org\1\xbb", 18), HEAD_TARGET);
    ck_assert_str_eq(head.host, "example.org");
    ck_assert_uint_eq(head.port, 443);
    ck_assert_int_eq(look("\5\1\0\1\x7f\0\0\1\0\x50", 10), HEAD_TARGET);
    ck_assert_str_eq(head.host, "127.0.0.1");
    ck_assert_int_eq(look("\5\1\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\x50", 22), HEAD_TARGET);
    ck_assert_str_eq(head.host, "::1");
    ck_assert_int_eq(look("\5\2\0\1\x7f\0\0\1\0\x50", 10), HEAD_BAD); /* BIND */
    ck_assert_int_eq(look("\5\1\0\3\1\n\0\x50", 8), HEAD_BAD);
    ck_assert_int_eq(look("\5\1\0\3\0\0\x50", 7), HEAD_BAD);
    head = (struct head){0};
    ck_assert_int_eq(look("\5\1\2", 3), HEAD_BAD); /* a password only */
    ck_assert(reply_size == 2 && memcmp(reply, "\5\xff", 2) == 0);
}
END_TEST

START_TEST(survives_any_bytes)
{
    uint64_t state = (uint64_t)_i;
    uint8_t data[600], out[RELAY_DATA_MAX];

    for (int i = 0; i < 2000; i++) {
        size_t size = unit_random(&state) % sizeof(data);
        static const char alphabet[] = "GET http://[a]:1/@?# CONNECT\r\n\r\n:HTTP/1.1\5\1\0\3";
        for (size_t j = 0; j < size; j++)
            data[j] = (uint8_t)alphabet[unit_random(&state) % sizeof(alphabet)];
        memcpy(data, "GET http://", size < 11 ? size : 11);
        head = (struct head){0};
        if (look(data, size) == HEAD_TARGET && head.kind == HEAD_FORWARD)
            ck_assert_uint_le(head_rewrite(data, head.used, out), sizeof(out));
    }
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("relay");

    unit_add_loop(&u, decodes_what_was_encoded, sizeof(messages) / sizeof(messages[0]));
    unit_add(&u, refuses_what_is_malformed);
    unit_add(&u, reads_requests);
    unit_add(&u, refuses_other_requests);
    unit_add(&u, waits_for_what_is_missing_and_no_longer);
    unit_add(&u, rewrites_requests);
    unit_add(&u, speaks_socks);
    unit_add_loop(&u, survives_any_bytes, 4);
    return unit_end(&u);
}
