/* trust: who else could change what a directory holds, as sshd's StrictModes has it. Private to store/. */
#ifndef CAPSID_STORE_TRUST_H
#define CAPSID_STORE_TRUST_H

#include "base/error.h"

#include <stdbool.h>

/*
 * Fails, with the remedy, unless the directory belongs to this process's user, and nobody else may write into it. A group that
 * nobody else is in (base/accounts.h) may.
 */
int trust_directory(const char *path, struct error *e);

/*
 * The same for those above it, path being absolute and without symbolic links: each belongs to this user or root, and
 * others may write into it only when they cannot take away what is not theirs (the sticky bit, as of /tmp).
 */
int trust_parents(const char *path, struct error *e);

#endif
