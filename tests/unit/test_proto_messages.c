/* Every message of messages.def against its golden vector, and against damaged copies of it. */
#include "unit.h"

#include "golden/examples.h"
#include "golden/fill.h"
#include "golden/recode.h"

#include <ctype.h>
#include <stdio.h>

/* What the tests need to do with a message of any type. */
struct message {
    const char *name;
    uint16_t type;
    bool (*decode)(const void *payload, size_t length);
    bool (*decodes_to_filler)(const void *payload, size_t length);
    size_t (*frame_filler)(void *out, size_t capacity);
    bool (*decodes_to_zero)(const void *payload, size_t length);
    size_t (*frame_zero)(void *out, size_t capacity);
};

#define M(NAME, name, number, sender, doc)                                                                   \
    static bool decode_##name(const void *payload, size_t length)                                            \
    {                                                                                                        \
        struct msg_##name m;                                                                                 \
        return msg_##name##_decode(&m, payload, length);                                                     \
    }                                                                                                        \
    static bool decodes_to_filler_##name(const void *payload, size_t length)                                 \
    {                                                                                                        \
        struct msg_##name m, expected;                                                                       \
        struct filler f;                                                                                     \
        msg_fill_##name(&expected, &f);                                                                      \
        return msg_##name##_decode(&m, payload, length) && msg_equal_##name(&m, &expected);                  \
    }                                                                                                        \
    static size_t frame_filler_##name(void *out, size_t capacity)                                            \
    {                                                                                                        \
        struct msg_##name m;                                                                                 \
        struct filler f;                                                                                     \
        msg_fill_##name(&m, &f);                                                                             \
        return msg_##name##_frame(&m, FILL_STREAM, out, capacity);                                           \
    }                                                                                                        \
    static bool decodes_to_zero_##name(const void *payload, size_t length)                                   \
    {                                                                                                        \
        struct msg_##name m, expected = {};                                                                  \
        return msg_##name##_decode(&m, payload, length) && msg_equal_##name(&m, &expected);                  \
    }                                                                                                        \
    static size_t frame_zero_##name(void *out, size_t capacity)                                              \
    {                                                                                                        \
        struct msg_##name m = {};                                                                            \
        return msg_##name##_frame(&m, 0, out, capacity);                                                     \
    }
PROTO_MESSAGES(M)
#undef M

