/* The bounded cursors: limits, sticky failure, and the encodings of the field types. */
#include "unit.h"

#include "wire.h"

/* A reader over a literal. Its final NUL is not part of it. */
#define READER(bytes) wire_reader_of((bytes), sizeof(bytes) - 1)

static void assert_failed_for_good(struct wire_reader *r)
{
    ck_assert(r->failed);
    ck_assert_uint_eq(wire_get_u8(r), 0);
    ck_assert_uint_eq(wire_get_u16(r), 0);
    ck_assert_uint_eq(wire_get_u32(r), 0);
    ck_assert_uint_eq(wire_get_u64(r), 0);
    ck_assert_str_eq(wire_get_str(r), "");
    ck_assert_uint_eq(wire_get_strs(r).size, 0);
    ck_assert_uint_eq(wire_get_u32s(r).count, 0);
    ck_assert_uint_eq(wire_get_bytes(r).size, 0);
    ck_assert_ptr_null(wire_get_bytes(r).data);
    ck_assert_uint_eq(wire_get_uuid(r).byte[0], 0);
    ck_assert(r->failed);
    ck_assert(!wire_reader_done(r));
}

START_TEST(integers_are_little_endian)
{
    static const uint8_t expected[] = {0x81, 0x02, 0x83, 0x04, 0x05, 0x06, 0x87, 0x08,
                                       0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x8f};
    uint8_t out[sizeof(expected)];
    struct wire_writer w = wire_writer_of(out, sizeof(out));

    wire_put_u8(&w, 0x81);
    wire_put_u16(&w, 0x8302);
    wire_put_u32(&w, 0x87060504);
    wire_put_u64(&w, 0x8f0e0d0c0b0a0908);
    ck_assert(!w.failed);
    ck_assert_ptr_eq(w.pos, w.end);
    ck_assert_mem_eq(out, expected, sizeof(out));

    struct wire_reader r = wire_reader_of(out, sizeof(out));
    ck_assert_uint_eq(wire_get_u8(&r), 0x81);
    ck_assert_uint_eq(wire_get_u16(&r), 0x8302);
    ck_assert_uint_eq(wire_get_u32(&r), 0x87060504);
    ck_assert(!wire_reader_done(&r));
    ck_assert_uint_eq(wire_get_u64(&r), 0x8f0e0d0c0b0a0908);
    ck_assert(wire_reader_done(&r));
}
END_TEST

/* _i bytes are there: an integer of size is read when size <= _i. */
START_TEST(integers_stop_at_the_end)
{
    static const uint8_t ones[9] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint8_t *data = unit_exact(ones, (size_t)_i);
    static const size_t sizes[] = {1, 2, 4, 8};

    for (size_t k = 0; k < 4; k++) {
        struct wire_reader r = wire_reader_of(data, (size_t)_i);
        uint64_t v = k == 0   ? wire_get_u8(&r)
                     : k == 1 ? wire_get_u16(&r)
                     : k == 2 ? wire_get_u32(&r)
                              : wire_get_u64(&r);
        bool fits = sizes[k] <= (size_t)_i;
        ck_assert_uint_eq(v, fits ? UINT64_MAX >> (64 - 8 * sizes[k]) : 0);
        ck_assert(r.failed == !fits);
        ck_assert(wire_reader_done(&r) == (sizes[k] == (size_t)_i));
        if (!fits)
            assert_failed_for_good(&r);
    }
    free(data);
}
END_TEST

START_TEST(writer_stops_at_the_end)
{
    uint8_t *out = malloc((size_t)_i + 1);

    for (size_t k = 0; k < 9; k++) {
        struct wire_writer w = wire_writer_of(out, (size_t)_i);
        size_t size = 0;
        out[_i] = 0x5a;
        switch (k) {
        case 0:
            wire_put_u8(&w, 1), size = 1;
            break;
        case 1:
            wire_put_u16(&w, 1), size = 2;
            break;
        case 2:
            wire_put_u32(&w, 1), size = 4;
            break;
        case 3:
            wire_put_u64(&w, 1), size = 8;
            break;
        case 4:
            wire_put_str(&w, "abc"), size = 8;
            break;
        case 5:
            wire_put_strs(&w, (struct wire_strs){"a\0b", 4}), size = 8;
            break;
        case 6:
            wire_put_u32s(&w, (struct wire_u32s){(const uint8_t *)"\1\0\0\0\2\0\0\0", 2}), size = 12;
            break;
        case 7:
            wire_put_bytes(&w, (struct wire_bytes){(const uint8_t *)"xyz", 3}), size = 7;
            break;
        case 8:
            wire_put_uuid(&w, (struct wire_uuid){{1}}), size = 16;
            break;
        }
        ck_assert_uint_eq(out[_i], 0x5a);
        ck_assert_msg(w.failed == (size > (size_t)_i), "case %zu in %d bytes", k, _i);
        if (!w.failed)
            ck_assert_uint_eq((size_t)(w.pos - out), size);
    }
    free(out);
}
END_TEST

