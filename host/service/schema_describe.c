/* The tables for readers: JSON Schema and help. */
#include "service/schema.h"

#include "base/cleanup.h"

#include <string.h>

char *schema_words(const struct schema_field *f)
{
    if (f->kind == SCHEMA_UNLESS)
        return text_format("false: %s", f->words);
    if (schema_is_encoded(f) && f->max)
        return text_format("%s (at most %llu MiB)", f->words, (unsigned long long)f->max >> 20);
    return text_copy(f->words);
}

/* ---- JSON Schema of one field --------------------------------------------------------------------- */

static json_t *of_type(const char *type)
{
    return json_pack("{s:s}", "type", type);
}

static void set_number(json_t *j, const char *key, uint64_t n)
{
    json_object_set_new(j, key, json_integer((json_int_t)n));
}

static json_t *bounded(json_t *j, const char *least, const char *most, const struct schema_field *f)
{
    if (f->min)
        set_number(j, least, f->min);
    if (f->max)
        set_number(j, most, f->max);
    return j;
}

static json_t *reference(enum schema_object object)
{
    return json_pack("{s:s++}", "$ref", "#/components/schemas/", schema_objects[object].name, "");
}

static json_t *list_of(json_t *items)
{
    return json_pack("{s:s, s:o}", "type", "array", "items", items);
}

static json_t *choices(const struct schema_field *f)
{
    json_t *names = json_array();

    for (unsigned i = 0; i < f->names_count; i++)
        if (f->names[i][0])
            json_array_append_new(names, json_string(f->names[i]));
    return json_pack("{s:s, s:o}", "type", "string", "enum", names);
}

/* What may stand in the place of each other. */
static json_t *one_of(json_t *first, json_t *second)
{
    return json_pack("{s:[o, o]}", "oneOf", first, second);
}

static json_t *files(void)
{
    return one_of(
        json_pack("{s:s, s:i, s:o}", "type", "array", "minItems", 1, "items", reference(SCHEMA_OBJECT_FILE)),
        json_pack("{s:s, s:i, s:o}", "type", "object", "minProperties", 1, "additionalProperties",
                  of_type("string")));
}

static json_t *texts(const struct schema_field *f, bool taken)
{
    if (!taken)
        return json_object();
    if (!f->entries)
        return of_type("string");
    return one_of(of_type("string"),
                  json_pack("{s:s, s:i, s:I, s:o}", "type", "array", "minItems", 1, "maxItems",
                            (json_int_t)f->entries, "items", of_type("string")));
}

static json_t *type_of(const struct schema_field *f, bool taken)
{
    switch (f->kind) {
    case SCHEMA_TEXT:
        return bounded(of_type("string"), "minLength", "maxLength", f);
    case SCHEMA_BYTES:
    case SCHEMA_SIGNAL:
        return of_type("string");
    case SCHEMA_NUMBER:
    case SCHEMA_SIZE:
    case SCHEMA_INTEGER:
        return bounded(of_type("integer"), "minimum", "maximum", f);
    case SCHEMA_MILLISECONDS:
        return of_type("integer");
    case SCHEMA_BOOL:
    case SCHEMA_MAYBE:
    case SCHEMA_UNLESS:
        return of_type("boolean");
    case SCHEMA_WORDS:
        return json_pack("{s:s, s:o, s:I}", "type", "array", "items", of_type("string"), "maxItems",
                         (json_int_t)f->entries);
    case SCHEMA_PAIRS:
        return json_pack("{s:s, s:o, s:I}", "type", "object", "additionalProperties", of_type("string"),
                         "maxProperties", (json_int_t)f->entries);
    case SCHEMA_FILES:
        return files();
    case SCHEMA_STDINS:
        return texts(f, taken);
    case SCHEMA_CHOICE:
        return choices(f);
    case SCHEMA_DURATION:
        return json_pack("{s:s, s:s}", "type", "string", "pattern", "^[0-9.]+ms$");
    case SCHEMA_COMPILED:
        return reference(SCHEMA_OBJECT_COMPILE);
    case SCHEMA_MOMENT:
        return of_type("number");
    case SCHEMA_REASON:
        return reference(SCHEMA_OBJECT_REASON);
    case SCHEMA_MADE:
        return reference(f->inner);
    case SCHEMA_LIST:
        return list_of(reference(f->inner));
    case SCHEMA_COUNTS:
        return json_pack("{s:s, s:o}", "type", "object", "additionalProperties", of_type("integer"));
    case SCHEMA_COMMAS:
        return list_of(of_type("string"));
    case SCHEMA_ANY:
        break;
    }
    return json_object();
}

