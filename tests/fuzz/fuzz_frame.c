/*
 * Any stream in pieces of any sizes, in a buffer of any size: the frames are those that a reader of the
 * whole stream sees. The first two bytes choose the pieces and the buffer, the rest is the stream.
 */
#include "frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(int condition)
{
    if (!condition)
        __builtin_trap();
}

/* The frame at the front of the stream, read in the plainest way: as frame_reader_next(). */
static int plain_next(const uint8_t *data, size_t size, size_t capacity, struct frame *ret)
{
    if (size < FRAME_HEADER_SIZE)
        return 0;
    uint64_t length =
        (uint64_t)data[0] | (uint64_t)data[1] << 8 | (uint64_t)data[2] << 16 | (uint64_t)data[3] << 24;
    if (data[6] || data[7] || FRAME_HEADER_SIZE + length > capacity || FRAME_HEADER_SIZE + length > FRAME_MAX)
        return -1;
    if (size < FRAME_HEADER_SIZE + length)
        return 0;
    ret->type = (uint16_t)(data[4] | data[5] << 8);
    ret->flags = 0;
    ret->stream = data[8] | (uint32_t)data[9] << 8 | (uint32_t)data[10] << 16 | (uint32_t)data[11] << 24;
    ret->payload = data + FRAME_HEADER_SIZE;
    ret->length = (uint32_t)length;
    return 1;
}

/* Takes out every frame that is complete. *seen is how much of the stream they were. */
static int drain(struct frame_reader *r, const uint8_t *data, size_t size, size_t sent, size_t *seen)
{
    struct frame got, want;
    int result;

    while ((result = frame_reader_next(r, &got)) == 1) {
        expect(plain_next(data + *seen, size - *seen, r->capacity, &want) == 1);
        expect(got.type == want.type && got.flags == 0 && got.stream == want.stream &&
               got.length == want.length);
        expect(got.length == 0 || memcmp(got.payload, want.payload, got.length) == 0);
        *seen += FRAME_HEADER_SIZE + got.length;
        expect(*seen <= sent);
    }
    expect(result == plain_next(data + *seen, sent - *seen, r->capacity, &want));
    expect(frame_reader_pending(r) == sent - *seen);
    if (result < 0)
        expect(frame_reader_next(r, &got) == -1);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t capacities[] = {12, 13, 16, 40, 128, 1024, FRAME_MAX, 2 * FRAME_MAX};
    struct frame_reader r;
    size_t sent = 0, seen = 0;

    if (size < 2)
        return -1;
    uint32_t state = data[0] * 2654435761u + 1;
    size_t capacity = capacities[data[1] % 8] + data[1] / 8;
    uint8_t *buffer = malloc(capacity);
    data += 2;
    size -= 2;

    frame_reader_init(&r, buffer, capacity);
    while (sent < size) {
        size_t room, piece;
        uint8_t *space = frame_reader_space(&r, &room);
        expect(room > 0 && space >= buffer && space + room <= buffer + capacity);
        state = state * 1664525 + 1013904223;
        piece = 1 + (state >> 16) % (state >> 31 ? 9 : 70000);
        piece = piece < room ? piece : room;
        piece = piece < size - sent ? piece : size - sent;
        memcpy(space, data + sent, piece);
        frame_reader_added(&r, piece);
        sent += piece;
        if (drain(&r, data, size, sent, &seen) < 0)
            break;
    }
    free(buffer);
    return 0;
}
