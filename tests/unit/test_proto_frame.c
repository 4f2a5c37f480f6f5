/* Frames: the header, and putting frames together from pieces. */
#include "unit.h"

#include "frame.h"

#include <stdbool.h>

/* A stream of bytes that holds frames whose payloads are known: frame k of type 100 + k is on stream
 * k and its byte j is j * 7 + k. */
struct sample {
    uint8_t *data; /* owned */
    size_t size;
    size_t frames;
};

static uint8_t sample_byte(size_t frame, size_t j)
{
    return (uint8_t)(j * 7 + frame);
}

static struct sample sample_new(const uint32_t *lengths, size_t frames)
{
    struct sample s = {.frames = frames};

    for (size_t k = 0; k < frames; k++)
        s.size += FRAME_HEADER_SIZE + lengths[k];
    s.data = malloc(s.size);
    uint8_t *p = s.data;
    for (size_t k = 0; k < frames; k++) {
        frame_put_header(p, (uint16_t)(100 + k), (uint32_t)k, lengths[k]);
        p += FRAME_HEADER_SIZE;
        for (size_t j = 0; j < lengths[k]; j++)
            *p++ = sample_byte(k, j);
    }
    return s;
}

/* Asserts that f is frame k. Costs no ck_assert for each byte: those write to a file. */
static void assert_sample_frame(const struct frame *f, const uint32_t *lengths, size_t k)
{
    bool same = f->type == 100 + k && f->flags == 0 && f->stream == k && f->length == lengths[k];

    for (size_t j = 0; same && j < f->length; j++)
        same = f->payload[j] == sample_byte(k, j);
    if (!same)
        ck_abort_msg("frame %zu came out as type %u, stream %u, length %u, or with other bytes", k, f->type,
                     f->stream, f->length);
}

/* Feeds a sample in pieces of at most piece bytes (0: of random sizes) and checks every frame. */
static void feed(const struct sample *s, const uint32_t *lengths, size_t capacity, size_t piece,
                 uint64_t seed)
{
    struct frame_reader r;
    struct frame f;
    void *buffer = malloc(capacity);
    size_t sent = 0, seen = 0;

    frame_reader_init(&r, buffer, capacity);
    while (sent < s->size) {
        size_t room, want = piece ? piece : 1 + unit_random(&seed) % 700;
        uint8_t *space = frame_reader_space(&r, &room);
        if (room == 0 || space < (uint8_t *)buffer || space + room > (uint8_t *)buffer + capacity)
            ck_abort_msg("%zu bytes of room at %zu of %zu", room, (size_t)(space - (uint8_t *)buffer),
                         capacity);
        want = want < room ? want : room;
        want = want < s->size - sent ? want : s->size - sent;
        memcpy(space, s->data + sent, want);
        sent += want;
        frame_reader_added(&r, want);

        int result;
        while ((result = frame_reader_next(&r, &f)) == 1)
            assert_sample_frame(&f, lengths, seen++);
        if (result != 0)
            ck_abort_msg("frame_reader_next gave %d", result);
    }
    ck_assert_uint_eq(seen, s->frames);
    ck_assert_uint_eq(frame_reader_pending(&r), 0);
    free(buffer);
}

/* Puts bytes into a reader at once. */
static void give(struct frame_reader *r, const void *data, size_t size)
{
    size_t room;
    uint8_t *space = frame_reader_space(r, &room);

    ck_assert_uint_ge(room, size);
    memcpy(space, data, size);
    frame_reader_added(r, size);
}

START_TEST(header_bytes)
{
    uint8_t out[FRAME_HEADER_SIZE + 1] = {[FRAME_HEADER_SIZE] = 0x5a};

    frame_put_header(out, 0x1234, 0x89abcdef, 0xfff4);
    ck_assert_mem_eq(out, "\xf4\xff\0\0\x34\x12\0\0\xef\xcd\xab\x89\x5a", sizeof(out));
    ck_assert_uint_eq(FRAME_PAYLOAD_MAX, 65524);
}
END_TEST

static const uint32_t LENGTHS[] = {0, 1, 12, 0, 300, 999, 5, 0, 640, 2, 77, 1000, 1, 0};
#define LENGTHS_COUNT (sizeof(LENGTHS) / sizeof(LENGTHS[0]))

