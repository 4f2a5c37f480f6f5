/*
 * jsontext: JSON as bytes. What others wrote is measured before a parser builds anything of it: a value takes some 100
 * bytes of memory, so nine megabytes of "[],[],..." would take half a gigabyte. What we write holds no control character
 * of either set (ECMA-48), so that it can be shown on a terminal.
 */
#ifndef CAPSID_JSONTEXT_H
#define CAPSID_JSONTEXT_H

#include "base/text.h"

#include <jansson.h>
#include <stddef.h>

#define JSONTEXT_DEPTH_MAX 16 /* arrays and objects within each other */

enum jsontext_shape { JSONTEXT_FINE, JSONTEXT_DEEP, JSONTEXT_MANY };

/* Whether the text has at most that depth and that many values: members and elements. No judge of what is JSON. */
enum jsontext_shape jsontext_shape(const char *text, size_t size, size_t values_max);

/* json_loadb(), but NULL for a text of another shape. text may be NULL with size 0. */
json_t *jsontext_parse(const char *text, size_t size, size_t values_max, size_t flags);

/*
 * json_dumps(), with DEL and the C1 set (U+0080 to U+009F) escaped too; jansson escapes U+0000 to U+001F. jsontext_add() adds
 * it to *ret. The caller frees the text; NULL, or -1, for what jansson cannot write.
 */
char *jsontext_format(const json_t *j, size_t flags);
int jsontext_add(struct buffer *ret, const json_t *j, size_t flags);

#endif
