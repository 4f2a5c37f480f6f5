/* api/websocket: handshake, frames and what breaks them. */
#include "api/websocket.h"

#include "unit.h"

/* A client's frame: the mask is of zeros, so that the payload is as it is written here. */
static void add(struct websocket *w, unsigned first, const void *data, size_t size)
{
    uint8_t head[14] = {(uint8_t)first, 0x80};
    size_t length = 2;

    if (size < 126) {
        head[1] |= (uint8_t)size;
    } else if (size < 65536) {
        head[1] |= 126;
        head[2] = (uint8_t)(size >> 8);
        head[3] = (uint8_t)size;
        length = 4;
    } else {
        head[1] |= 127;
        for (size_t i = 0; i < 8; i++)
            head[2 + i] = (uint8_t)((uint64_t)size >> (56 - 8 * i));
        length = 10;
    }
    websocket_add(w, head, length + 4);
    websocket_add(w, data, size);
}

START_TEST(the_handshake)
{
    char accept[WEBSOCKET_ACCEPT_SIZE];

    /* RFC 6455, section 1.3 */
    ck_assert(websocket_accept("dGhlIHNhbXBsZSBub25jZQ==", accept));
    ck_assert_str_eq(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    ck_assert(!websocket_accept(NULL, accept) && !websocket_accept("", accept));
    ck_assert(!websocket_accept("dGhlIHNhbXBsZSBub25jZQ", accept));
    ck_assert(!websocket_accept("dGhlIHNhbXBsZSBub25jZXh4eHh4eHh4", accept));
    ck_assert(websocket_lists("keep-alive, Upgrade", "upgrade") && websocket_lists("UPGRADE", "upgrade"));
    ck_assert(!websocket_lists("upgrades", "upgrade") && !websocket_lists(NULL, "upgrade") &&
              !websocket_lists("x upgrade", "upgrade"));
}
END_TEST

START_TEST(a_masked_message)
{
    /* "Hello", section 5.7 */
    const uint8_t bytes[] = {0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58};
    struct websocket w = {0};
    struct websocket_message m;

    for (size_t i = 0; i + 1 < sizeof(bytes); i++) {
        websocket_add(&w, bytes + i, 1);
        ck_assert_int_eq(websocket_next(&w, &m), WEBSOCKET_MORE);
    }
    websocket_add(&w, bytes + sizeof(bytes) - 1, 1);
    ck_assert_int_eq(websocket_next(&w, &m), WEBSOCKET_TEXT);
    ck_assert(m.size == 5 && memcmp(m.data, "Hello", 5) == 0);
    websocket_done(&w);
}
END_TEST

START_TEST(fragments_with_a_ping_between)
{
    struct websocket w = {0};
    struct websocket_message m;

    add(&w, 0x01, "\xc3", 1); /* half a character */
    add(&w, 0x89, "p", 1);
    add(&w, 0x80, "\xbc", 1);
    ck_assert_int_eq(websocket_next(&w, &m), WEBSOCKET_PING);
    ck_assert(m.size == 1 && m.data[0] == 'p');
    ck_assert_int_eq(websocket_next(&w, &m), WEBSOCKET_TEXT);
    ck_assert(m.size == 2 && memcmp(m.data, "\xc3\xbc", 2) == 0);
    add(&w, 0x82, "", 0);
    ck_assert_int_eq(websocket_next(&w, &m), WEBSOCKET_BINARY);
    ck_assert_uint_eq(m.size, 0);
    websocket_done(&w);
}
END_TEST

START_TEST(lengths_at_their_bounds)
{
    static char data[WEBSOCKET_MESSAGE_MAX + 1];
    const size_t sizes[] = {125, 126, 65535, 65536};
    struct websocket_message m;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct websocket w = {0};
        struct buffer out = {0};
        add(&w, 0x82, data, sizes[i]);
        ck_assert_int_eq(websocket_next(&w, &m), WEBSOCKET_BINARY);
        ck_assert_uint_eq(m.size, sizes[i]);
        websocket_frame(&out, WEBSOCKET_BINARY, data, sizes[i]);
        ck_assert_uint_eq(out.size - sizes[i], sizes[i] < 126 ? 2 : sizes[i] < 65536 ? 4 : 10);
        buffer_free(&out);
        websocket_done(&w);
    }
}
END_TEST

