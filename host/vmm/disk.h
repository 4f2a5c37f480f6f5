/*
 * disk: the scratch disk of a VM, which takes what its programs change: an ext4 filesystem in a sparse file, the
 * device that initd.upper= names (initd/README.md).
 */
#ifndef CAPSID_DISK_H
#define CAPSID_DISK_H

#include "base/deadline.h"
#include "base/error.h"

#include <stdint.h>

#define DISK_MIB_MIN 16 /* ext4 without a journal needs less; a program does not */
#define DISK_MIB_MAX (1u << 20)

/* Makes an empty disk of mib MiB in a new file. It takes less than 1 MiB of the host's disk until it is written to. */
int disk_make(const char *path, uint64_t mib, const struct cancel *cancel, struct error *e);

/* The same in a new file of directory. Returns its path; the caller frees it, and removes the file. NULL: error. */
char *disk_make_named(const char *directory, uint64_t mib, const struct cancel *cancel, struct error *e);

/* The same in a file without a name, on the filesystem of directory. Returns an fd that the caller owns. */
int disk_make_nameless(const char *directory, uint64_t mib, const struct cancel *cancel, struct error *e);

/* A new file of directory that is nothing but a hole, as large as the largest disk: it stands for any while a snapshot is made.
 * Returns its path as disk_make_named(). */
char *disk_make_placeholder(const char *directory, struct error *e);

/* Another name in directory for a disk, which who gets it may move away. Returns its path as disk_make_named(). */
char *disk_name_again(const char *path, const char *directory, struct error *e);

/* A copy of a disk in a new file of directory: shared blocks where that filesystem can, otherwise what is not a hole.
 * Returns its path as disk_make_named(). */
char *disk_copy_named(const char *path, const char *directory, struct error *e);

/* The same in a file without a name, on the filesystem of directory. Returns an fd that the caller owns. */
int disk_copy_nameless(const char *path, const char *directory, struct error *e);

#endif
