/*
 * look_stream: what the program that looks at an image's files in a guest (initd/look) answers. It comes from a guest, so it is taken for
 * hostile: every message, name and number is bounded and checked before a visitor sees it.
 */
#ifndef CAPSID_LOOK_STREAM_H
#define CAPSID_LOOK_STREAM_H

#include "base/error.h"
#include "look_messages.h"

#include <stdbool.h>
#include <stdint.h>

struct look_file {
    const char *name; /* path: below what was asked for, as a/b, no part of it "." or ".."; "": that itself */
    uint32_t mode;    /* as st_mode of stat(2), with one of the types that there are */
    uint32_t uid, gid;
    uint64_t size; /* bytes of a regular file */
    int64_t mtime_s;
    uint32_t mtime_ns;
    uint32_t major, minor; /* of a device */
    const char *target;    /* of a symbolic link, not empty; otherwise NULL */
};

struct look_match {
    const char *path; /* as a file's name */
    uint64_t line;    /* from 1 */
    const char *text; /* without its end; not NUL-terminated */
    size_t size;
    bool cut; /* there is more of it */
};

/* Strings and bytes live until the call returns, and may hold anything but NUL, also newlines and what is no UTF-8. -1 with an error ends
 * it all. What is NULL is not told. */
struct look_visitor {
    int (*on_file)(void *context, const struct look_file *f, struct error *e);
    int (*on_data)(void *context, const void *data, size_t size, struct error *e);
    int (*on_match)(void *context, const struct look_match *m, struct error *e);
    void *context;
};

/* What was asked. */
enum look_question {
    LOOK_LIST, /* itself, and the entries of a directory in the order of their bytes */
    LOOK_READ, /* itself, a regular file, and its bytes */
    LOOK_WALK, /* itself, and all below it, a directory before what it holds; behind regular files all their bytes */
    LOOK_GREP, /* matches */
};

struct look_bounds {
    uint64_t files; /* list, without itself: how many */
    uint64_t
        bytes; /* read: of the content; walk: of all contents, each node counting for LOOK_NODE_BYTES more */
    uint64_t matches;  /* grep */
    const char *after; /* list: which name the first one comes after; NULL: any */
};

#define LOOK_NODE_BYTES 512

struct look_end {
    bool truncated;   /* there is more than was asked for, or than there was time for */
    uint64_t skipped; /* files that could not be read, hold no text, or are too deep */
};

struct look_stream; /* an answer that is coming */

/* visitor is borrowed; never NULL. */
struct look_stream *look_stream_open(enum look_question question, const struct look_bounds *bounds,
                                     const struct look_visitor *visitor);

/* The next bytes. ERROR_VM_LOST: they break the rules; or as the visitor says; ERROR_BUSY: the bytes of the bounds are reached. */
int look_stream_take(struct look_stream *s, const void *data, size_t size, struct error *e);

/* When all bytes were taken. ERROR_NOT_FOUND, ERROR_USAGE (the pattern, or what is no directory or file) or ERROR_GENERAL: the program's
 * answer is that there is none; ERROR_VM_LOST: it is not complete. */
int look_stream_end(const struct look_stream *s, struct look_end *ret, struct error *e);

/* NULL does nothing. */
void look_stream_close(struct look_stream *s);

#endif
