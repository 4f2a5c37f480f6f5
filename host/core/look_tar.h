/* look_tar: files of an image as an archive: ustar, and pax where that has no room. */
#ifndef CAPSID_LOOK_TAR_H
#define CAPSID_LOOK_TAR_H

#include "core/look.h"

/* Takes bytes in order; -1 with an error ends it all. */
typedef int look_write(void *context, const void *data, size_t size, struct error *e);

/*
 * What is below path, as look_walk(); path itself is "./", or, where it is no directory, its own name. Sockets are left out; a file of several
 * names is there as often. After a failure what was written is no archive.
 */
int look_archive(struct look *l, const char *path, uint64_t bytes, look_write *write, void *context,
                 struct look_end *ret, struct error *e);

/* What follows the last slash of a path, or "file" where that names nothing. */
const char *look_last_name(const char *path);

#endif
