/*
 * directory: the host's look into directories of the guest, and the removal of what is there.
 */
#ifndef INITD_DIRECTORY_H
#define INITD_DIRECTORY_H

#include "fault.h"
#include "messages.h"

#include <stddef.h>
#include <stdint.h>

/* LIST: fills buffer with entries, sets *ret_size and *ret_cursor. */
struct fault directory_list(const struct msg_list *m, uint8_t *buffer, size_t size, size_t *ret_size,
                            uint64_t *ret_cursor);

/* REMOVE of a file or an empty directory. 0 or -errno. */
int directory_remove(const char *path);

/* REMOVE_TREE; to be run in a helper, for it can take long. 0 or -errno. */
int directory_remove_tree(const char *path);

#endif
