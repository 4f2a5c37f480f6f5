#include "text.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

struct text text_of(char *buffer, size_t size)
{
    buffer[0] = '\0';
    return (struct text){.buffer = buffer, .size = size, .length = 0, .truncated = false};
}

static void add_bytes(struct text *t, const char *s, size_t n)
{
    size_t room = t->size - 1 - t->length;

    if (n > room) {
        n = room;
        t->truncated = true;
    }
    memcpy(t->buffer + t->length, s, n);
    t->length += n;
    t->buffer[t->length] = '\0';
}

void text_add(struct text *t, const char *s)
{
    add_bytes(t, s, strlen(s));
}

void text_add_u64(struct text *t, uint64_t v)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    add_bytes(t, digits + at, sizeof(digits) - at);
}

void text_add_hex(struct text *t, const void *data, size_t size)
{
    static const char digit[] = "0123456789abcdef";
    const uint8_t *p = data;

    for (size_t i = 0; i < size; i++)
        add_bytes(t, (char[]){digit[p[i] >> 4], digit[p[i] & 15]}, 2);
}

int text_join(char *buffer, size_t size, ...)
{
    struct text t = text_of(buffer, size);
    va_list ap;

    va_start(ap, size);
    for (const char *s = va_arg(ap, const char *); s; s = va_arg(ap, const char *))
        text_add(&t, s);
    va_end(ap);
    return t.truncated ? -ENAMETOOLONG : 0;
}

bool text_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

uint64_t text_leading_u64(const char *s)
{
    uint64_t v = 0;

    for (; is_digit(*s); s++)
        v = v * 10 + (uint64_t)(*s - '0');
    return v;
}

bool text_parse_u64(const char *s, uint64_t *ret)
{
    size_t digits = 0;

    while (is_digit(s[digits]))
        digits++;
    if (digits == 0 || digits > 19 || (s[digits] != '\0' && strcmp(s + digits, "\n") != 0))
        return false;
    *ret = text_leading_u64(s);
    return true;
}

bool text_find_u64(const char *text, const char *key, uint64_t *ret)
{
    size_t n = strlen(key);

    for (const char *line = text; line; line = strchr(line, '\n')) {
        if (*line == '\n')
            line++;
        if (strncmp(line, key, n) != 0 || (line[n] != ' ' && line[n] != ':'))
            continue;
        const char *value = line + n + 1;
        while (*value == ' ' || *value == '\t')
            value++;
        *ret = text_leading_u64(value);
        return true;
    }
    return false;
}

const char *text_field(const char *s, unsigned n)
{
    while (s && n-- > 0) {
        s = strchr(s, ' ');
        if (s)
            s++;
    }
    return s;
}
