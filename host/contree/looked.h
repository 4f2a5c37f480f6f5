/* looked: files of an image, and lines in them, as ConTree's clients see them. Pure; new references. */
#ifndef CAPSID_CONTREE_LOOKED_H
#define CAPSID_CONTREE_LOOKED_H

#include "core/look_stream.h"

#include <jansson.h>

json_t *contree_file_item(const struct look_file *f);

/* root: the path that was searched. */
json_t *contree_match(const struct look_match *m, const char *root);

#endif
