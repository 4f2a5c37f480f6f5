/* Members of structs to JSON. */
#include "service/schema.h"

#include "base/cleanup.h"
#include "service/answer_view.h"
#include "service/refusal_view.h"
#include "service/request.h"
#include "service/result.h"

#include <stdio.h>
#include <string.h>

/* ---- bytes ---------------------------------------------------------------------------------------- */

static void put_text(json_t *j, const struct schema_field *f, const struct buffer *b)
{
    json_object_set_new(j, f->name, json_stringn(b->data ? b->data : "", b->size));
}

static void put_base64(json_t *j, const struct schema_field *f, const struct buffer *b)
{
    cleanup_free char *encoded = text_base64(b->data, b->size);

    json_object_set_new(j, f->name, json_string(encoded));
    json_object_set_new(j, f->also, json_string("base64"));
}

/* How long the bytes are as a JSON string; SIZE_MAX: they are no text that a server takes. */
static size_t escaped_size(const struct buffer *b)
{
    size_t size = b->size;

    if (b->size && (text_utf8_prefix(b->data, b->size) != b->size || memchr(b->data, '\0', b->size)))
        return SIZE_MAX;
    for (size_t i = 0; i < b->size; i++) {
        unsigned char c = (unsigned char)b->data[i];
        if (c < ' ')
            size += c == '\n' || c == '\t' || c == '\r' ? 1 : 5;
        else if (c == '"' || c == '\\')
            size += 1;
    }
    return size;
}

void schema_put_bytes(json_t *j, const struct schema_field *f, const struct buffer *b)
{
    if (escaped_size(b) <= b->size / 3 * 4 + 64)
        put_text(j, f, b);
    else
        put_base64(j, f, b);
}

/* ---- one value ------------------------------------------------------------------------------------ */

static json_t *duration(int64_t ns)
{
    char text[32];
    double ms = (double)ns / 1e6;

    snprintf(text, sizeof(text), ms < 10 ? "%.1fms" : "%.0fms", ms);
    return json_string(text);
}

static json_t *signal_name(int number)
{
    const char *name = sigabbrev_np(number);

    return json_sprintf("SIG%s", name ? name : "?");
}

static int append_word(json_t *list, const char *word)
{
    return json_array_append_new(list, json_string(word));
}

static json_t *list_of(const char *const *words)
{
    json_t *j = json_array();

    for (; *words; words++) {
        if (append_word(j, *words) < 0) {
            json_decref(j);
            return NULL;
        }
    }
    return j;
}

/* Of several with one name the last counts. */
static json_t *map_of(const char *const *pairs)
{
    json_t *j = json_object();

    for (; *pairs; pairs++) {
        const char *equals = strchr(*pairs, '=');
        cleanup_free char *name = text_format("%.*s", (int)(equals - *pairs), *pairs);
        if (json_object_set_new(j, name, json_string(equals + 1)) < 0) {
            json_decref(j);
            return NULL;
        }
    }
    return j;
}

/* NULL is an empty list. */
static json_t *list_of_commas(const char *text)
{
    cleanup_free char *copy = text_copy(text ? text : "");
    json_t *j = json_array();
    char *state = NULL;

    for (char *word = strtok_r(copy, ",", &state); word; word = strtok_r(NULL, ",", &state)) {
        if (append_word(j, text_trim(word)) < 0) {
            json_decref(j);
            return NULL;
        }
    }
    return j;
}

static json_t *stdin_of(const struct request_stdins *s)
{
    return json_incref(s->batch ? json_array_get(s->given, s->which) : s->given);
}

