#include "wire.h"

#include <string.h>

struct wire_reader wire_reader_of(const void *data, size_t size)
{
    const uint8_t *p = data;
    return (struct wire_reader){.pos = p, .end = size ? p + size : p, .failed = false};
}

struct wire_writer wire_writer_of(void *buffer, size_t size)
{
    uint8_t *p = buffer;
    return (struct wire_writer){.pos = p, .end = size ? p + size : p, .failed = false};
}

bool wire_reader_done(const struct wire_reader *r)
{
    return !r->failed && r->pos == r->end;
}

/* The next size bytes, or NULL after failing. */
static const uint8_t *take(struct wire_reader *r, size_t size)
{
    const uint8_t *p = r->pos;

    if (r->failed || (size_t)(r->end - r->pos) < size) {
        r->failed = true;
        return NULL;
    }
    if (size)
        r->pos += size;
    return p;
}

static uint8_t *claim(struct wire_writer *w, size_t size)
{
    uint8_t *p = w->pos;

    if (w->failed || (size_t)(w->end - w->pos) < size) {
        w->failed = true;
        return NULL;
    }
    if (size)
        w->pos += size;
    return p;
}

static uint64_t get_integer(struct wire_reader *r, unsigned size)
{
    const uint8_t *p = take(r, size);
    uint64_t v = 0;

    if (p)
        for (unsigned i = size; i-- > 0;)
            v = v << 8 | p[i];
    return v;
}

static void put_integer(struct wire_writer *w, uint64_t v, unsigned size)
{
    uint8_t *p = claim(w, size);

    if (p)
        for (unsigned i = 0; i < size; i++, v >>= 8)
            p[i] = (uint8_t)v;
}

uint8_t wire_get_u8(struct wire_reader *r)
{
    return (uint8_t)get_integer(r, 1);
}

uint16_t wire_get_u16(struct wire_reader *r)
{
    return (uint16_t)get_integer(r, 2);
}

uint32_t wire_get_u32(struct wire_reader *r)
{
    return (uint32_t)get_integer(r, 4);
}

uint64_t wire_get_u64(struct wire_reader *r)
{
    return get_integer(r, 8);
}

struct wire_bytes wire_get_bytes(struct wire_reader *r)
{
    uint32_t size = wire_get_u32(r);
    const uint8_t *p = take(r, size);

    return p ? (struct wire_bytes){.data = p, .size = size} : (struct wire_bytes){0};
}

const char *wire_get_str(struct wire_reader *r)
{
    struct wire_bytes b = wire_get_bytes(r);

    if (b.size == 0 || memchr(b.data, '\0', b.size) != b.data + b.size - 1) {
        r->failed = true;
        return "";
    }
    return (const char *)b.data;
}

struct wire_strs wire_get_strs(struct wire_reader *r)
{
    struct wire_bytes b = wire_get_bytes(r);

    if (b.size > 0 && b.data[b.size - 1] != '\0') {
        r->failed = true;
        return (struct wire_strs){0};
    }
    return (struct wire_strs){.data = (const char *)b.data, .size = b.size};
}

struct wire_u32s wire_get_u32s(struct wire_reader *r)
{
    uint32_t count = wire_get_u32(r);

    if (count > (size_t)(r->end - r->pos) / 4) /* divided: count * 4 can wrap around in 32 bits */
        r->failed = true;
    const uint8_t *p = take(r, (size_t)count * 4);
    return p ? (struct wire_u32s){.data = p, .count = count} : (struct wire_u32s){0};
}

struct wire_uuid wire_get_uuid(struct wire_reader *r)
{
    struct wire_uuid v = {{0}};
    const uint8_t *p = take(r, sizeof(v.byte));

    if (p)
        memcpy(v.byte, p, sizeof(v.byte));
    return v;
}

void wire_put_u8(struct wire_writer *w, uint8_t v)
{
    put_integer(w, v, 1);
}

void wire_put_u16(struct wire_writer *w, uint16_t v)
{
    put_integer(w, v, 2);
}

void wire_put_u32(struct wire_writer *w, uint32_t v)
{
    put_integer(w, v, 4);
}

void wire_put_u64(struct wire_writer *w, uint64_t v)
{
    put_integer(w, v, 8);
}

static void put_sized(struct wire_writer *w, const void *data, size_t size)
{
    if (size > UINT32_MAX) {
        w->failed = true;
        return;
    }
    wire_put_u32(w, (uint32_t)size);
    uint8_t *p = claim(w, size);
    if (p && size)
        memcpy(p, data, size);
}

void wire_put_str(struct wire_writer *w, const char *s)
{
    put_sized(w, s ? s : "", s ? strlen(s) + 1 : 1);
}

void wire_put_strs(struct wire_writer *w, struct wire_strs v)
{
    if (v.size > 0 && v.data[v.size - 1] != '\0')
        w->failed = true;
    put_sized(w, v.data, v.size);
}

void wire_put_u32s(struct wire_writer *w, struct wire_u32s v)
{
    wire_put_u32(w, v.count);
    if (v.count > (size_t)(w->end - w->pos) / 4)
        w->failed = true;
    uint8_t *p = claim(w, (size_t)v.count * 4);
    if (p && v.count)
        memcpy(p, v.data, (size_t)v.count * 4);
}

void wire_put_bytes(struct wire_writer *w, struct wire_bytes v)
{
    put_sized(w, v.data, v.size);
}

void wire_put_uuid(struct wire_writer *w, struct wire_uuid v)
{
    uint8_t *p = claim(w, sizeof(v.byte));

    if (p)
        memcpy(p, v.byte, sizeof(v.byte));
}

uint32_t wire_u32s_at(struct wire_u32s v, uint32_t index)
{
    struct wire_reader r = wire_reader_of(v.data + (size_t)index * 4, 4);

    return wire_get_u32(&r);
}

uint32_t wire_strs_count(struct wire_strs v)
{
    uint32_t count = 0;

    for (const char *s = wire_strs_next(v, NULL); s; s = wire_strs_next(v, s))
        count++;
    return count;
}

const char *wire_strs_next(struct wire_strs v, const char *current)
{
    if (v.size == 0)
        return NULL;
    const char *next = current ? current + strlen(current) + 1 : v.data;
    return next < v.data + v.size ? next : NULL;
}
