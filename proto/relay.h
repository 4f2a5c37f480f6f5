/*
 * relay: what the relay in a guest (initd/relay) and its host say to each other about connections, over the relay's standard
 * input and output. PROTOCOL.md has the rules, in "The relay".
 *
 * It is frames as the protocol's (frame.h), whose stream is a connection's number, with types of their own. Both sides check
 * what comes with relay_decode().
 */
#ifndef PROTO_RELAY_H
#define PROTO_RELAY_H

#include "frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RELAY_PORT 3128 /* on the guest's loopback, HTTP and SOCKS */
#define RELAY_CONNECTIONS                                                                                    \
    128 /* of each side at a time: the guest's have the numbers 1 to 128, the host's those after */
#define RELAY_NUMBERS (2 * RELAY_CONNECTIONS)
#define RELAY_WINDOW 65536 /* bytes of a connection, each way, that may be under way untold */
#define RELAY_DATA_MAX 16384
#define RELAY_HOST_MAX 255 /* bytes of a host's name */
#define RELAY_TEXT_MAX 200
#define RELAY_FRAME_MAX (FRAME_HEADER_SIZE + RELAY_DATA_MAX)

/* R(NAME, number, form): EMPTY, TARGET (u16 port, then the host's name), TEXT, COUNT (u32), BYTES (at least one). */
#define RELAY_MESSAGES(R)                                                                                    \
    R(READY, 1, EMPTY)  /* guest: the relay takes connections; of stream 0, as NOTE */                       \
    R(OPEN, 2, TARGET)  /* a connection is wanted */                                                         \
    R(OPENED, 3, EMPTY) /* here it is */                                                                     \
    R(REFUSED, 4, TEXT) /* there is none; the number is free */                                              \
    R(DATA, 5, BYTES)                                                                                        \
    R(END, 6, EMPTY)   /* no DATA follows */                                                                 \
    R(TAKEN, 7, COUNT) /* so many bytes more were taken */                                                   \
    R(CLOSE, 8, EMPTY) /* nothing more is taken; when both have said so, the number is free */               \
    R(NOTE, 9, TEXT)   /* guest: somebody was sent away before a host was named */

enum relay_type {
#define R(name, number, form) RELAY_##name = number,
    RELAY_MESSAGES(R)
#undef R
};

struct relay_message {
    enum relay_type type;
    uint32_t stream;
    uint16_t port;
    uint32_t count;
    const uint8_t *data; /* a view of what BYTES, TEXT, and TARGET after its port have; not NUL-terminated */
    uint32_t size;
};

/* False: no such message, or its form is wrong. Texts and names have no byte below 33, but for the blanks of texts. */
bool relay_decode(struct relay_message *ret, const struct frame *f);

/* A whole frame in out, which has RELAY_FRAME_MAX bytes; its size. */
size_t relay_encode(const struct relay_message *m, uint8_t *out);

#endif
