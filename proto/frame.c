#include "frame.h"

#include "wire.h"

#include <string.h>

void frame_put_header(uint8_t *out, uint16_t type, uint32_t stream, uint32_t length)
{
    struct wire_writer w = wire_writer_of(out, FRAME_HEADER_SIZE);

    wire_put_u32(&w, length);
    wire_put_u16(&w, type);
    wire_put_u16(&w, 0);
    wire_put_u32(&w, stream);
}

void frame_reader_init(struct frame_reader *r, void *buffer, size_t capacity)
{
    *r = (struct frame_reader){.buffer = buffer, .capacity = capacity, .start = 0, .end = 0};
}

void frame_reader_reset(struct frame_reader *r)
{
    r->start = r->end = 0;
}

uint8_t *frame_reader_space(struct frame_reader *r, size_t *ret_size)
{
    if (r->start == r->end) {
        r->start = r->end = 0;
    } else if (r->start > 0 && r->capacity - r->end < r->capacity / 2) {
        memmove(r->buffer, r->buffer + r->start, r->end - r->start);
        r->end -= r->start;
        r->start = 0;
    }
    *ret_size = r->capacity - r->end;
    return r->buffer + r->end;
}

void frame_reader_added(struct frame_reader *r, size_t size)
{
    r->end += size;
}

int frame_reader_next(struct frame_reader *r, struct frame *ret_frame)
{
    size_t available = r->end - r->start;

    if (available < FRAME_HEADER_SIZE)
        return 0;

    struct wire_reader in = wire_reader_of(r->buffer + r->start, FRAME_HEADER_SIZE);
    uint32_t length = wire_get_u32(&in);
    uint16_t type = wire_get_u16(&in);
    uint16_t flags = wire_get_u16(&in);
    uint32_t stream = wire_get_u32(&in);

    if (flags != 0 || length > FRAME_PAYLOAD_MAX || length > r->capacity - FRAME_HEADER_SIZE)
        return -1;
    if (available < FRAME_HEADER_SIZE + (size_t)length)
        return 0;

    *ret_frame = (struct frame){.type = type,
                                .flags = flags,
                                .stream = stream,
                                .payload = r->buffer + r->start + FRAME_HEADER_SIZE,
                                .length = length};
    r->start += FRAME_HEADER_SIZE + (size_t)length;
    return 1;
}

size_t frame_reader_pending(const struct frame_reader *r)
{
    return r->end - r->start;
}
