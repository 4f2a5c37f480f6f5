/* JSON, or words of a command line, to members of structs. */
#include "service/schema.h"

#include "base/cleanup.h"
#include "service/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *schema_member(const json_t *j, const char *name)
{
    json_t *v = name ? json_object_get(j, name) : NULL;

    return json_is_null(v) ? NULL : v;
}

/* ---- one value ------------------------------------------------------------------------------------ */

/* key is the name by which the field was given. */
static int take_number(const struct schema_field *f, const char *key, const json_t *v,
                       const struct request_limits *limits, uint64_t *ret, struct refusal *r)
{
    double real = json_real_value(v);
    bool whole = json_is_real(v) && real > -1e15 && real < 1e15 && real == (double)(json_int_t)real;
    json_int_t n = whole ? (json_int_t)real : json_integer_value(v);
    uint64_t max = f->max;

    if (f->limited && limits)
        max = *(const uint64_t *)((const char *)limits + f->limit);
    if (!json_is_integer(v) && !whole) /* 1.0 is whole, as JSON Schema has it */
        return refuse(r, REFUSAL_INVALID, "\"%s\" must be a whole number", key);
    if (n < 0 || (uint64_t)n < f->min || (uint64_t)n > max)
        return refuse(r, REFUSAL_INVALID, "\"%s\" is %" JSON_INTEGER_FORMAT ", but must be from %llu to %llu",
                      key, n, (unsigned long long)f->min, (unsigned long long)max);
    *ret = (uint64_t)n;
    return 0;
}

static int take_text(const struct schema_field *f, const char *key, const json_t *v, const char **ret,
                     struct refusal *r)
{
    size_t size = json_string_length(v);

    if (!json_is_string(v))
        return refuse(r, REFUSAL_INVALID, "\"%s\" must be a string", key);
    if (size < f->min || size > f->max)
        return refuse(r, REFUSAL_INVALID, "\"%s\" must have %llu to %llu bytes", key,
                      (unsigned long long)f->min, (unsigned long long)f->max);
    if (*ret)
        return refuse(r, REFUSAL_INVALID, "\"%s\" is given twice, under two names", key);
    *ret = text_copy(json_string_value(v));
    return 0;
}

int schema_take_bytes(const char *name, const json_t *text, const json_t *encoding, struct buffer *ret,
                      struct refusal *r)
{
    if (!json_is_string(text))
        return refuse(r, REFUSAL_INVALID, "\"%s\" must be a string", name);
    const char *data = json_string_value(text), *how = encoding ? json_string_value(encoding) : "utf-8";
    if (!how || (strcmp(how, "utf-8") != 0 && strcmp(how, "base64") != 0))
        return refuse(r, REFUSAL_INVALID, "the encoding of \"%s\" must be \"utf-8\" or \"base64\"", name);
    if (strcmp(how, "utf-8") == 0)
        buffer_add(ret, data, json_string_length(text));
    else if (!text_base64_decode(data, json_string_length(text), ret))
        return refuse(r, REFUSAL_INVALID, "\"%s\" is not base64", name);
    return 0;
}

static int take_bytes(const struct schema_field *f, const json_t *v, const json_t *j, struct buffer *ret,
                      struct refusal *r)
{
    if (schema_take_bytes(f->name, v, schema_member(j, f->also), ret, r) < 0)
        return -1;
    if (f->max && ret->size > f->max)
        return refuse(r, REFUSAL_TOO_LARGE, "\"%s\" is larger than %llu MiB", f->name,
                      (unsigned long long)f->max >> 20);
    return 0;
}

/* ---- lists and maps ------------------------------------------------------------------------------- */

static int check_words(const struct schema_field *f, size_t count, size_t size, struct refusal *r)
{
    if (count > f->entries || size > f->max)
        return refuse(r, REFUSAL_INVALID, "\"%s\" has more than %zu entries or %llu bytes", f->name,
                      f->entries, (unsigned long long)f->max);
    return 0;
}

static int take_words(const struct schema_field *f, const json_t *v, const char *const **ret,
                      struct refusal *r)
{
    size_t count = json_array_size(v), size = 0, i;
    json_t *one;

