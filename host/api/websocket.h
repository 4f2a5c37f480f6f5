/*
 * websocket: the server's side of RFC 6455, without extensions and subprotocols: the handshake's answer, and a codec for
 * frames. Pure: reads and writes buffers only.
 *
 * Strict: frames of a client must be masked, have no reserved bits and the shortest form of their length; a message may come
 * in fragments with control frames between them; text and reasons must be UTF-8. What breaks this is WEBSOCKET_BROKEN with
 * the code to close with, and nothing is read any more.
 */
#ifndef CAPSID_API_WEBSOCKET_H
#define CAPSID_API_WEBSOCKET_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEBSOCKET_MESSAGE_MAX (64u << 10) /* bytes of a message, and of each of its frames */
#define WEBSOCKET_ACCEPT_SIZE 29          /* bytes of Sec-WebSocket-Accept, with a NUL */

/* Section 7.4.1. */
enum websocket_code {
    WEBSOCKET_NORMAL = 1000,
    WEBSOCKET_GOING_AWAY = 1001,
    WEBSOCKET_PROTOCOL = 1002,
    WEBSOCKET_NO_CODE = 1005, /* never sent: a close frame without a code */
    WEBSOCKET_NOT_UTF8 = 1007,
    WEBSOCKET_POLICY = 1008,
    WEBSOCKET_TOO_LARGE = 1009,
    WEBSOCKET_FAILED = 1011,
};

/* Frames' opcodes (section 5.2), and two that are none. */
enum websocket_event {
    WEBSOCKET_BROKEN = -1,
    WEBSOCKET_MORE = 0, /* more bytes are needed */
    WEBSOCKET_TEXT = 1,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10,
};

struct websocket {
    struct buffer in; /* owned; bytes not looked at yet, from start on */
    size_t start;
    struct buffer message; /* owned; of fragments, or of what was given out last */
    struct buffer control; /* owned; payload of a control frame */
    int fragments;         /* opcode of the message whose fragments are coming, 0: none */
    bool taken;            /* message was given out */
    bool ended;            /* closed or broken */
    uint16_t code;         /* of WEBSOCKET_CLOSE and WEBSOCKET_BROKEN */
};

struct websocket_message {
    const char *data; /* a view until the next call; with a NUL behind it */
    size_t size;
};

/* The answer to Sec-WebSocket-Key; false: the key is not 16 bytes in base64. */
bool websocket_accept(const char *key, char ret[static WEBSOCKET_ACCEPT_SIZE]);

/* Does a header like Connection or Upgrade list that word? */
bool websocket_lists(const char *header, const char *word);

/* Adds bytes that came. Call websocket_next() until it wants more before there are many. */
void websocket_add(struct websocket *w, const void *data, size_t size);

/* The next message or control frame. The message of WEBSOCKET_CLOSE is the reason. */
enum websocket_event websocket_next(struct websocket *w, struct websocket_message *ret);

/* Adds a frame of the server's. */
void websocket_frame(struct buffer *out, enum websocket_event opcode, const void *data, size_t size);

/* Adds a close frame; the reason is cut at 123 bytes. */
void websocket_close_frame(struct buffer *out, uint16_t code, const char *reason);

void websocket_done(struct websocket *w);

#endif
