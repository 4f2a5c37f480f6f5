/*
 * installed: which packages the databases in an image name: dpkg's (also in pieces, as images without a package manager
 * have it) and apk's. That of rpm is not read.
 */
#ifndef CAPSID_OCI_INSTALLED_H
#define CAPSID_OCI_INSTALLED_H

#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>

struct installed {
    struct buffer
        lines;        /* "deb NAME VERSION -" and "apk NAME VERSION -", each with its newline, in no order */
    unsigned skipped; /* entries without a name and version that a record may hold (image/packages.h) */
    bool rpm;         /* there is a database of rpm */
};

/* Reads the databases below root. An image without any has none. The caller frees ret->lines. */
int installed_read(struct installed *ret, int root, struct error *e);

/* The parsers alone, for tests: text is a whole database. */
void installed_parse_dpkg(struct installed *ret, const char *text);
void installed_parse_apk(struct installed *ret, const char *text);

#endif
