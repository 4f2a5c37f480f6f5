#include "base/jsontext.h"

enum jsontext_shape jsontext_shape(const char *text, size_t size, size_t values_max)
{
    size_t depth = 0, values = 0;
    bool quoted = false;

    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '"') {
            quoted = !quoted;
        } else if (quoted) {
            i += c == '\\';
        } else if (c == '[' || c == '{') {
            values++;
            if (++depth > JSONTEXT_DEPTH_MAX)
                return JSONTEXT_DEEP;
        } else if (c == ']' || c == '}') {
            depth -= depth > 0;
        } else if (c == ',') {
            values++;
        }
        if (values > values_max)
            return JSONTEXT_MANY;
    }
    return JSONTEXT_FINE;
}

json_t *jsontext_parse(const char *text, size_t size, size_t values_max, size_t flags)
{
    return jsontext_shape(text, size, values_max) == JSONTEXT_FINE
               ? json_loadb(text ? text : "", size, flags, NULL)
               : NULL;
}

/* Bytes of a control character at p that JSON leaves as it is, 0: none. In JSON they are in strings only. */
static size_t control_size(const unsigned char *p, size_t left)
{
    if (p[0] == 0x7f)
        return 1;
    return p[0] == 0xc2 && left > 1 && p[1] < 0xa0 ? 2 : 0;
}

static int add_escaped(const char *text, size_t size, void *out)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t plain = 0;

    /* jansson calls with whole characters: it has checked that strings are UTF-8, and cuts before what it escapes. */
    for (size_t i = 0; i < size; i++) {
        size_t control = control_size(p + i, size - i);
        if (control == 0)
            continue;
        buffer_add(out, text + plain, i - plain);
        buffer_add_text(out, "\\u00%02X", p[i + control - 1]);
        i += control - 1;
        plain = i + 1;
    }
    buffer_add(out, text + plain, size - plain);
    return 0;
}

int jsontext_add(struct buffer *ret, const json_t *j, size_t flags)
{
    return json_dump_callback(j, add_escaped, ret, flags);
}

char *jsontext_format(const json_t *j, size_t flags)
{
    struct buffer b = {0};

    if (jsontext_add(&b, j, flags) == 0)
        return b.data;
    buffer_free(&b);
    return NULL;
}