static const struct message MESSAGES[] = {
#define M(NAME, name, number, sender, doc)                                                                   \
    {#NAME,                                                                                                  \
     number,                                                                                                 \
     decode_##name,                                                                                          \
     decodes_to_filler_##name,                                                                               \
     frame_filler_##name,                                                                                    \
     decodes_to_zero_##name,                                                                                 \
     frame_zero_##name},
    PROTO_MESSAGES(M)
#undef M
};
#define MESSAGES_COUNT (sizeof(MESSAGES) / sizeof(MESSAGES[0]))

static const char *source_directory(void)
{
    const char *src = getenv("SRC");

    return src ? src : ".";
}

/* Reads tests/golden/NAME.hex: hex digits, blanks, and comments from # to the end of the line. */
static size_t load(const char *name, uint8_t *out, size_t capacity)
{
    char path[4096];
    size_t digits = 0;
    int c;

    snprintf(path, sizeof(path), "%s/tests/golden/%s.hex", source_directory(), name);
    FILE *in = fopen(path, "re");
    ck_assert_msg(in != NULL, "%s is missing; run 'make golden' and review it", path);
    while ((c = getc(in)) != EOF) {
        if (c == '#')
            while (c != '\n' && c != EOF)
                c = getc(in);
        if (c == EOF || isspace(c))
            continue;
        ck_assert_msg(isxdigit(c), "%s: '%c' is not a hex digit", path, c);
        ck_assert_uint_lt(digits / 2, capacity);
        uint8_t v = (uint8_t)(isdigit(c) ? c - '0' : tolower(c) - 'a' + 10);
        out[digits / 2] = (uint8_t)(digits % 2 ? out[digits / 2] << 4 | v : v);
        digits++;
    }
    fclose(in);
    ck_assert_msg(digits % 2 == 0 && digits / 2 >= FRAME_HEADER_SIZE, "%s is cut short", path);
    return digits / 2;
}

static uint8_t golden[FRAME_MAX], out[FRAME_MAX];

/* The payload of the golden vector of message i, in a block of its exact size that the caller frees. */
static uint8_t *golden_payload(int i, size_t *ret_length)
{
    size_t size = load(MESSAGES[i].name, golden, sizeof(golden));

    *ret_length = size - FRAME_HEADER_SIZE;
    return unit_exact(golden + FRAME_HEADER_SIZE, *ret_length);
}

/* Whatever decodes is encoded to the same bytes again. Says whether it decoded. */
static bool assert_recodes(uint16_t type, const uint8_t *payload, size_t length)
{
    long size = recode(type, 9, payload, length, out, sizeof(out));

    if (size == RECODE_REJECTED)
        return false;
    if (size != (long)(FRAME_HEADER_SIZE + length) || memcmp(out + FRAME_HEADER_SIZE, payload, length) != 0)
        ck_abort_msg("%s decodes and is encoded otherwise", msg_name(type));
    return true;
}

START_TEST(golden_decodes)
{
    const struct message *m = &MESSAGES[_i];
    struct frame_reader r;
    struct frame f;
    size_t room, size = load(m->name, golden, sizeof(golden));

    frame_reader_init(&r, out, sizeof(out));
    memcpy(frame_reader_space(&r, &room), golden, size);
    frame_reader_added(&r, size);
    ck_assert_int_eq(frame_reader_next(&r, &f), 1);
    ck_assert_uint_eq(frame_reader_pending(&r), 0);
    ck_assert_uint_eq(f.type, m->type);
    ck_assert_uint_eq(f.stream, FILL_STREAM);
    ck_assert_msg(m->decodes_to_filler(f.payload, f.length), "%s.hex does not decode to its values", m->name);
}
END_TEST

START_TEST(golden_encodes)
{
    const struct message *m = &MESSAGES[_i];
    size_t size = load(m->name, golden, sizeof(golden));

    ck_assert_uint_eq(m->frame_filler(out, sizeof(out)), size);
    ck_assert_msg(memcmp(out, golden, size) == 0, "%s is not encoded to %s.hex", m->name, m->name);
}
END_TEST

START_TEST(golden_recodes)
{
    size_t length;
    uint8_t *payload = golden_payload(_i, &length);

    ck_assert(assert_recodes(MESSAGES[_i].type, payload, length));
    free(payload);
}
END_TEST

START_TEST(zero_is_a_message)
{
    const struct message *m = &MESSAGES[_i];
    size_t size = m->frame_zero(out, sizeof(out));

    ck_assert_uint_ge(size, FRAME_HEADER_SIZE);
    ck_assert(m->decodes_to_zero(out + FRAME_HEADER_SIZE, size - FRAME_HEADER_SIZE));
}
END_TEST

START_TEST(every_prefix_is_rejected)
{
    size_t length;
    uint8_t *payload = golden_payload(_i, &length);

    for (size_t n = 0; n < length; n++) {
        uint8_t *prefix = unit_exact(payload, n);
        ck_assert_msg(!MESSAGES[_i].decode(prefix, n), "%s: %zu of %zu bytes decode", MESSAGES[_i].name, n,
                      length);
        free(prefix);
    }
    if (length > 0)
        ck_assert(!MESSAGES[_i].decode(NULL, 0));
    free(payload);
}
END_TEST

START_TEST(a_trailing_byte_is_rejected)
{
    size_t length;
    uint8_t *payload = golden_payload(_i, &length);

    payload = realloc(payload, length + 1);
    for (unsigned v = 0; v < 256; v++) {
        payload[length] = (uint8_t)v;
        ck_assert(!MESSAGES[_i].decode(payload, length + 1));
    }
    free(payload);
}
END_TEST

START_TEST(every_bit_flip_is_harmless)
{
    size_t length;
    uint8_t *payload = golden_payload(_i, &length);

    for (size_t bit = 0; bit < length * 8; bit++) {
        payload[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_recodes(MESSAGES[_i].type, payload, length);
        payload[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    ck_assert(assert_recodes(MESSAGES[_i].type, payload, length));
    free(payload);
}
END_TEST

START_TEST(every_byte_value_is_harmless)
{
    size_t length;
    uint8_t *payload = golden_payload(_i, &length);

    for (size_t at = 0; at < length; at++) {
        uint8_t was = payload[at];
        for (unsigned v = 0; v < 256; v++) {
            payload[at] = (uint8_t)v;
            assert_recodes(MESSAGES[_i].type, payload, length);
        }
        payload[at] = was;
    }
    free(payload);
}
END_TEST

/* A frame that does not fit is 0, and not a byte is written beyond the capacity. */
START_TEST(every_small_capacity_is_refused)
{
    const struct message *m = &MESSAGES[_i];
    size_t size = m->frame_filler(out, sizeof(out));

    for (size_t capacity = 0; capacity <= size + 1; capacity++) {
        uint8_t *block = malloc(capacity + 1);
        block[capacity] = 0x5a;
        ck_assert_uint_eq(m->frame_filler(block, capacity), capacity < size ? 0 : size);
        ck_assert_uint_eq(block[capacity], 0x5a);
        free(block);
        block = malloc(capacity); /* and the address sanitizer looks on */
        m->frame_filler(block, capacity);
        free(block);
    }
}
END_TEST

/* The largest frame is FRAME_MAX, whatever the capacity. */
START_TEST(the_largest_frame)
{
    enum { REST = 1 + 8 + 4 }; /* DATA without its bytes */
    uint8_t *content = calloc(1, FRAME_MAX), *big = malloc(2 * FRAME_MAX);
    struct msg_data m = {.channel = 1, .data = {content, FRAME_PAYLOAD_MAX - REST}}, back;

    ck_assert_uint_eq(msg_data_frame(&m, 1, big, 2 * FRAME_MAX), FRAME_MAX);
    ck_assert_uint_eq(msg_data_frame(&m, 1, big, FRAME_MAX), FRAME_MAX);
    ck_assert_uint_eq(msg_data_frame(&m, 1, big, FRAME_MAX - 1), 0);
    ck_assert(msg_data_decode(&back, big + FRAME_HEADER_SIZE, FRAME_PAYLOAD_MAX));
    ck_assert(msg_equal_data(&m, &back));
    m.data.size++;
    ck_assert_uint_eq(msg_data_frame(&m, 1, big, 2 * FRAME_MAX), 0);
    free(content);
    free(big);
}
END_TEST

/* The conversation of PROTOCOL.md: its vectors hold the values that it speaks of. */
START_TEST(worked_examples)
{
    char title[64];
    int number = 0;
    size_t size;

#define E(NAME, name, stream_id, doc, ...)                                                                   \
    do {                                                                                                     \
        struct msg_##name m, expected = {__VA_ARGS__};                                                       \
        snprintf(title, sizeof(title), "example-%d-%s", ++number, #NAME);                                    \
        size = load(title, golden, sizeof(golden));                                                          \
        ck_assert(msg_##name##_decode(&m, golden + FRAME_HEADER_SIZE, size - FRAME_HEADER_SIZE));            \
        ck_assert_msg(msg_equal_##name(&m, &expected), "%s.hex has other values", title);                    \
        ck_assert_uint_eq(msg_##name##_frame(&expected, stream_id, out, sizeof(out)), size);                 \
        ck_assert_mem_eq(out, golden, size);                                                                 \
    } while (0);
    EXAMPLES(E)
#undef E
    ck_assert_int_gt(number, 0);
}
END_TEST

/* A message that was removed or renamed would leave its vector behind. */
START_TEST(every_vector_has_a_message)
{
    size_t vectors = 0, expected = MESSAGES_COUNT;
    char path[4096];
    DIR *d;

#define E(NAME, name, stream_id, doc, ...) +1
    expected += 0 EXAMPLES(E);
#undef E
    snprintf(path, sizeof(path), "%s/tests/golden", source_directory());
    ck_assert_ptr_nonnull(d = opendir(path));
    for (struct dirent *e; (e = readdir(d));)
        vectors += strstr(e->d_name, ".hex") != NULL;
    closedir(d);
    ck_assert_msg(vectors == expected,
                  "%s has %zu vectors for %zu messages and examples; none is ever removed", path, vectors,
                  expected);
}
END_TEST

START_TEST(names)
{
    size_t named = 0;

    for (size_t i = 0; i < MESSAGES_COUNT; i++)
        ck_assert_str_eq(msg_name(MESSAGES[i].type), MESSAGES[i].name);
    for (unsigned type = 0; type <= UINT16_MAX; type++) {
        bool known = msg_name((uint16_t)type) != NULL;
        named += known;
        ck_assert(known == (recode((uint16_t)type, 0, NULL, 0, out, sizeof(out)) != RECODE_UNKNOWN));
    }
    ck_assert_uint_eq(named, MESSAGES_COUNT);
    ck_assert_ptr_null(msg_name(0)); /* an ERROR's request field is 0 for "none" */
#define V(NAME, number, doc) ck_assert_str_eq(proto_error_name(number), #NAME);
    PROTO_ERRORS(V)
#undef V
#define V(NAME, number, doc) ck_assert_str_eq(proto_cause_name(number), #NAME);
    PROTO_CAUSES(V)
#undef V
    ck_assert_str_eq(proto_error_name(0), "unknown");
    ck_assert_str_eq(proto_error_name(UINT16_MAX), "unknown");
    ck_assert_str_eq(proto_cause_name(0), "unknown");
    ck_assert_str_eq(proto_cause_name(UINT8_MAX), "unknown");
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("proto_messages");

    unit_add_loop(&u, golden_decodes, MESSAGES_COUNT);
    unit_add_loop(&u, golden_encodes, MESSAGES_COUNT);
    unit_add_loop(&u, golden_recodes, MESSAGES_COUNT);
    unit_add_loop(&u, zero_is_a_message, MESSAGES_COUNT);
    unit_add_loop(&u, every_prefix_is_rejected, MESSAGES_COUNT);
    unit_add_loop(&u, a_trailing_byte_is_rejected, MESSAGES_COUNT);
    unit_add_loop(&u, every_bit_flip_is_harmless, MESSAGES_COUNT);
    unit_add_loop(&u, every_byte_value_is_harmless, MESSAGES_COUNT);
    unit_add_loop(&u, every_small_capacity_is_refused, MESSAGES_COUNT);
    unit_add(&u, the_largest_frame);
    unit_add(&u, worked_examples);
    unit_add(&u, every_vector_has_a_message);
    unit_add(&u, names);
    return unit_end(&u);
}
