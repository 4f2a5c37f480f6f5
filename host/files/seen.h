/*
 * seen: the digests of a directory's files as they were when they were last read, by device and inode: who has the same size, mtime
 * and ctime still has the same content, and is not read again. ctime, which nobody can set, finds what puts back an mtime.
 */
#ifndef CAPSID_FILES_SEEN_H
#define CAPSID_FILES_SEEN_H

#include "files/files.h"

#include <sys/stat.h>

/* In a transaction (records_begin()). 1: *ret is the digest; 0: it is not known; -1. */
int seen_find(struct files *f, const struct stat *st, char ret[static DIGEST_HEX_SIZE], struct error *e);

/* Remembers it, unless the file changed so shortly before now (ns since 1970) that another change may have the same time. */
int seen_put(struct files *f, const struct stat *st, int64_t now, const char *digest, struct error *e);

#endif