START_TEST(writer_failure_is_sticky)
{
    uint8_t out[3] = {0x5a, 0x5a, 0x5a};
    struct wire_writer w = wire_writer_of(out, sizeof(out));

    wire_put_u32(&w, 1);
    ck_assert(w.failed);
    wire_put_u8(&w, 1);
    wire_put_bytes(&w, (struct wire_bytes){0});
    ck_assert(w.failed);
    ck_assert_mem_eq(out, "\x5a\x5a\x5a", 3);
}
END_TEST

START_TEST(nothing_at_all)
{
    struct wire_reader r = wire_reader_of(NULL, 0);
    ck_assert(wire_reader_done(&r));
    wire_get_u8(&r);
    assert_failed_for_good(&r);

    r = wire_reader_of(NULL, 0);
    wire_get_str(&r);
    assert_failed_for_good(&r);

    r = wire_reader_of(NULL, 0);
    wire_get_u32s(&r);
    assert_failed_for_good(&r);

    struct wire_writer w = wire_writer_of(NULL, 0);
    ck_assert(!w.failed);
    wire_put_u8(&w, 1);
    ck_assert(w.failed);
}
END_TEST

START_TEST(str_of_every_shape)
{
    static const struct {
        const char *data;
        size_t size;
        const char *expected; /* NULL: refused */
    } cases[] = {
        {"\1\0\0\0\0", 5, ""},
        {"\4\0\0\0abc\0", 8, "abc"},
        {"\3\0\0\0\xc3\xa9\0", 7, "\xc3\xa9"},
        {"\0\0\0\0", 4, NULL},              /* size 0 has no room for the NUL */
        {"\3\0\0\0abc\0", 8, NULL},         /* the NUL comes after the string */
        {"\3\0\0\0abc", 7, NULL},           /* no NUL */
        {"\4\0\0\0a\0b\0", 8, NULL},        /* a second NUL */
        {"\2\0\0\0\0\0", 6, NULL},          /* the same, at the front */
        {"\5\0\0\0abc\0", 8, NULL},         /* a byte short */
        {"\377\377\377\377abc\0", 8, NULL}, /* huge */
        {"\377\377\377\177abc\0", 8, NULL}, /* the largest positive int */
        {"\374\377\377\377abc\0", 8, NULL}, /* size + 4 is 0 in 32 bits */
        {"\1\0\0", 3, NULL},                /* not even a size */
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t *data = unit_exact(cases[i].data, cases[i].size);
        struct wire_reader r = wire_reader_of(data, cases[i].size);
        const char *s = wire_get_str(&r);
        ck_assert_str_eq(s, cases[i].expected ? cases[i].expected : "");
        ck_assert_msg(wire_reader_done(&r) == (cases[i].expected != NULL), "case %zu", i);
        if (!cases[i].expected)
            assert_failed_for_good(&r);
        free(data);
    }
}
END_TEST

START_TEST(strs_of_every_shape)
{
    static const struct {
        const char *data;
        size_t size;
        int count; /* -1: refused */
    } cases[] = {
        {"\0\0\0\0", 4, 0},        {"\1\0\0\0\0", 5, 1}, /* one empty string */
        {"\3\0\0\0\0\0\0", 7, 3},  {"\4\0\0\0a\0b\0", 8, 2},  {"\3\0\0\0a\0b", 7, -1},
        {"\3\0\0\0a\0b\0", 8, -1}, {"\5\0\0\0a\0b\0", 8, -1}, {"\377\377\377\377a\0b\0", 8, -1},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t *data = unit_exact(cases[i].data, cases[i].size);
        struct wire_reader r = wire_reader_of(data, cases[i].size);
        struct wire_strs v = wire_get_strs(&r);
        ck_assert_msg(r.failed == (cases[i].count < 0), "case %zu", i);
        ck_assert_int_eq((int)wire_strs_count(v), cases[i].count < 0 ? 0 : cases[i].count);
        if (cases[i].count < 0)
            assert_failed_for_good(&r);
        free(data);
    }
}
END_TEST

START_TEST(strs_are_stepped_through)
{
    struct wire_strs v = {"one\0\0three", 11};
    const char *s = wire_strs_next(v, NULL);

    ck_assert_str_eq(s, "one");
    ck_assert_str_eq(s = wire_strs_next(v, s), "");
    ck_assert_str_eq(s = wire_strs_next(v, s), "three");
    ck_assert_ptr_null(wire_strs_next(v, s));
    ck_assert_ptr_null(wire_strs_next((struct wire_strs){0}, NULL));
}
END_TEST

