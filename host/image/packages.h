/*
 * packages: the record of what an image was built from. A text of lines "kind name version sha256", sorted; kind is deb,
 * npm or pip, sha256 that of the package file. It is the lock file's format, too.
 *
 * Of an imported image it names each layer (kind layer; name: its number; version: its bytes; sha256: of its blob) and
 * the packages (deb, apk) that the image's own databases name, whose files are not known: their sha256 is "-".
 */
#ifndef CAPSID_PACKAGES_H
#define CAPSID_PACKAGES_H

#include "base/error.h"

#include <stddef.h>

#define PACKAGES_MAX 20000
#define PACKAGES_TEXT_MAX (8 * 1024 * 1024)

struct package {
    const char *kind; /* borrowed from the list, as all strings here */
    const char *name;
    const char *version;
    const char *sha256; /* lower-case hex, or "-" */
};

struct packages {
    char *text; /* owned; what the strings point into */
    struct package *list;
    size_t count;
};

void packages_done(struct packages *p);

/* Parses a record; path is for messages. Every field is checked, so that it may go into messages and files. */
int packages_parse(struct packages *ret, const char *text, const char *path, struct error *e);

/* The same from a file. */
int packages_read(struct packages *ret, const char *path, struct error *e);

#endif
