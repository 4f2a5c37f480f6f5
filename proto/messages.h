/*
 * messages: a struct, an encoder and a decoder for each message of messages.def.
 *
 *   struct msg_exec m = {...};
 *   size = msg_exec_frame(&m, stream, buffer, capacity);     a whole frame; 0: it does not fit
 *   ok   = msg_exec_decode(&m, payload, length);             false: malformed, or trailing bytes
 *
 * Decoded strings and byte fields are views into the payload.
 */
#ifndef PROTO_MESSAGES_H
#define PROTO_MESSAGES_H

#include "frame.h"
#include "messages.def"
#include "wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTO_VERSION 1
#define PROTO_MAGIC 0x44535043u          /* "CPSD" as bytes on the wire */
#define PROTO_PORT 5000                  /* AF_VSOCK */
#define PROTO_SERIAL_NAME "capsid.initd" /* name of the virtio-serial port */
#define PROTO_ENTROPY_MIN 32
#define PROTO_ENTROPY_MAX 512
#define PROTO_FEATURES /* of both sides */                                                                   \
    (PROTO_FEATURE_STRINGS | PROTO_FEATURE_JOB | PROTO_FEATURE_KEEP | PROTO_FEATURE_DISK |                   \
     PROTO_FEATURE_UNPACK | PROTO_FEATURE_ROOT)

/* What execve(2) takes at most, bytes with the NULs: of one string, MAX_ARG_STRLEN of Linux's binfmts.h; and of all strings
 * of argv and env together with 8 bytes for each (the pointers), a quarter of the stack's usual limit of 8 MiB. */
#define PROTO_STRING_MAX 131072
#define PROTO_STRINGS_MAX (2 * 1024 * 1024)
#define PROTO_FRAME_STRINGS_MAX                                                                              \
    4094 /* strings of argv and env in an EXEC or PRIME itself; more go into STRINGS */

typedef uint8_t wire_type_u8;
typedef uint16_t wire_type_u16;
typedef uint32_t wire_type_u32;
typedef uint64_t wire_type_u64;
typedef const char *wire_type_str;
typedef struct wire_strs wire_type_strs;
typedef struct wire_u32s wire_type_u32s;
typedef struct wire_bytes wire_type_bytes;
typedef struct wire_uuid wire_type_uuid;

enum msg_type {
#define M(NAME, name, number, sender, doc) MSG_##NAME = number,
    PROTO_MESSAGES(M)
#undef M
};

enum proto_value {
#define V(NAME, number, doc) PROTO_##NAME = number,
    PROTO_ERRORS(V) PROTO_CAUSES(V) PROTO_FLAGS(V)
#undef V
};

#define F(type, name, doc) wire_type_##type name;
#define M(NAME, name, number, sender, doc)                                                                   \
    struct msg_##name {                                                                                      \
        PROTO_FIELDS_##name(F)                                                                               \
    };                                                                                                       \
    bool msg_##name##_decode(struct msg_##name *ret, const void *payload, size_t length);                    \
    size_t msg_##name##_frame(const struct msg_##name *m, uint32_t stream, void *out, size_t capacity);
PROTO_MESSAGES(M)
#undef M
#undef F

/* "EXEC", or NULL for a number that no message has. */
const char *msg_name(uint16_t type);

/* "ERR_LIMIT", "CAUSE_OOM"; "unknown" for other numbers. */
const char *proto_error_name(uint16_t code);
const char *proto_cause_name(uint8_t cause);

#endif
