/*
 * wire: bounded cursors over a buffer, and the encodings of the protocol's field types.
 *
 * Integers are little-endian. A cursor that would leave its buffer, or meets an invalid value, fails
 * and stays failed: every later call does nothing and reads give zeros. So a caller checks once, at
 * the end. Nothing here allocates or does I/O.
 *
 *   str    u32 size, then size bytes; the last byte is NUL and no other is. (size >= 1)
 *   strs   u32 size, then size bytes: strings back to back, each ended by its NUL (as in
 *          /proc/PID/environ). size 0: no string.
 *   u32s   u32 count, then count integers.
 *   bytes  u32 size, then size bytes of any value.
 *   uuid   16 bytes.
 */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Views point into the buffer that was decoded and live as long as its contents. */
struct wire_bytes {
    const uint8_t *data;
    uint32_t size;
};

struct wire_strs {
    const char *data;
    uint32_t size;
};

/* data holds count little-endian integers of 4 bytes; see wire_u32s_at(). */
struct wire_u32s {
    const uint8_t *data;
    uint32_t count;
};

struct wire_uuid {
    uint8_t byte[16];
};

struct wire_reader {
    const uint8_t *pos;
    const uint8_t *end;
    bool failed;
};

struct wire_writer {
    uint8_t *pos;
    uint8_t *end;
    bool failed;
};

struct wire_reader wire_reader_of(const void *data, size_t size);
struct wire_writer wire_writer_of(void *buffer, size_t size);

/* True when nothing failed and every byte was read: trailing bytes are an error. */
bool wire_reader_done(const struct wire_reader *r);

uint8_t wire_get_u8(struct wire_reader *r);
uint16_t wire_get_u16(struct wire_reader *r);
uint32_t wire_get_u32(struct wire_reader *r);
uint64_t wire_get_u64(struct wire_reader *r);
const char *wire_get_str(struct wire_reader *r); /* "" on failure, never NULL */
struct wire_strs wire_get_strs(struct wire_reader *r);
struct wire_u32s wire_get_u32s(struct wire_reader *r);
struct wire_bytes wire_get_bytes(struct wire_reader *r);
struct wire_uuid wire_get_uuid(struct wire_reader *r);

void wire_put_u8(struct wire_writer *w, uint8_t v);
void wire_put_u16(struct wire_writer *w, uint16_t v);
void wire_put_u32(struct wire_writer *w, uint32_t v);
void wire_put_u64(struct wire_writer *w, uint64_t v);
void wire_put_str(struct wire_writer *w, const char *s); /* NULL is written as "" */
void wire_put_strs(struct wire_writer *w, struct wire_strs v);
void wire_put_u32s(struct wire_writer *w, struct wire_u32s v);
void wire_put_bytes(struct wire_writer *w, struct wire_bytes v);
void wire_put_uuid(struct wire_writer *w, struct wire_uuid v);

/* The index-th integer; index must be below count. */
uint32_t wire_u32s_at(struct wire_u32s v, uint32_t index);

/* How many strings v holds. */
uint32_t wire_strs_count(struct wire_strs v);

/* Steps through v: NULL gives the first string, a string the one after it; NULL at the end. */
const char *wire_strs_next(struct wire_strs v, const char *current);

#endif