START_TEST(strs_without_nul_are_not_written)
{
    uint8_t out[32];
    struct wire_writer w = wire_writer_of(out, sizeof(out));

    wire_put_strs(&w, (struct wire_strs){"ab", 2});
    ck_assert(w.failed);
}
END_TEST

START_TEST(empty_values_may_be_null)
{
    uint8_t out[32];
    struct wire_writer w = wire_writer_of(out, sizeof(out));

    wire_put_str(&w, NULL);
    wire_put_strs(&w, (struct wire_strs){0});
    wire_put_u32s(&w, (struct wire_u32s){0});
    wire_put_bytes(&w, (struct wire_bytes){0});
    ck_assert(!w.failed);
    ck_assert_uint_eq((size_t)(w.pos - out), 17);
    ck_assert_mem_eq(out, "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 17);
}
END_TEST

START_TEST(u32s_of_every_size)
{
    static const struct {
        uint32_t count;
        size_t there; /* bytes after the count */
        bool taken;
    } cases[] = {
        {0, 0, true},           {1, 4, true},           {1, 3, false},          {2, 7, false},
        {2, 8, true},           {0x40000000, 0, false}, {0x40000001, 4, false}, {0x80000000, 0, false},
        {0xffffffff, 8, false}, {0x3fffffff, 8, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t *data = calloc(1, 4 + cases[i].there);
        struct wire_writer w = wire_writer_of(data, 4);
        wire_put_u32(&w, cases[i].count);
        struct wire_reader r = wire_reader_of(data, 4 + cases[i].there);
        struct wire_u32s v = wire_get_u32s(&r);
        ck_assert_msg(wire_reader_done(&r) == cases[i].taken, "case %zu", i);
        ck_assert_uint_eq(v.count, cases[i].taken ? cases[i].count : 0);
        if (!cases[i].taken)
            assert_failed_for_good(&r);
        free(data);
    }
}
END_TEST

START_TEST(u32s_are_read_in_place)
{
    struct wire_reader r = READER("\2\0\0\0\1\2\3\4\377\377\377\377");
    struct wire_u32s v = wire_get_u32s(&r);

    ck_assert(wire_reader_done(&r));
    ck_assert_uint_eq(v.count, 2);
    ck_assert_uint_eq(wire_u32s_at(v, 0), 0x04030201);
    ck_assert_uint_eq(wire_u32s_at(v, 1), 0xffffffff);
}
END_TEST

/* A count whose bytes do not fit in the writer must not wrap around, nor be read from data. */
START_TEST(huge_values_are_not_written)
{
    uint8_t out[64], byte = 0;
    struct wire_writer w = wire_writer_of(out, sizeof(out));

    wire_put_u32s(&w, (struct wire_u32s){&byte, 0x40000000});
    ck_assert(w.failed);
    w = wire_writer_of(out, sizeof(out));
    wire_put_bytes(&w, (struct wire_bytes){&byte, UINT32_MAX});
    ck_assert(w.failed);
}
END_TEST

START_TEST(bytes_and_uuid)
{
    struct wire_reader r = READER("\3\0\0\0\0\377\n0123456789abcdef!");
    struct wire_bytes b = wire_get_bytes(&r);

    ck_assert_uint_eq(b.size, 3);
    ck_assert_mem_eq(b.data, "\0\377\n", 3);
    ck_assert_mem_eq(wire_get_uuid(&r).byte, "0123456789abcdef", 16);
    ck_assert(!r.failed);
    ck_assert(!wire_reader_done(&r)); /* a trailing byte */

    r = READER("\0\0\0\0");
    ck_assert_uint_eq(wire_get_bytes(&r).size, 0);
    ck_assert(wire_reader_done(&r));

    r = READER("0123456789abcde");
    ck_assert_uint_eq(wire_get_uuid(&r).byte[0], 0);
    assert_failed_for_good(&r);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("proto_wire");

    unit_add(&u, integers_are_little_endian);
    unit_add_loop(&u, integers_stop_at_the_end, 10);
    unit_add_loop(&u, writer_stops_at_the_end, 18);
    unit_add(&u, writer_failure_is_sticky);
    unit_add(&u, nothing_at_all);
    unit_add(&u, str_of_every_shape);
    unit_add(&u, strs_of_every_shape);
    unit_add(&u, strs_are_stepped_through);
    unit_add(&u, strs_without_nul_are_not_written);
    unit_add(&u, empty_values_may_be_null);
    unit_add(&u, u32s_of_every_size);
    unit_add(&u, u32s_are_read_in_place);
    unit_add(&u, huge_values_are_not_written);
    unit_add(&u, bytes_and_uuid);
    return unit_end(&u);
}