    if (!json_is_array(v))
        return refuse(r, REFUSAL_INVALID, "\"%s\" must be a list of strings", f->name);
    if (check_words(f, count, 0, r) < 0)
        return -1;
    const char **list = memory_allocate((count + 1) * sizeof(*list));
    *ret = list;
    json_array_foreach(v, i, one)
    {
        if (!json_is_string(one))
            return refuse(r, REFUSAL_INVALID, "\"%s\" must be a list of strings", f->name);
        list[i] = text_copy(json_string_value(one));
        size += json_string_length(one) + 1;
    }
    return check_words(f, count, size, r);
}

static int take_pairs(const struct schema_field *f, json_t *v, const char *const **ret, struct refusal *r)
{
    size_t count = json_object_size(v), size = 0, i = 0;
    const char *name;
    json_t *one;

    if (!json_is_object(v))
        return refuse(r, REFUSAL_INVALID, "\"%s\" must be an object of strings", f->name);
    if (check_words(f, count, 0, r) < 0)
        return -1;
    const char **map = memory_allocate((count + 1) * sizeof(*map));
    *ret = map;
    json_object_foreach(v, name, one)
    {
        if (!json_is_string(one) || !f->is_key(name))
            return refuse(r, REFUSAL_INVALID, "\"%s\" must be an object of strings, whose names have %s",
                          f->name, f->keys);
        map[i] = text_format("%s=%s", name, json_string_value(one));
        size += strlen(map[i++]) + 1;
    }
    return check_words(f, count, size, r);
}

static size_t size_of(const char *const *map, size_t *ret_count)
{
    size_t size = 0;

    for (*ret_count = 0; map && map[*ret_count]; ++*ret_count)
        size += strlen(map[*ret_count]) + 1;
    return size;
}

int schema_add_pair(const struct schema_field *f, const char *const **map, const char *pair, struct error *e)
{
    const char *equals = strchr(pair, '=');
    cleanup_free char *name = equals ? text_format("%.*s", (int)(equals - pair), pair) : NULL;

    if (!name || !f->is_key(name))
        return error_set(e, ERROR_USAGE, "--%s %.64s: must be %s, the name of %s", f->flag, pair, f->argument,
                         f->keys);
    return schema_add_word(f, map, pair, e);
}

int schema_add_word(const struct schema_field *f, const char *const **list, const char *word, struct error *e)
{
    size_t count, size = size_of(*list, &count);

    if (count == f->entries || size + strlen(word) >= f->max)
        return error_set(e, ERROR_USAGE, "--%s: more than %zu times, or %llu bytes", f->flag, f->entries,
                         (unsigned long long)f->max);
    const char **longer = memory_allocate((count + 2) * sizeof(*longer));
    for (size_t i = 0; i < count; i++)
        longer[i] = (*list)[i];
    longer[count] = text_copy(word);
    free((void *)*list);
    *list = longer;
    return 0;
}

static int take_choice(const struct schema_field *f, const char *key, const json_t *v, unsigned *ret,
                       struct refusal *r)
{
    cleanup_buffer struct buffer names = {0};

    if (json_is_string(v) && schema_choose(f, json_string_value(v), ret))
        return 0;
    for (unsigned i = 0; i < f->names_count; i++)
        buffer_add_text(&names, "%s%s", i ? ", " : "", f->names[i]);
    return refuse(r, REFUSAL_INVALID, "\"%s\" must be one of: %s", key, names.data);
}

/* ---- all of an object ------------------------------------------------------------------------------ */

static int take_field(const struct schema_field *f, const char *key, json_t *v, const json_t *j, void *member,
                      const struct request_limits *limits, struct refusal *r)
{
    switch (f->kind) {
    case SCHEMA_TEXT:
        return take_text(f, key, v, member, r);
    case SCHEMA_NUMBER:
    case SCHEMA_SIZE:
        return take_number(f, key, v, limits, member, r);
    case SCHEMA_BOOL:
    case SCHEMA_UNLESS:
        if (!json_is_boolean(v))
            return refuse(r, REFUSAL_INVALID, "\"%s\" must be true or false", key);
        *(bool *)member = json_is_true(v) == (f->kind == SCHEMA_BOOL);
        return 0;
    case SCHEMA_CHOICE:
        return take_choice(f, key, v, member, r);
    case SCHEMA_BYTES:
        return take_bytes(f, v, j, member, r);
    case SCHEMA_WORDS:
        return take_words(f, v, member, r);
    case SCHEMA_PAIRS:
        return take_pairs(f, v, member, r);
    default: /* FILES and STDINS; what else there is stands in results */
        return 0;
    }
}

