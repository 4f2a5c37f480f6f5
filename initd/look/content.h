/* content: the bytes of regular files. Nothing else is opened. */
#ifndef LOOK_CONTENT_H
#define LOOK_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* -1 with errno. With follow the last component may be a symbolic link. */
int content_open(int directory, const char *name, bool follow);

/* As much as there is, up to size; -1 with errno. */
int64_t content_read(int fd, void *data, size_t size);

#endif
