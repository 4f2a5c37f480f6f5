/* state_json: an entry of a directory state as JSON, as a server shows it and as it takes it. */
#ifndef CAPSID_SERVICE_STATE_JSON_H
#define CAPSID_SERVICE_STATE_JSON_H

#include "files/states.h"

#include <jansson.h>

/* Texts that are no UTF-8 are in base64, and "encoding" says so. */
json_t *state_entry_json(const struct state_entry *i);

#endif
