/*
 * entries: what a directory holds, one after the other.
 */
#ifndef INITD_ENTRIES_H
#define INITD_ENTRIES_H

#include "sys.h"

#include <sys/types.h>

struct entries {
    int dir_fd; /* borrowed */
    ssize_t size, at;
    char buffer[1024] __attribute__((aligned(8)));
};

/* From the position on that dir_fd has. */
void entries_start(struct entries *e, int dir_fd);

/* The next one that is neither "." nor "..", valid until the next call. NULL: there are no more, or there was an error and
 * e->size is -errno. */
const struct sys_dirent *entries_next(struct entries *e);

#endif
