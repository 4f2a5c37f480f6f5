/* look_copy: files of an image as files of this machine. */
#ifndef CAPSID_LOOK_COPY_H
#define CAPSID_LOOK_COPY_H

#include "core/look.h"

/*
 * Copies a file to destination, or into it where that is a directory; with recursive a directory with all below it, which must not be there
 * yet. Nothing is made outside of that, and no symbolic link that the image has is followed. Files belong to who calls, with the permissions that
 * they have, without set-user-ID, set-group-ID and sticky bits; directories can be written by their owner. Devices, FIFOs and sockets are
 * left out, and count as skipped. What fails leaves nothing behind.
 */
int look_copy(struct look *l, const char *path, const char *destination, bool recursive, uint64_t bytes,
              struct look_end *ret, struct error *e);

#endif
