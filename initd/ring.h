/*
 * ring: the bytes of a channel between two offsets, in a buffer of fixed size.
 *
 * Offsets count from the channel's first byte and never shrink: start (what was consumed) <= end (what came
 * in).
 */
#ifndef INITD_RING_H
#define INITD_RING_H

#include <stddef.h>
#include <stdint.h>

struct ring {
    uint8_t *buffer; /* borrowed */
    size_t capacity;
    uint64_t start;
    uint64_t end;
    uint64_t
        base; /* offset of buffer[0]; moved when the ring is empty, so that little data stays in one page */
};

void ring_init(struct ring *r, void *buffer, size_t capacity);

size_t ring_free(const struct ring *r);

/* Where to put bytes next; *ret_size may be less than ring_free() at the buffer's edge, and is 0 when full.
 */
uint8_t *ring_space(struct ring *r, size_t *ret_size);

/* Tells that size bytes were put there. */
void ring_added(struct ring *r, size_t size);

/* Bytes from offset on, which must be within start and end; *ret_size may be less than what is held at the
 * edge. */
const uint8_t *ring_view(const struct ring *r, uint64_t offset, size_t *ret_size);

/* Gives the ring another buffer, into which what it holds must fit. */
void ring_move(struct ring *r, void *buffer, size_t capacity);

/* Forgets what is below offset, which must not be above end. Lower than start: nothing happens. */
void ring_consume(struct ring *r, uint64_t offset);

#endif
