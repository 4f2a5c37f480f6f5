/*
 * fields: JSON objects against tables of what they may hold. Messages name the field, and are text of one line. Pure, as
 * body.h.
 */
#ifndef CAPSID_API_FIELDS_H
#define CAPSID_API_FIELDS_H

#include "service/refusal.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

/* A target is a char * (owned by the caller, NULL before), a uint64_t, a bool, the opposite of one, or left to the caller. */
enum field_kind { FIELD_TEXT, FIELD_NUMBER, FIELD_BOOL, FIELD_NOT, FIELD_OTHER };

struct field {
    const char *name;
    enum field_kind kind;
    void *target;
    uint64_t min, max; /* of a number; of the bytes of a text */
};

#define FIELD_IS_OTHER(name) name, FIELD_OTHER, NULL, 0, 0
#define FIELD_IS_FLAG(name, kind, target) name, kind, target, 0, 0

/* An object, within the bounds of body.h; the caller's to release. NULL: the refusal is set. */
json_t *fields_parse(const char *data, size_t size, struct refusal *r);

/*
 * Fills the targets of the members that are there and not null. The fields end with one without a name. where is "" or
 * says which part of the body j is, for messages about members that are not in the table.
 */
int fields_take(const struct field *fields, json_t *j, const char *where, struct refusal *r);

/* A member that is there and not null, borrowed; else NULL. */
json_t *fields_member(const json_t *j, const char *name);

/* Adds a text, or what it stands for when encoding is "base64", to ret. encoding may be NULL: "utf-8". */
int fields_content(const char *name, const json_t *v, const json_t *encoding, struct buffer *ret,
                   struct refusal *r);

#endif
