/* definition: the INI files of the data directory, DATA/languages and DATA/images. rootfs/README.md describes their keys. */
#ifndef CAPSID_DEFINITION_H
#define CAPSID_DEFINITION_H

#include "base/error.h"
#include "base/file.h"

/* Takes one entry; a failure ends the reading. */
typedef int definition_set(void *context, const char *section, const char *key, const char *value,
                           struct error *e);

/* Calls set for each entry of the file, in order. Of the whole file ret_digest is the SHA-256. Errors name file and line. */
int definition_read(const char *path, definition_set *set, void *context,
                    char ret_digest[static DIGEST_HEX_SIZE], struct error *e);

/* A key that comes again, and a continued line, add to the value; *field is on the heap, or NULL. */
void definition_join(char **field, const char *value);

/* An empty value is as good as none. */
void definition_drop_empty(char **field);

#endif
