/* recode: decode a payload of any type and encode what was decoded. For tests of round trips. */
#ifndef TESTS_RECODE_H
#define TESTS_RECODE_H

#include "messages.h"

enum { RECODE_UNKNOWN = -2, RECODE_REJECTED = -1 };

/* RECODE_UNKNOWN: no message has this type. RECODE_REJECTED: it does not decode.
 * Otherwise the size of the frame in out; 0: it does not fit. */
static inline long recode(uint16_t type, uint32_t stream, const void *payload, size_t length, void *out,
                          size_t capacity)
{
    switch (type) {
#define M(NAME, name, number, sender, doc)                                                                   \
    case number: {                                                                                           \
        struct msg_##name m;                                                                                 \
        if (!msg_##name##_decode(&m, payload, length))                                                       \
            return RECODE_REJECTED;                                                                          \
        return (long)msg_##name##_frame(&m, stream, out, capacity);                                          \
    }
        PROTO_MESSAGES(M)
#undef M
    default:
        return RECODE_UNKNOWN;
    }
}

#endif
