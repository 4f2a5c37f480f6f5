/*
 * fill: fixed values for every field of every message, from messages.def, so that a new message is
 * covered by the golden vectors and their tests without a line of code.
 *
 *   msg_fill_exec(&m, &filler)    the values of the golden vector
 *   msg_equal_exec(&a, &b)        compares what the views show, not the views
 *
 * The bytes of an integer count up from a number that is made of the field's name, so swapped bytes and
 * swapped fields both show. Strings carry the name of their field.
 */
#ifndef TESTS_FILL_H
#define TESTS_FILL_H

#include "messages.h"

#include <string.h>

#define FILL_STREAM 0x04030201u

struct filler {
    size_t used;
    uint8_t arena[4096]; /* what the views of the message point into */
};

/* size bytes that count up, from a hash (FNV-1a) of the name; never 0 at first. */
static inline void fill_count(uint8_t *out, size_t size, const char *name)
{
    uint32_t hash = 2166136261u;

    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)((hash >> 24 | 1) + i);
}

static inline uint64_t fill_integer(unsigned size, const char *name)
{
    uint8_t bytes[8];
    uint64_t v = 0;

    fill_count(bytes, size, name);
    for (unsigned i = 0; i < size; i++)
        v |= (uint64_t)bytes[i] << (8 * i);
    return v;
}

static inline uint8_t *fill_copy(struct filler *f, const void *data, size_t size)
{
    uint8_t *p = f->arena + f->used;

    if (size > sizeof(f->arena) - f->used)
        __builtin_trap();
    memcpy(p, data, size);
    f->used += size;
    return p;
}

static inline uint8_t fill_u8(struct filler *f, const char *name)
{
    (void)f;
    return (uint8_t)fill_integer(1, name);
}

static inline uint16_t fill_u16(struct filler *f, const char *name)
{
    (void)f;
    return (uint16_t)fill_integer(2, name);
}

static inline uint32_t fill_u32(struct filler *f, const char *name)
{
    (void)f;
    return (uint32_t)fill_integer(4, name);
}

static inline uint64_t fill_u64(struct filler *f, const char *name)
{
    (void)f;
    return fill_integer(8, name);
}

/* The name and a byte that is not ASCII. */
static inline const char *fill_str(struct filler *f, const char *name)
{
    char *s = (char *)fill_copy(f, name, strlen(name));

    fill_copy(f, " \xc3\xa9", 4);
    return s;
}

/* Three strings: the name, nothing, and an assignment. */
static inline struct wire_strs fill_strs(struct filler *f, const char *name)
{
    static const char rest[] = "\0A=b c";
    char *s = (char *)fill_copy(f, name, strlen(name) + 1);

    fill_copy(f, rest, sizeof(rest));
    return (struct wire_strs){.data = s, .size = (uint32_t)(strlen(name) + 1 + sizeof(rest))};
}

static inline struct wire_u32s fill_u32s(struct filler *f, const char *name)
{
    uint8_t data[12];

    fill_count(data, sizeof(data), name);
    return (struct wire_u32s){.data = fill_copy(f, data, sizeof(data)), .count = sizeof(data) / 4};
}

static inline struct wire_bytes fill_bytes(struct filler *f, const char *name)
{
    static const uint8_t data[] = {0x00, 0xff, 0x0a, 0x00, 0x80};

    (void)name;
    return (struct wire_bytes){.data = fill_copy(f, data, sizeof(data)), .size = sizeof(data)};
}

static inline struct wire_uuid fill_uuid(struct filler *f, const char *name)
{
    struct wire_uuid v;

    (void)f;
    fill_count(v.byte, sizeof(v.byte), name);
    return v;
}

#define F(type, name, doc) m->name = fill_##type(f, #name);
#define M(NAME, name, number, sender, doc)                                                                   \
    static inline void msg_fill_##name(struct msg_##name *m, struct filler *f)                               \
    {                                                                                                        \
        (void)m;                                                                                             \
        f->used = 0;                                                                                         \
        PROTO_FIELDS_##name(F)                                                                               \
    }
PROTO_MESSAGES(M)
#undef M
#undef F

#define equal_u8(a, b) ((a) == (b))
#define equal_u16(a, b) ((a) == (b))
#define equal_u32(a, b) ((a) == (b))
#define equal_u64(a, b) ((a) == (b))
#define equal_str(a, b) (strcmp((a) ? (a) : "", (b) ? (b) : "") == 0)
#define equal_strs(a, b) ((a).size == (b).size && ((a).size == 0 || !memcmp((a).data, (b).data, (a).size)))
#define equal_bytes(a, b) equal_strs(a, b)
#define equal_u32s(a, b)                                                                                     \
    ((a).count == (b).count && ((a).count == 0 || !memcmp((a).data, (b).data, (size_t)(a).count * 4)))
#define equal_uuid(a, b) (!memcmp((a).byte, (b).byte, sizeof((a).byte)))

#define F(type, name, doc) &&equal_##type(a->name, b->name)
#define M(NAME, name, number, sender, doc)                                                                   \
    static inline bool msg_equal_##name(const struct msg_##name *a, const struct msg_##name *b)              \
    {                                                                                                        \
        (void)a, (void)b;                                                                                    \
        return true PROTO_FIELDS_##name(F);                                                                  \
    }
PROTO_MESSAGES(M)
#undef M
#undef F

#endif
