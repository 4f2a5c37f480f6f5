/* file: whole files, trees and digests. */
#ifndef CAPSID_FILE_H
#define CAPSID_FILE_H

#include "base/deadline.h"
#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define DIGEST_HEX_SIZE 65 /* SHA-256 in lower-case hex, with its NUL */

/*
 * Opens a regular file, and nothing else: what stands in its place (a FIFO, a device, a directory) is neither waited for
 * nor touched. flags as of open(2), close-on-exec; O_CREAT makes it with mode 0600; with O_NOFOLLOW a symbolic link is
 * none. -1 with the error, and with errno, EINVAL for what is no regular file. Every path that this program did not make
 * itself a moment ago is opened so.
 */
int file_open(const char *path, int flags, struct error *e);

/* Reads a whole regular file of at most max bytes into *ret (which must be empty). path "-" is not special. */
int file_read(const char *path, size_t max, struct buffer *ret, struct error *e);

/* The same from an open fd, up to its end. name is for messages. */
int file_read_fd(int fd, const char *name, size_t max, struct buffer *ret, struct error *e);

/* The same from a pipe or a terminal, where nothing may come for ever. */
int file_read_input(int fd, const char *name, size_t max, const struct cancel *cancel, struct buffer *ret,
                    struct error *e);

/* Writes size bytes to fd, however often it takes. */
int file_write_fd(int fd, const void *data, size_t size);

/* Replaces path by data: written in the directory scratch (on the same filesystem; its owner removes what a
 * crash leaves there), synced and renamed. */
int file_replace(const char *path, const char *scratch, const void *data, size_t size, mode_t mode,
                 struct error *e);

/* Makes a directory and its missing parents, mode 0700 for those it makes. */
int file_make_directories(const char *path, struct error *e);

/*
 * Removes a tree without following symlinks or crossing mounts (before Linux 5.8, that of another filesystem): errno is
 * EXDEV when something is mounted in it, or on it, and all else is gone. A missing path is fine.
 */
int file_remove_tree(const char *path, struct error *e);

/* The same for an entry of a directory; -1 with errno. */
int file_remove_tree_at(int parent, const char *name);

/*
 * Gives a file, or a directory with what is in it, two directories deep, to another user. Whose they were may have put links there: these are not
 * followed. -1 with errno.
 */
int file_give_to(const char *path, uid_t uid, gid_t gid);

/*
 * Seals a memory file of memfd_create(2) against every change, of its size and of the seals too; -1 with errno. Pages that
 * the kernel is busy with make that fail for a moment (EBUSY, fcntl(2)); tries again for up to a second.
 */
int file_seal(int fd);

/* A file in memory that nobody can change; -1 with errno. */
int file_sealed(const char *name, const void *data, size_t size);

bool file_exists(const char *path);

/* Fails, naming what there is and what is needed, unless the filesystem of path has that many bytes free. */
int file_require_space(const char *path, uint64_t bytes, struct error *e);

/* Bytes that the file takes on its disk. */
uint64_t file_allocated(const char *path);

/* fsync(2) of a file or a directory: a new or renamed entry outlives a power cut once its directory is synced. */
int file_sync(const char *path, struct error *e);

/*
 * Makes the pages of zeros of an open file (for reading and writing) into holes; what can be read from it stays the
 * same. A filesystem that has no holes is left as it is.
 */
int file_punch_zeros(int fd, const char *name, struct error *e);

/* Whether s is a SHA-256 as this program writes it: 64 digits, lower case. */
bool digest_is_hex(const char *s);

/* The UUID of what has that digest (RFC 9562, version 8): equal bytes are the same thing, on any machine. */
#define UUID_SIZE 37
void digest_uuid(const char digest[static DIGEST_HEX_SIZE], char ret[static UUID_SIZE]);

/* SHA-256 of size bytes, or of everything in an fd from its current position; cancel may be NULL. */
void digest_bytes(const void *data, size_t size, char ret[static DIGEST_HEX_SIZE]);
int digest_fd(int fd, const struct cancel *cancel, char ret[static DIGEST_HEX_SIZE], struct error *e);

/*
 * A digest of a large file that is mostly holes, in the time that its data takes: SHA-256 of its size and of every page
 * of 4096 bytes that is not all zeros, behind its offset; numbers are 64 bits, little-endian. What is a hole and
 * what zeros makes no difference.
 */
int digest_sparse_fd(int fd, const struct cancel *cancel, char ret[static DIGEST_HEX_SIZE], struct error *e);

#endif
