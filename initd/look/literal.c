#include "literal.h"

#include <stdbool.h>
#include <string.h>

struct runs {
    char now[LITERAL_MAX];
    size_t size;
    char *best;
    size_t best_size;
};

static void end_run(struct runs *r)
{
    if (r->size > r->best_size) {
        memcpy(r->best, r->now, r->size);
        r->best_size = r->size;
    }
    r->size = 0;
}

/* The character before may be missing from a match: all bytes of it, in UTF-8. */
static void drop_last(struct runs *r)
{
    while (r->size && ((unsigned char)r->now[r->size - 1] & 0xc0) == 0x80)
        r->size--;
    r->size -= r->size > 0;
    end_run(r);
}

static void add_to_run(struct runs *r, char c)
{
    if (r->size == LITERAL_MAX)
        end_run(r);
    r->now[r->size++] = c;
}

/* Behind the closing bracket; NULL: there is none. */
static const char *skip_brackets(const char *p)
{
    p += *p == '^';
    p += *p == ']';
    for (; *p && *p != ']'; p++) {
        if (p[0] == '[' && p[1] && strchr(":.=", p[1])) {
            const char close[] = {p[1], ']', '\0'};
            p = strstr(p + 2, close);
            if (!p)
                return NULL;
            p++;
        }
    }
    return *p ? p + 1 : NULL;
}

/* Of what follows a backslash: the others are classes, words' ends, codes. */
static bool is_escaped_sign(char c)
{
    return c && strchr(".[]()*+?{}|^$\\/-\"", c);
}

size_t literal_of(const char *pattern, char ret[static LITERAL_MAX])
{
    struct runs r = {.best = ret};

    for (const char *p = pattern; *p;) {
        char c = *p++;
        if (strchr("|()", c) || (c == '\\' && !is_escaped_sign(*p)) || (c == '+' && *p && strchr("*+?{", *p)))
            return 0; /* one of several, or something that only the expression knows */
        if (c == '\\') {
            add_to_run(&r, *p++);
        } else if (strchr("*?{", c)) {
            drop_last(&r);
            p = c == '{' ? strchr(p, '}') : p;
            p = p && c == '{' ? p + 1 : p;
        } else if (c == '[') {
            end_run(&r);
            p = skip_brackets(p);
        } else if (strchr(".^$+", c)) {
            end_run(&r);
        } else {
            add_to_run(&r, c);
        }
        if (!p)
            return 0;
    }
    end_run(&r);
    return r.best_size;
}
