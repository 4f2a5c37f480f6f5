/* answer_view: small answers, as they are told. schema.def has the names of the fields. */
#ifndef CAPSID_SERVICE_ANSWER_VIEW_H
#define CAPSID_SERVICE_ANSWER_VIEW_H

#include "base/text.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* (NAME, "as JSON says it") */
#define HEALTH_STATUSES(S)                                                                                   \
    S(OK, "ok")                                                                                              \
    S(STOPPING, "stopping")
#define FILE_KINDS(K)                                                                                        \
    K(REGULAR, "file")                                                                                       \
    K(DIRECTORY, "directory")                                                                                \
    K(SYMLINK, "symlink")                                                                                    \
    K(FIFO, "fifo")                                                                                          \
    K(SOCKET, "socket")                                                                                      \
    K(CHARACTER, "character_device")                                                                         \
    K(BLOCK, "block_device")                                                                                 \
    K(OTHER, "other")

enum health_status {
#define S(name, text) HEALTH_##name,
    HEALTH_STATUSES(S) HEALTH_STATUSES_COUNT
#undef S
};
enum file_kind {
#define K(name, text) FILE_IS_##name,
    FILE_KINDS(K) FILE_KINDS_COUNT
#undef K
};

/* All that is in them is borrowed. */

/* A list of objects. */
struct listing_view {
    json_t *items;
    uint64_t count;
    bool truncated;     /* of a directory, and what is found */
    uint64_t skipped;   /* of an image: what could not be looked at */
    uint64_t allocated; /* of images: bytes on disk, those of several names once */
};

/* Programs that run and wait. */
struct queue_view {
    uint64_t workers, busy, waiting, limit;
};

struct health_view {
    enum health_status status;
    const char *version;
    uint64_t uptime; /* seconds */
    json_t *queue;   /* of a struct queue_view */
    json_t *pool;    /* VMs that are ready, by language */
};

/* A command that goes on after its request was answered. */
struct background_view {
    unsigned status; /* 0: it runs, the only one that there is */
    uint64_t pid;
    const char *trace_id;
};

/* A file of a session; a directory's entry has a name. */
struct file_view {
    struct buffer name;
    enum file_kind kind;
    const char *mode; /* octal */
    uint64_t size;
    uint64_t modified; /* seconds since 1970 */
    uint64_t uid, gid;
    struct buffer target; /* of a symbolic link; no data: none */
};

/* A line of an image's file. */
struct match_view {
    struct buffer path, text;
    uint64_t line;
    bool cut; /* there is more of it */
};

#endif