START_TEST(byte_by_byte)
{
    struct sample s = sample_new(LENGTHS, LENGTHS_COUNT);

    feed(&s, LENGTHS, FRAME_MAX, 1, 0);
    feed(&s, LENGTHS, 1012, 1, 0); /* exactly the largest frame */
    free(s.data);
}
END_TEST

START_TEST(in_pieces_of_every_size)
{
    struct sample s = sample_new(LENGTHS, LENGTHS_COUNT);

    for (size_t piece = 1; piece <= s.size; piece++) {
        feed(&s, LENGTHS, FRAME_MAX, piece, 0);
        feed(&s, LENGTHS, 1012, piece, 0);
        feed(&s, LENGTHS, 1013 + piece % 1500, piece, 0);
    }
    free(s.data);
}
END_TEST

START_TEST(in_random_pieces)
{
    struct sample s = sample_new(LENGTHS, LENGTHS_COUNT);

    for (uint64_t seed = 0; seed < 500; seed++)
        feed(&s, LENGTHS, 1012 + seed % 100 * 40, 0, seed);
    free(s.data);
}
END_TEST

START_TEST(largest_frames)
{
    static const uint32_t lengths[] = {FRAME_PAYLOAD_MAX, FRAME_PAYLOAD_MAX, 0, FRAME_PAYLOAD_MAX - 1, 1,
                                       FRAME_PAYLOAD_MAX};
    struct sample s = sample_new(lengths, 6);

    feed(&s, lengths, FRAME_MAX, FRAME_MAX, 0);
    feed(&s, lengths, FRAME_MAX, 0, 7);
    feed(&s, lengths, FRAME_MAX, 4099, 0);
    feed(&s, lengths, 3 * FRAME_MAX, 100000, 0);
    free(s.data);
}
END_TEST

START_TEST(several_at_once)
{
    struct sample s = sample_new(LENGTHS, LENGTHS_COUNT);
    struct frame_reader r;
    struct frame f;
    void *buffer = malloc(FRAME_MAX);

    frame_reader_init(&r, buffer, FRAME_MAX);
    give(&r, s.data, s.size);
    ck_assert_uint_eq(frame_reader_pending(&r), s.size);
    for (size_t k = 0; k < s.frames; k++) {
        ck_assert_int_eq(frame_reader_next(&r, &f), 1);
        assert_sample_frame(&f, LENGTHS, k);
    }
    ck_assert_int_eq(frame_reader_next(&r, &f), 0);
    ck_assert_uint_eq(frame_reader_pending(&r), 0);
    free(buffer);
    free(s.data);
}
END_TEST

/* A frame that is not complete leaves the caller's struct alone. */
START_TEST(incomplete_gives_nothing)
{
    struct frame_reader r;
    struct frame f = {.type = 7};
    uint8_t buffer[64], header[FRAME_HEADER_SIZE];

    frame_reader_init(&r, buffer, sizeof(buffer));
    frame_put_header(header, 1, 2, 3);
    give(&r, header, sizeof(header));
    give(&r, "ab", 2);
    ck_assert_int_eq(frame_reader_next(&r, &f), 0);
    ck_assert_uint_eq(frame_reader_pending(&r), 14);
    ck_assert_uint_eq(f.type, 7);
    give(&r, "c", 1);
    ck_assert_int_eq(frame_reader_next(&r, &f), 1);
    ck_assert_mem_eq(f.payload, "abc", 3);
}
END_TEST

static void assert_broken(size_t capacity, const void *header)
{
    struct frame_reader r;
    struct frame f;
    void *buffer = malloc(capacity);

    frame_reader_init(&r, buffer, capacity);
    give(&r, header, FRAME_HEADER_SIZE);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(frame_reader_next(&r, &f), -1);

    /* More bytes do not mend it. */
    size_t room;
    uint8_t *space = frame_reader_space(&r, &room);
    memset(space, 0, room);
    frame_reader_added(&r, room);
    ck_assert_int_eq(frame_reader_next(&r, &f), -1);

    frame_reader_reset(&r);
    ck_assert_uint_eq(frame_reader_pending(&r), 0);
    give(&r, "\0\0\0\0\1\0\0\0\1\0\0\0", FRAME_HEADER_SIZE);
    ck_assert_int_eq(frame_reader_next(&r, &f), 1);
    free(buffer);
}

