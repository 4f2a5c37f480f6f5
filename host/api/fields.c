#include "api/fields.h"

#include "api/body.h"
#include "base/jsontext.h"

#include <stdio.h>
#include <string.h>

/* ---- text to values ------------------------------------------------------------------------------ */

static int check_shape(const char *data, size_t size, struct refusal *r)
{
    switch (jsontext_shape(data, size, BODY_VALUES_MAX)) {
    case JSONTEXT_DEEP:
        return refuse(r, REFUSAL_INVALID, "the body is nested more than %d deep", JSONTEXT_DEPTH_MAX);
    case JSONTEXT_MANY:
        return refuse(r, REFUSAL_INVALID, "the body holds more than %d values", BODY_VALUES_MAX);
    case JSONTEXT_FINE:
        break;
    }
    return 0;
}

json_t *fields_parse(const char *data, size_t size, struct refusal *r)
{
    json_error_t error;

    if (size > BODY_SIZE_MAX) {
        refuse(r, REFUSAL_TOO_LARGE, "the body is larger than %u MiB", BODY_SIZE_MAX >> 20);
        return NULL;
    }
    if (size == 0) {
        refuse(r, REFUSAL_INVALID, "the body is empty, but must be a JSON object");
        return NULL;
    }
    if (check_shape(data, size, r) < 0)
        return NULL;
    json_t *j = json_loadb(data, size, JSON_REJECT_DUPLICATES, &error);
    if (!j) {
        enum json_error_code code = json_error_code(&error);
        text_make_plain(error.text);
        if (code == json_error_null_character || code == json_error_null_byte_in_key)
            refuse(r, REFUSAL_INVALID, "the body holds a NUL character (\\u0000); send such data as base64");
        else
            refuse(r, REFUSAL_INVALID, "the body is not JSON: line %d, column %d: %s", error.line,
                   error.column, error.text);
        return NULL;
    }
    if (json_is_object(j))
        return j;
    json_decref(j);
    refuse(r, REFUSAL_INVALID, "the body must be a JSON object");
    return NULL;
}

/* ---- one field ----------------------------------------------------------------------------------- */

static int take_number(const struct field *f, const json_t *v, struct refusal *r)
{
    double real = json_real_value(v);
    bool whole = json_is_real(v) && real > -1e15 && real < 1e15 && real == (double)(json_int_t)real;
    json_int_t n = whole ? (json_int_t)real : json_integer_value(v);

    if (!json_is_integer(v) && !whole) /* 1.0 is whole, as JSON Schema has it */
        return refuse(r, REFUSAL_INVALID, "\"%s\" must be a whole number", f->name);
    if (n < 0 || (uint64_t)n < f->min || (uint64_t)n > f->max)
        return refuse(r, REFUSAL_INVALID, "\"%s\" is %" JSON_INTEGER_FORMAT ", but must be from %llu to %llu",
                      f->name, n, (unsigned long long)f->min, (unsigned long long)f->max);
    *(uint64_t *)f->target = (uint64_t)n;
    return 0;
}

static int take_text(const struct field *f, const json_t *v, struct refusal *r)
{
    size_t size = json_string_length(v);
    char **target = f->target;

    if (!json_is_string(v))
        return refuse(r, REFUSAL_INVALID, "\"%s\" must be a string", f->name);
    if (size < f->min || size > f->max)
        return refuse(r, REFUSAL_INVALID, "\"%s\" must have %llu to %llu bytes", f->name,
                      (unsigned long long)f->min, (unsigned long long)f->max);
    if (*target)
        return refuse(r, REFUSAL_INVALID, "\"%s\" is given twice, under two names", f->name);
    *target = text_copy(json_string_value(v));
    return 0;
}

static int take_field(const struct field *f, const json_t *v, struct refusal *r)
{
    switch (f->kind) {
    case FIELD_TEXT:
        return take_text(f, v, r);
    case FIELD_NUMBER:
        return take_number(f, v, r);
    case FIELD_BOOL:
    case FIELD_NOT:
        if (!json_is_boolean(v))
            return refuse(r, REFUSAL_INVALID, "\"%s\" must be true or false", f->name);
        *(bool *)f->target = json_is_true(v) == (f->kind == FIELD_BOOL);
        return 0;
    case FIELD_OTHER:
        return 0;
    }
    return 0;
}

int fields_take(const struct field *fields, json_t *j, const char *where, struct refusal *r)
{
    const char *key;
    json_t *v;

    json_object_foreach(j, key, v)
    {
        const struct field *f = fields;
        while (f->name && strcmp(f->name, key) != 0)
            f++;
        if (!f->name) {
            char name[65];
            snprintf(name, sizeof(name), "%s", key);
            text_make_plain(name);
            return refuse(r, REFUSAL_INVALID, "unknown field \"%s\"%s", name, where);
        }
        if (!json_is_null(v) && take_field(f, v, r) < 0)
            return -1;
    }
    return 0;
}

json_t *fields_member(const json_t *j, const char *name)
{
    json_t *v = json_object_get(j, name);

    return json_is_null(v) ? NULL : v;
}

int fields_content(const char *name, const json_t *v, const json_t *encoding, struct buffer *ret,
                   struct refusal *r)
{
    if (!json_is_string(v))
        return refuse(r, REFUSAL_INVALID, "\"%s\" must be a string", name);
    const char *text = json_string_value(v), *how = encoding ? json_string_value(encoding) : "utf-8";
    if (!how || (strcmp(how, "utf-8") != 0 && strcmp(how, "base64") != 0))
        return refuse(r, REFUSAL_INVALID, "the encoding of \"%s\" must be \"utf-8\" or \"base64\"", name);
    if (strcmp(how, "utf-8") == 0)
        buffer_add(ret, text, json_string_length(v));
    else if (!text_base64_decode(text, json_string_length(v), ret))
        return refuse(r, REFUSAL_INVALID, "\"%s\" is not base64", name);
    return 0;
}
