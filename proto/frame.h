/*
 * frame: the unit of the protocol on any reliable byte stream.
 *
 *   u32 length   bytes of payload, at most FRAME_PAYLOAD_MAX
 *   u16 type     a message number
 *   u16 flags    0; a receiver refuses any other value
 *   u32 stream   0: the connection itself; otherwise chosen by the host, see PROTOCOL.md
 *   payload
 */
#ifndef PROTO_FRAME_H
#define PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADER_SIZE 12
#define FRAME_MAX 65536 /* header and payload together */
#define FRAME_PAYLOAD_MAX (FRAME_MAX - FRAME_HEADER_SIZE)

struct frame {
    uint16_t type;
    uint16_t flags;
    uint32_t stream;
    const uint8_t *payload; /* a view */
    uint32_t length;
};

/* Writes the 12 bytes of a header. length must be at most FRAME_PAYLOAD_MAX. */
void frame_put_header(uint8_t *out, uint16_t type, uint32_t stream, uint32_t length);

/*
 * Puts frames together from pieces as they arrive, in a buffer of the caller's. A buffer of
 * FRAME_MAX bytes takes every valid frame; with a smaller one, larger frames are refused.
 */
struct frame_reader {
    uint8_t *buffer; /* borrowed */
    size_t capacity;
    size_t start; /* first byte not yet given out */
    size_t end;   /* first free byte */
};

void frame_reader_init(struct frame_reader *r, void *buffer, size_t capacity);

/* Forgets everything received. */
void frame_reader_reset(struct frame_reader *r);

/* Where to read into next: sets *ret_size (never 0 after frame_reader_next() gave 0).
 * Views of frames given out before are no longer valid. */
uint8_t *frame_reader_space(struct frame_reader *r, size_t *ret_size);

/* Tells that size bytes were read into that space. */
void frame_reader_added(struct frame_reader *r, size_t size);

/* 1: *ret_frame is the next frame, a view valid until frame_reader_space(). 0: more bytes are needed.
 * -1: the stream is broken (length over the limit, or flags not 0); it stays so until a reset. */
int frame_reader_next(struct frame_reader *r, struct frame *ret_frame);

/* Bytes of an unfinished frame that are waiting. */
size_t frame_reader_pending(const struct frame_reader *r);

#endif