/* NULL: no UTF-8. */
static json_t *value_of(const struct schema_field *f, const void *member)
{
    switch (f->kind) {
    case SCHEMA_TEXT:
        return json_string(*(const char *const *)member);
    case SCHEMA_NUMBER:
    case SCHEMA_SIZE:
        return json_integer((json_int_t) * (const uint64_t *)member);
    case SCHEMA_BOOL:
    case SCHEMA_UNLESS:
        return json_boolean(*(const bool *)member == (f->kind == SCHEMA_BOOL));
    case SCHEMA_MAYBE:
        return json_boolean(*(const int *)member > 0);
    case SCHEMA_WORDS:
        return list_of(*(const char *const *const *)member);
    case SCHEMA_PAIRS:
        return map_of(*(const char *const *const *)member);
    case SCHEMA_COMMAS:
        return list_of_commas(*(const char *const *)member);
    case SCHEMA_INTEGER:
        return json_integer(*(const int *)member);
    case SCHEMA_SIGNAL:
        return signal_name(*(const int *)member);
    case SCHEMA_CHOICE:
        return json_string(f->names[*(const unsigned *)member]);
    case SCHEMA_DURATION:
        return duration(*(const int64_t *)member);
    case SCHEMA_MILLISECONDS:
        return json_integer((*(const int64_t *)member + 500000) / 1000000);
    case SCHEMA_MOMENT:
        return json_real((double)(*(const int64_t *)member / 1000000) / 1000);
    case SCHEMA_MADE:
    case SCHEMA_LIST:
    case SCHEMA_COUNTS:
    case SCHEMA_ANY:
        return json_incref(*(json_t *const *)member);
    case SCHEMA_REASON:
        return schema_json(SCHEMA_OBJECT_REASON, SCHEMA_OF_REFUSAL,
                           *(const struct refusal_view *const *)member, NULL);
    case SCHEMA_COMPILED:
        return schema_json(SCHEMA_OBJECT_COMPILE, SCHEMA_OF_PHASE,
                           *(const struct result_phase *const *)member, NULL);
    case SCHEMA_STDINS:
        return stdin_of(member);
    case SCHEMA_BYTES: /* has a field beside it: put_field() */
    case SCHEMA_FILES:
        break;
    }
    return NULL;
}

/* ---- all of an object ------------------------------------------------------------------------------ */

/* There is none, or it is as it is without being asked for. */
static bool is_absent(const struct schema_field *f, const void *member)
{
    switch (f->kind) {
    case SCHEMA_NUMBER:
    case SCHEMA_SIZE:
        return *(const uint64_t *)member == f->fallback;
    case SCHEMA_BOOL:
    case SCHEMA_UNLESS:
        return !*(const bool *)member;
    case SCHEMA_SIGNAL:
    case SCHEMA_MAYBE:
        return *(const int *)member == 0;
    case SCHEMA_CHOICE:
        return *(const unsigned *)member == 0;
    case SCHEMA_BYTES:
        return !((const struct buffer *)member)->data;
    case SCHEMA_TEXT:
    case SCHEMA_WORDS:
    case SCHEMA_PAIRS:
    case SCHEMA_COMPILED:
    case SCHEMA_REASON:
    case SCHEMA_MADE:
    case SCHEMA_LIST:
    case SCHEMA_COUNTS:
    case SCHEMA_COMMAS:
    case SCHEMA_ANY:
        return !*(const void *const *)member;
    case SCHEMA_MOMENT:
        return *(const int64_t *)member == 0;
    case SCHEMA_STDINS:
        return !((const struct request_stdins *)member)->given;
    case SCHEMA_FILES:
        return true;
    case SCHEMA_INTEGER:
    case SCHEMA_DURATION:
    case SCHEMA_MILLISECONDS:
        break;
    }
    return false;
}

static int put_field(json_t *j, const struct schema_field *f, bool taken, const void *member, struct error *e)
{
    const struct buffer *b = member;

    if (((taken || f->left_out) && is_absent(f, member)) || (taken && f->kind == SCHEMA_STDINS))
        return 0;
    if (f->or_null && is_absent(f, member))
        return json_object_set_new(j, f->name, json_null());
    if (f->kind == SCHEMA_BYTES) {
        if (taken)
            schema_put_bytes(j, f, b);
        else if (text_utf8_prefix(b->data, b->size) == b->size)
            put_text(j, f, b);
        else
            put_base64(j, f, b);
        return 0;
    }
    if (json_object_set_new(j, f->name, value_of(f, member)) == 0)
        return 0;
    return error_set(e, ERROR_USAGE, "%s%s is not UTF-8, and only such can be %s", f->flag ? "--" : "",
                     f->flag ? f->flag : f->name, taken ? "sent to a server" : "told");
}

int schema_put(json_t *j, enum schema_object object, enum schema_struct of, const void *members,
               struct error *e)
{
    bool taken = schema_objects[object].taken;
    struct error none = {0};

    schema_each(object, f)
    {
        if (f->of == of && put_field(j, f, taken, (const char *)members + f->offset, e ? e : &none) < 0)
            return -1;
    }
    return 0;
}

json_t *schema_json(enum schema_object object, enum schema_struct of, const void *members, struct error *e)
{
    json_t *j = json_object();

    if (schema_put(j, object, of, members, e) == 0)
        return j;
    json_decref(j);
    return NULL;
}

json_t *schema_list(enum schema_object object, json_t *items)
{
    const struct listing_view view = {.items = items, .count = json_array_size(items)};
    json_t *j = schema_json(object, SCHEMA_OF_LISTING, &view, NULL);

    json_decref(items);
    return j;
}
