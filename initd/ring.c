#include "ring.h"

#include <string.h>

void ring_init(struct ring *r, void *buffer, size_t capacity)
{
    *r = (struct ring){.buffer = buffer, .capacity = capacity, .start = 0, .end = 0, .base = 0};
}

size_t ring_free(const struct ring *r)
{
    return r->capacity - (size_t)(r->end - r->start);
}

static size_t index_of(const struct ring *r, uint64_t offset)
{
    return (size_t)(offset - r->base) % r->capacity;
}

uint8_t *ring_space(struct ring *r, size_t *ret_size)
{
    if (r->start == r->end)
        r->base = r->end;

    size_t at = index_of(r, r->end);
    size_t edge = r->capacity - at;
    size_t room = ring_free(r);

    *ret_size = room < edge ? room : edge;
    return r->buffer + at;
}

void ring_added(struct ring *r, size_t size)
{
    r->end += size;
}

const uint8_t *ring_view(const struct ring *r, uint64_t offset, size_t *ret_size)
{
    size_t at = index_of(r, offset);
    size_t edge = r->capacity - at;
    size_t held = (size_t)(r->end - offset);

    *ret_size = held < edge ? held : edge;
    return r->buffer + at;
}

void ring_consume(struct ring *r, uint64_t offset)
{
    if (offset > r->start)
        r->start = offset;
}

void ring_move(struct ring *r, void *buffer, size_t capacity)
{
    uint8_t *to = buffer;
    size_t size;

    for (uint64_t at = r->start; at < r->end; at += size) {
        const uint8_t *from = ring_view(r, at, &size);
        memcpy(to + (at - r->start), from, size);
    }
    r->buffer = to;
    r->capacity = capacity;
    r->base = r->start;
}