START_TEST(oversize_is_broken)
{
    static const uint32_t lengths[] = {FRAME_PAYLOAD_MAX + 1, FRAME_MAX, 0x80000000, 0xffffffff, 0xfffffff4};

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        uint8_t header[FRAME_HEADER_SIZE];
        frame_put_header(header, 1, 1, lengths[i]);
        assert_broken(FRAME_MAX, header);
        assert_broken(4 * FRAME_MAX, header); /* the limit is the protocol's, not the buffer's */
    }
}
END_TEST

START_TEST(flags_are_broken)
{
    for (unsigned bit = 0; bit < 16; bit++) {
        uint8_t header[FRAME_HEADER_SIZE];
        frame_put_header(header, 1, 1, 0);
        header[6 + bit / 8] = (uint8_t)(1u << bit % 8);
        assert_broken(FRAME_MAX, header);
    }
}
END_TEST

START_TEST(a_good_frame_before_a_broken_one)
{
    struct frame_reader r;
    struct frame f;
    uint8_t buffer[64];

    frame_reader_init(&r, buffer, sizeof(buffer));
    give(&r, "\1\0\0\0\5\0\0\0\1\0\0\0x\0\0\0\0\5\0\1\0\1\0\0\0", 25);
    ck_assert_int_eq(frame_reader_next(&r, &f), 1);
    ck_assert_uint_eq(f.payload[0], 'x');
    ck_assert_int_eq(frame_reader_next(&r, &f), -1);
}
END_TEST

/* A buffer takes the frames that fit in it and refuses the others, instead of waiting for ever. */
START_TEST(small_buffers)
{
    for (uint32_t payload = 0; payload < 20; payload++) {
        uint8_t header[FRAME_HEADER_SIZE];
        struct sample s = sample_new(&payload, 1);
        feed(&s, &payload, FRAME_HEADER_SIZE + payload, 1, 0);
        free(s.data);
        frame_put_header(header, 1, 1, payload + 1);
        assert_broken(FRAME_HEADER_SIZE + payload, header);
    }
}
END_TEST

/* With a frame given out and the next one begun there is always room for the rest of it. */
START_TEST(compaction_keeps_what_is_pending)
{
    static const uint32_t lengths[] = {40, 52, 52};
    struct sample s = sample_new(lengths, 3);
    struct frame_reader r;
    struct frame f;
    size_t room;
    uint8_t *buffer = malloc(64);

    frame_reader_init(&r, buffer, 64);
    give(&r, s.data, 64); /* the first frame and 12 bytes of the second */
    ck_assert_int_eq(frame_reader_next(&r, &f), 1);
    assert_sample_frame(&f, lengths, 0);
    ck_assert_int_eq(frame_reader_next(&r, &f), 0);
    ck_assert_uint_eq(frame_reader_pending(&r), 12);
    ck_assert_ptr_eq(frame_reader_space(&r, &room), buffer + 12);
    ck_assert_uint_eq(room, 52);
    give(&r, s.data + 64, 52);
    ck_assert_int_eq(frame_reader_next(&r, &f), 1);
    assert_sample_frame(&f, lengths, 1);
    ck_assert_int_eq(frame_reader_next(&r, &f), 0);

    ck_assert_ptr_eq(frame_reader_space(&r, &room), buffer);
    ck_assert_uint_eq(room, 64);
    free(buffer);
    free(s.data);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("proto_frame");

    unit_add(&u, header_bytes);
    unit_add(&u, byte_by_byte);
    unit_add(&u, in_pieces_of_every_size);
    unit_add(&u, in_random_pieces);
    unit_add(&u, largest_frames);
    unit_add(&u, several_at_once);
    unit_add(&u, incomplete_gives_nothing);
    unit_add(&u, oversize_is_broken);
    unit_add(&u, flags_are_broken);
    unit_add(&u, a_good_frame_before_a_broken_one);
    unit_add(&u, small_buffers);
    unit_add(&u, compaction_keeps_what_is_pending);
    return unit_end(&u);
}