START_TEST(what_breaks_it)
{
    static char large[WEBSOCKET_MESSAGE_MAX + 1];
    const struct {
        const char *bytes;
        size_t size;
        unsigned code;
    } rows[] = {
        {"\x82\x01x", 3, WEBSOCKET_PROTOCOL},            /* not masked */
        {"\xc2\x80----", 6, WEBSOCKET_PROTOCOL},         /* a reserved bit */
        {"\x83\x80----", 6, WEBSOCKET_PROTOCOL},         /* an unknown opcode */
        {"\x8b\x80----", 6, WEBSOCKET_PROTOCOL},         /* an unknown control frame */
        {"\x09\x80----", 6, WEBSOCKET_PROTOCOL},         /* a control frame in fragments */
        {"\x89\xfe\x00\x7e----", 8, WEBSOCKET_PROTOCOL}, /* one that is too large */
        {"\x82\xfe\x00\x7d----", 8, WEBSOCKET_PROTOCOL}, /* not the shortest length */
        {"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff----", 14, WEBSOCKET_PROTOCOL},
        {"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00----", 14, WEBSOCKET_PROTOCOL},
        {"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x01----", 14, WEBSOCKET_TOO_LARGE},
        {"\x80\x80----", 6, WEBSOCKET_PROTOCOL},              /* a continuation of nothing */
        {"\x01\x80----\x81\x80----", 12, WEBSOCKET_PROTOCOL}, /* a message within another */
        {"\x81\x81\x00\x00\x00\x00\xff", 7, WEBSOCKET_NOT_UTF8},
        {"\x88\x81\x00\x00\x00\x00\x03", 7, WEBSOCKET_PROTOCOL},         /* half a close code */
        {"\x88\x82\x00\x00\x00\x00\x03\xed", 8, WEBSOCKET_PROTOCOL},     /* 1005 */
        {"\x88\x83\x00\x00\x00\x00\x03\xe8\xff", 9, WEBSOCKET_NOT_UTF8}, /* a reason that is no text */
    };
    struct websocket_message m;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct websocket w = {0};
        websocket_add(&w, rows[i].bytes, rows[i].size);
        ck_assert_msg(websocket_next(&w, &m) == WEBSOCKET_BROKEN && w.code == rows[i].code, "row %zu: %u", i,
                      w.code);
        ck_assert_int_eq(websocket_next(&w, &m), WEBSOCKET_MORE); /* and nothing after it */
        websocket_done(&w);
    }
    struct websocket w = {0};
    add(&w, 0x02, large, 40000);
    add(&w, 0x80, large, 40000);
    ck_assert_int_eq(websocket_next(&w, &m), WEBSOCKET_BROKEN);
    ck_assert_uint_eq(w.code, WEBSOCKET_TOO_LARGE);
    websocket_done(&w);
}
END_TEST

START_TEST(a_close)
{
    struct websocket w = {0};
    struct websocket_message m;
    struct buffer out = {0};
    char reason[201];

    add(&w, 0x88,
        "\x03\xe8"
        "bye",
        5);
    ck_assert_int_eq(websocket_next(&w, &m), WEBSOCKET_CLOSE);
    ck_assert(w.code == 1000 && m.size == 3 && memcmp(m.data, "bye", 3) == 0);
    websocket_done(&w);
    add(&w, 0x88, "", 0);
    ck_assert_int_eq(websocket_next(&w, &m), WEBSOCKET_CLOSE);
    ck_assert_uint_eq(w.code, WEBSOCKET_NO_CODE);
    websocket_done(&w);

    memset(reason, 'x', 200);
    memcpy(reason + 122, "\xc3\xbc", 2); /* a character across the bound is left out */
    reason[200] = '\0';
    websocket_close_frame(&out, 1001, reason);
    ck_assert_uint_eq(out.size, 2 + 2 + 122);
    buffer_free(&out);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("websocket");

    unit_add(&u, the_handshake);
    unit_add(&u, a_masked_message);
    unit_add(&u, fragments_with_a_ping_between);
    unit_add(&u, lengths_at_their_bounds);
    unit_add(&u, what_breaks_it);
    unit_add(&u, a_close);
    return unit_end(&u);
}
