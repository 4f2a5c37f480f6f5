/*
 * look_messages: what the program that looks at an image's files in a guest (initd/look) says to its host, on its standard output. PROTOCOL.md
 * has the rules, in "Looking at files".
 *
 * It is frames as the protocol's (frame.h), of stream 0, with types of their own. The host takes them for hostile.
 */
#ifndef PROTO_LOOK_MESSAGES_H
#define PROTO_LOOK_MESSAGES_H

#include "frame.h"
#include "wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOOK_PATH_MAX 4095     /* bytes of a path and of a symbolic link's target */
#define LOOK_NAME_MAX 255      /* bytes of a name */
#define LOOK_DEPTH_MAX 256     /* directories below the one that was asked for */
#define LOOK_PAGE_MAX 65536    /* entries of one answer */
#define LOOK_TEXT_MAX 4096     /* bytes of a line that matches, and of what is said about a failure */
#define LOOK_DATA_MAX 61440    /* bytes of a DATA */
#define LOOK_MATCHES_MAX 65536 /* of one answer */
#define LOOK_IGNORE_CASE 1     /* of a search */

/* L(NAME, name, number, "what it is") and, of each, F(type, name, "meaning"). */
#define LOOK_MESSAGES(L)                                                                                     \
    L(ENTRY, entry, 1, "a file, directory or other node")                                                    \
    L(DATA, data, 2, "bytes of the file that the last ENTRY told of")                                        \
    L(MATCH, match, 3, "a line that was searched for")                                                       \
    L(DONE, done, 4, "the answer is complete, or there is none")

#define LOOK_FIELDS_entry(F)                                                                                 \
    F(u32, mode, "as st_mode of stat(2)")                                                                    \
    F(u32, uid, "owner")                                                                                     \
    F(u32, gid, "group")                                                                                     \
    F(u64, size, "bytes; of a directory 0")                                                                  \
    F(u64, mtime_s, "when it was changed last: seconds since 1970, signed")                                  \
    F(u32, mtime_ns, "and nanoseconds")                                                                      \
    F(u32, major, "of a device, otherwise 0")                                                                \
    F(u32, minor, "of a device, otherwise 0")                                                                \
    F(bytes, name, "its name, or its path below what was asked for; empty: that itself")                     \
    F(bytes, target, "of a symbolic link, otherwise empty")

#define LOOK_FIELDS_data(F) F(bytes, data, "at least one")

#define LOOK_FIELDS_match(F)                                                                                 \
    F(u64, line, "its number, from 1")                                                                       \
    F(bytes, path, "of its file, below what was asked for; empty: that itself")                              \
    F(bytes, text, "without its end, and as much of it as is allowed")                                       \
    F(u8, cut, "1: there is more of it")

#define LOOK_FIELDS_done(F)                                                                                  \
    F(u32, os_errno, "of Linux; 0: nothing failed")                                                          \
    F(u8, truncated, "1: there is more than was asked for, or than there was time for")                      \
    F(u64, skipped, "files that could not be read, hold no text, or are too deep")                           \
    F(bytes, text, "what failed: a path, or what is wrong with the pattern")

enum look_type {
#define L(NAME, name, number, doc) LOOK_##NAME = number,
    LOOK_MESSAGES(L)
#undef L
};

#define LOOK_TYPE_u8 uint8_t
#define LOOK_TYPE_u32 uint32_t
#define LOOK_TYPE_u64 uint64_t
#define LOOK_TYPE_bytes struct wire_bytes

/* Decoded bytes are views into the payload. A frame needs FRAME_MAX bytes of room at most; 0: it does not fit. */
#define F(type, name, doc) LOOK_TYPE_##type name;
#define L(NAME, name, number, doc)                                                                           \
    struct look_msg_##name {                                                                                 \
        LOOK_FIELDS_##name(F)                                                                                \
    };                                                                                                       \
    bool look_##name##_decode(struct look_msg_##name *ret, const struct frame *f);                           \
    size_t look_##name##_frame(const struct look_msg_##name *m, void *out, size_t capacity);
LOOK_MESSAGES(L)
#undef L
#undef F

#endif
