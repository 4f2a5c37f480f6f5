/*
 * unpack: a stream of entries (PROTOCOL.md 4) becomes files, directories and symlinks below one directory.
 *
 * What an entry names is walked to from that directory, name by name, and no symlink on the way is followed: so nothing is made
 * outside of it, whatever the stream says and whatever was there before.
 */
#ifndef INITD_UNPACK_H
#define INITD_UNPACK_H

#include "fault.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#define UNPACK_FIXED 32 /* bytes of an entry before its path */

struct unpack {
    int root;   /* owned, as the next two; -1: none */
    int parent; /* of the last entry; -1: that is root */
    int file;   /* that is being filled */
    uint32_t uid, gid;
    uint64_t left;                         /* bytes of content that are to come */
    size_t have;                           /* bytes in head */
    uint8_t head[UNPACK_FIXED + PATH_MAX]; /* of an entry that is not complete; of a symlink its target */
    char above[PATH_MAX];                  /* the path of parent */
    uint32_t mode, entry_uid, entry_gid;   /* of the entry that is being filled */
    uint64_t mtime_ns;
    char path[PATH_MAX]; /* of the same */
};

/* Opens the directory, which is made when it is missing; unpack_end() is due also after a fault. */
struct fault unpack_begin(struct unpack *u, const char *directory, uint32_t uid, uint32_t gid);

/* The next bytes of the stream. After a fault what was made before stays. */
struct fault unpack_take(struct unpack *u, const uint8_t *data, size_t size);

/* Was the last byte that of an entry? */
bool unpack_is_whole(const struct unpack *u);

void unpack_end(struct unpack *u);

#endif