/* The field with that name; *encoding: the name is that of the field that says how it is encoded. */
static const struct schema_field *field_of(enum schema_object object, const char *key, bool *encoding)
{
    schema_each(object, f)
    {
        bool also = f->also && strcmp(f->also, key) == 0;
        *encoding = also && schema_is_encoded(f);
        if (also || strcmp(f->name, key) == 0)
            return f;
    }
    return NULL;
}

static int refuse_unknown(const char *key, const char *where, struct refusal *r)
{
    char name[65];

    snprintf(name, sizeof(name), "%s", key);
    text_make_plain(name);
    return refuse(r, REFUSAL_INVALID, "unknown field \"%s\"%s", name, where);
}

int schema_take(enum schema_object object, void *ret, const json_t *j, const char *where,
                const struct request_limits *limits, struct refusal *r)
{
    const char *key;
    bool encoding;
    json_t *v;

    schema_each(object, f)
    {
        if (f->fallback)
            *(uint64_t *)((char *)ret + f->offset) = f->fallback;
    }
    json_object_foreach((json_t *)j, key, v)
    {
        const struct schema_field *f = field_of(object, key, &encoding);
        if (!f)
            return refuse_unknown(key, where, r);
        if (!encoding && !json_is_null(v) && take_field(f, key, v, j, (char *)ret + f->offset, limits, r) < 0)
            return -1;
    }
    schema_each(object, f)
    {
        if (f->required && !schema_member(j, f->name) && !schema_member(j, f->also))
            return refuse(r, REFUSAL_INVALID, "\"%s\" is required%s", f->name, where);
    }
    return 0;
}

static void free_words(const char *const *words)
{
    for (const char *const *w = words; w && *w; w++)
        free((void *)*w);
    free((void *)words);
}

void schema_done(enum schema_struct of, void *members)
{
    for (const struct schema_field *f = schema_fields; f->name; f++) {
        void *member = (char *)members + f->offset;
        if (f->of != of)
            continue;
        if (f->kind == SCHEMA_TEXT) {
            free((void *)*(const char **)member);
            *(const char **)member = NULL;
        } else if (f->kind == SCHEMA_WORDS || f->kind == SCHEMA_PAIRS) {
            free_words(*(const char *const **)member);
            *(const char *const **)member = NULL;
        } else if (f->kind == SCHEMA_BYTES) {
            buffer_free(member);
        }
    }
}

/* ---- what another program printed ------------------------------------------------------------------ */

static int read_integer(const struct schema_field *f, const json_t *v, int *ret)
{
    json_int_t n = json_integer_value(v);

    if (!json_is_integer(v) || n < (json_int_t)f->min || n > (json_int_t)f->max)
        return -1;
    *ret = (int)n;
    return 0;
}

static int read_field(const struct schema_field *f, const json_t *v, void *member)
{
    bool text = json_is_string(v);

    switch (f->kind) {
    case SCHEMA_INTEGER:
        return read_integer(f, v, member);
    case SCHEMA_CHOICE:
        if (text)
            *(unsigned *)member = schema_choice(f, json_string_value(v));
        return text ? 0 : -1;
    case SCHEMA_BOOL:
        *(bool *)member = json_is_true(v);
        return json_is_boolean(v) ? 0 : -1;
    case SCHEMA_TEXT:
        *(const char **)member = json_string_value(v);
        return text ? 0 : -1;
    default:
        return 0;
    }
}

int schema_read(enum schema_object object, enum schema_struct of, const json_t *j, void *ret)
{
    schema_each(object, f)
    {
        const json_t *v = schema_member(j, f->name);
        if (f->of == of && v && read_field(f, v, (char *)ret + f->offset) < 0)
            return -1;
    }
    return 0;
}
