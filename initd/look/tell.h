/* tell: what the host is told. */
#ifndef LOOK_TELL_H
#define LOOK_TELL_H

#include "look_messages.h"

#include <sys/stat.h>

/* Of a path or a name; target: of a symbolic link, NULL: of another node. */
void tell_entry(const char *name, const struct stat *st, const char *target);

/* At most LOOK_DATA_MAX. */
void tell_data(const void *data, size_t size);

/* text: as much of it as there may be is told. */
void tell_match(const char *path, uint64_t line, const char *text, size_t size);

/* The last word; the program ends. text may be NULL. */
_Noreturn void tell_done(int os_errno, bool truncated, uint64_t skipped, const char *text);

/* The same, of what failed: errno. */
_Noreturn void tell_failed(const char *path);

#endif
