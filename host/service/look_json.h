/* look_json: what a guest tells of an image's files (core/look.h), as the command line and a server print it. schema.def has the fields. */
#ifndef CAPSID_SERVICE_LOOK_JSON_H
#define CAPSID_SERVICE_LOOK_JSON_H

#include "core/look.h"

#include <jansson.h>

/* New references. */
json_t *look_file_json(const struct look_file *f, const char *name);
json_t *look_match_json(const struct look_match *m, const char *path);

/* All of them, with what is told of all; items is borrowed. */
json_t *look_files_json(json_t *items, const struct look_end *end);
json_t *look_matches_json(json_t *items, const struct look_end *end);

#endif
