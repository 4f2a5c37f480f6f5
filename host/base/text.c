#include "base/text.h"

#include "base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *check_allocation(void *p)
{
    if (!p) {
        fputs("Error: out of memory\n", stderr);
        abort();
    }
    return p;
}

void *memory_allocate(size_t size)
{
    return check_allocation(calloc(1, size ? size : 1));
}

char *text_copy(const char *s)
{
    return s ? check_allocation(strdup(s)) : NULL;
}

static void buffer_reserve(struct buffer *b, size_t more)
{
    size_t needed = b->size + more + 1;

    if (needed <= b->capacity)
        return;
    size_t capacity = b->capacity ? b->capacity : 256;
    while (capacity < needed)
        capacity *= 2;
    b->data = check_allocation(realloc(b->data, capacity));
    b->capacity = capacity;
}

void buffer_add(struct buffer *b, const void *data, size_t size)
{
    buffer_reserve(b, size);
    if (size)
        memcpy(b->data + b->size, data, size);
    b->size += size;
    b->data[b->size] = '\0';
}

void buffer_add_text(struct buffer *b, const char *format, ...)
{
    va_list args, again;

    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    check_allocation(size < 0 ? NULL : b); /* more than INT_MAX; buffer_add() takes any size */
    if (size > 0) {
        buffer_reserve(b, (size_t)size);
        vsnprintf(b->data + b->size, (size_t)size + 1, format, again);
        b->size += (size_t)size;
    }
    va_end(again);
}

void buffer_free(struct buffer *b)
{
    free(b->data);
    *b = (struct buffer){0};
}

char *text_format(const char *format, ...)
{
    char *s = NULL;
    va_list args;

    va_start(args, format);
    int n = vasprintf(&s, format, args);
    va_end(args);
    return check_allocation(n < 0 ? NULL : s);
}

bool text_to_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
    char *end;

    if (!isdigit((unsigned char)s[0]))
        return false;
    errno = 0;
    unsigned long long v = strtoull(s, &end, 10);
    if (errno || *end || v < min || v > max)
        return false;
    *ret = v;
    return true;
}

char *text_trim(char *s)
{
    while (isspace((unsigned char)*s))
        s++;
    size_t size = strlen(s);
    while (size > 0 && isspace((unsigned char)s[size - 1]))
        s[--size] = '\0';
    return s;
}

/* Bytes of the sequence that begins at p, 0 when it is not valid or not complete. */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
    unsigned char low = 0x80, high = 0xBF;
    size_t size;

    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xC2 && p[0] <= 0xDF)
        size = 2;
    else if (p[0] >= 0xE0 && p[0] <= 0xEF)
        size = 3;
    else if (p[0] >= 0xF0 && p[0] <= 0xF4)
        size = 4;
    else
        return 0;

    if (p[0] == 0xE0)
        low = 0xA0;
    else if (p[0] == 0xED)
        high = 0x9F;
    else if (p[0] == 0xF0)
        low = 0x90;
    else if (p[0] == 0xF4)
        high = 0x8F;

    if (left < size || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if (p[i] < 0x80 || p[i] > 0xBF)
            return 0;
    return size;
}

size_t text_utf8_prefix(const char *data, size_t size)
{
    const unsigned char *p = (const unsigned char *)data;
    size_t done = 0;

    while (done < size) {
        size_t n = utf8_sequence(p + done, size - done);
        if (n == 0)
            break;
        done += n;
    }
    return done;
}

/* Bytes of the character at s, which is UTF-8 and none that a terminal acts on; 0: it is not. */
static size_t plain_character(const char *s)
{
    unsigned char c = (unsigned char)s[0];

    if (c < 0x80)
        return c >= ' ' && c != 127;
    size_t size = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    bool c1 = c == 0xc2 && (unsigned char)s[1] < 0xa0; /* U+0080 to U+009F */
    return !c1 && text_utf8_prefix(s, strnlen(s, size)) == size ? size : 0;
}

static char *make_plain(char *s, bool lines)
{
    for (char *p = s; *p;) {
        size_t size = lines && *p == '\n' ? 1 : plain_character(p);
        if (size == 0)
            *p = isspace((unsigned char)*p) ? ' ' : '?';
        p += size ? size : 1;
    }
    return s;
}

char *text_make_plain(char *s)
{
    return make_plain(s, false);
}

char *text_make_plain_lines(char *s)
{
    return make_plain(s, true);
}

char *text_last_line(char *s)
{
    char *text = text_trim(s), *last = strrchr(text, '\n');

    return text_make_plain(last ? last + 1 : text);
}

char *text_base64(const void *data, size_t size)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = data;
    char *out = memory_allocate((size + 2) / 3 * 4 + 1), *w = out;

    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        unsigned v =
            (unsigned)p[i] << 16 | (left > 1 ? (unsigned)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);
        *w++ = alphabet[v >> 18];
        *w++ = alphabet[v >> 12 & 63];
        *w++ = left > 1 ? alphabet[v >> 6 & 63] : '=';
        *w++ = left > 2 ? alphabet[v & 63] : '=';
    }
    return out;
}

bool text_base64_decode(const char *s, size_t size, struct buffer *ret)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t padding = size && s[size - 1] == '=' ? (size > 1 && s[size - 2] == '=' ? 2 : 1) : 0;
    unsigned v = 0;

    if (size % 4)
        return false;
    for (size_t i = 0; i < size; i++) {
        const char *at = i < size - padding && s[i] ? strchr(alphabet, s[i]) : NULL;
        if (!at && i < size - padding)
            return false;
        v = v << 6 | (at ? (unsigned)(at - alphabet) : 0);
        if (i % 4 != 3)
            continue;
        const unsigned char bytes[3] = {(unsigned char)(v >> 16), (unsigned char)(v >> 8), (unsigned char)v};
        size_t count = i == size - 1 ? 3 - padding : 3;
        for (size_t j = count; j < 3; j++)
            if (bytes[j])
                return false; /* bits that stand for nothing: another text would mean the same */
        buffer_add(ret, bytes, count);
        v = 0;
    }
    return true;
}

const char *text_bytes(uint64_t size, char out[static 24])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double v = (double)size;
    unsigned unit = 0;

    while (v >= 999.5 && unit < 4) {
        v /= 1000;
        unit++;
    }
    snprintf(out, 24, unit && v < 99.95 ? "%.1f %s" : "%.0f %s", v, units[unit]);
    return out;
}

bool text_is_name(const char *s)
{
    return strlen(s) <= 64 && text_is_long_name(s);
}

bool text_is_long_name(const char *s)
{
    size_t size = strlen(s);

    if (size == 0 || size > TEXT_LONG_NAME_MAX || !isalnum((unsigned char)s[0]))
        return false;
    for (size_t i = 1; i < size; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr("._+-", s[i]))
            return false;
    return true;
}

bool text_is_variable(const char *s)
{
    size_t size = strlen(s);

    if (size == 0 || size > 128 || isdigit((unsigned char)s[0]))
        return false;
    for (const char *p = s; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '_')
            return false;
    return true;
}

bool text_each_word(const char *list, bool (*check)(const char *word), char **ret_bad)
{
    cleanup_free char *copy = text_copy(list ? list : "");
    char *rest = list ? copy : NULL;

    for (char *word; (word = strsep(&rest, ","));) {
        word = text_trim(word);
        if (!check(word)) {
            *ret_bad = text_copy(word);
            return false;
        }
    }
    return true;
}

void text_hex(const void *data, size_t size, char *out)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < size; i++)
        sprintf(out + 2 * i, "%02x", bytes[i]);
    out[2 * size] = '\0';
}