/* A type that may be null as well. */
static json_t *or_null(json_t *j)
{
    json_t *type = json_object_get(j, "type"), *all = json_object_get(j, "oneOf");

    if (type)
        json_object_set_new(j, "type", json_pack("[O, s]", type, "null"));
    else if (all)
        json_array_append_new(all, of_type("null"));
    else if (json_object_get(j, "$ref"))
        return one_of(j, of_type("null"));
    return j;
}

static void set_default(json_t *j, const struct schema_field *f)
{
    if (f->kind == SCHEMA_BOOL || f->kind == SCHEMA_UNLESS)
        json_object_set_new(j, "default", json_boolean(f->kind == SCHEMA_UNLESS));
    else if (f->fallback)
        set_number(j, "default", f->fallback);
}

static json_t *describe_field(const struct schema_field *f, bool taken)
{
    json_t *j = type_of(f, taken);

    if (taken && !f->required)
        set_default(j, f);
    if (taken ? !f->required || f->also : f->or_null)
        j = or_null(j);
    cleanup_free char *words = schema_words(f);
    json_object_set_new(j, "description", json_string(words));
    return j;
}

/* ---- of all of an object --------------------------------------------------------------------------- */

static json_t *encoding_of(const struct schema_field *f, bool taken)
{
    if (taken)
        return json_pack("{s:[s, s], s:[s, s, n], s:s++}", "type", "string", "null", "enum", "utf-8",
                         "base64", "description", "how ", f->name, " is encoded");
    return json_pack("{s:s}", "const", "base64");
}

static json_t *also_of(const struct schema_field *f, bool taken)
{
    json_t *j = describe_field(f, taken);

    json_object_set_new(j, "description", json_sprintf("an older name of %s", f->name));
    json_object_del(j, "default");
    return j;
}

static json_t *one_named(const char *name)
{
    return json_pack("{s:[s], s:{s:{s:{s:s}}}}", "required", name, "properties", name, "not", "type", "null");
}

/* A required field, under one of both names at least; the other may be null. */
static json_t *any_of(const struct schema_field *f)
{
    return json_pack("[o, o]", one_named(f->name), one_named(f->also));
}

static void add_field(json_t *properties, json_t *required, const struct schema_field *f, bool taken)
{
    json_object_set_new(properties, f->name, describe_field(f, taken));
    if (f->also)
        json_object_set_new(properties, f->also,
                            schema_is_encoded(f) ? encoding_of(f, taken) : also_of(f, taken));
    if (taken ? f->required && !f->also : !f->left_out)
        json_array_append_new(required, json_string(f->name));
}

json_t *schema_describe(enum schema_object object)
{
    json_t *properties = json_object(), *required = json_array();

    schema_each(object, f)
    {
        add_field(properties, required, f, schema_objects[object].taken);
    }
    json_t *j = json_pack("{s:s, s:s, s:o, s:o}", "type", "object", "description",
                          schema_objects[object].words, "properties", properties, "required", required);
    schema_each(object, f)
    {
        if (f->required && f->also)
            json_object_set_new(j, "anyOf", any_of(f));
    }
    if (!schema_objects[object].many)
        json_object_set_new(j, "additionalProperties", json_false());
    return j;
}

/* ---- help ----------------------------------------------------------------------------------------- */

char *schema_help(const struct schema_field *f)
{
    if (f->help)
        return text_copy(f->help);
    return text_format("%s%s", f->words,
                       f->kind == SCHEMA_SIZE                               ? "; also with M or G"
                       : f->kind == SCHEMA_PAIRS || f->kind == SCHEMA_WORDS ? "; repeatable"
                                                                            : "");
}
