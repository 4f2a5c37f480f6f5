#include "files/ignore.h"

#include "base/text.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

/* ---- lines ----------------------------------------------------------------------------------------- */

/* Spaces at the end do not count, unless a backslash is before one. */
static size_t trim_end(const char *line, size_t size)
{
    size_t end = 0;

    for (size_t i = 0; i < size; i++) {
        if (line[i] == '\\' && i + 1 < size)
            end = ++i + 1;
        else if (line[i] != ' ')
            end = i + 1;
    }
    return end;
}

/* The end of a bracket expression that begins there; NULL: it has none. */
static const char *bracket_end(const char *p)
{
    p++;
    if (*p == '!' || *p == '^')
        p++;
    for (const char *first = p; *p; p++) {
        if (*p == ']' && p > first)
            return p;
        if (*p == '\\' && p[1])
            p++;
        else if (*p == '[' && p[1] == ':' && strstr(p + 2, ":]"))
            p = strstr(p + 2, ":]") + 1;
    }
    return NULL;
}

/* What is cut off in the middle matches nothing. */
static bool is_whole_pattern(const char *p)
{
    for (; *p; p++) {
        if (*p == '\\' && !*++p)
            return false;
        if (*p == '[' && !(p = bracket_end(p)))
            return false;
    }
    return true;
}

void ignore_add(struct ignore *g, const char *line, size_t size)
{
    struct ignore_rule rule = {0};

    if (size > 0 && line[size - 1] == '\r')
        size--;
    size = trim_end(line, size);
    if (size == 0 || line[0] == '#')
        return;
    rule.negated = line[0] == '!';
    line += rule.negated;
    size -= rule.negated;
    rule.directory = size > 0 && line[size - 1] == '/';
    size -= rule.directory;
    rule.anchored = memchr(line, '/', size) != NULL;
    bool leading = size > 0 && line[0] == '/';
    rule.pattern = text_format("%.*s", (int)(size - leading), line + leading);
    if (!rule.pattern[0] || !is_whole_pattern(rule.pattern)) {
        free(rule.pattern);
        return;
    }
    struct ignore_rule *more = memory_allocate((g->count + 1) * sizeof(*more));
    if (g->count)
        memcpy(more, g->rules, g->count * sizeof(*more));
    free(g->rules);
    g->rules = more;
    g->rules[g->count++] = rule;
}

void ignore_add_lines(struct ignore *g, const char *text, size_t size)
{
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
        text += 3, size -= 3;
    while (size > 0) {
        const char *newline = memchr(text, '\n', size);
        size_t length = newline ? (size_t)(newline - text) : size;
        ignore_add(g, text, length);
        length += newline != NULL;
        text += length;
        size -= length;
    }
}

void ignore_done(struct ignore *g)
{
    for (size_t i = 0; i < g->count; i++)
        free(g->rules[i].pattern);
    free(g->rules);
    free(g->base);
    *g = (struct ignore){0};
}

/* ---- matching -------------------------------------------------------------------------------------- */

/* One name of a path with one of a pattern; both end at a slash or the end. */
static bool matches_name(const char *pattern, const char *name)
{
    char p[512], n[512];
    size_t pattern_size = strcspn(pattern, "/"), name_size = strcspn(name, "/");

    if (pattern_size >= sizeof(p) || name_size >= sizeof(n))
        return false;
    memcpy(p, pattern, pattern_size);
    memcpy(n, name, name_size);
    p[pattern_size] = n[name_size] = '\0';
    return fnmatch(p, n, 0) == 0;
}

static const char *next_name(const char *path)
{
    const char *slash = strchr(path, '/');

    return slash ? slash + 1 : NULL;
}

/* "**" is any number of names, none too, but at the end, where there is one at least. NULL: the end. */
static bool matches_path(const char *pattern, const char *path)
{
    for (; pattern; pattern = next_name(pattern), path = next_name(path)) {
        if (strncmp(pattern, "**", 2) == 0 && (!pattern[2] || pattern[2] == '/')) {
            const char *rest = next_name(pattern);
            for (; path && rest; path = next_name(path))
                if (matches_path(rest, path))
                    return true;
            return path != NULL;
        }
        if (!path || !matches_name(pattern, path))
            return false;
    }
    return !path;
}

static bool matches_rule(const struct ignore_rule *r, const char *path, bool directory)
{
    const char *slash = strrchr(path, '/');

    if (r->directory && !directory)
        return false;
    return r->anchored ? matches_path(r->pattern, path) : matches_name(r->pattern, slash ? slash + 1 : path);
}

int ignore_match(const struct ignore *g, const char *path, bool directory)
{
    for (; g; g = g->above) {
        size_t base = g->base ? strlen(g->base) : 0;
        if (strncmp(path, g->base ? g->base : "", base) != 0)
            continue;
        for (size_t i = g->count; i > 0; i--)
            if (matches_rule(&g->rules[i - 1], path + base, directory))
                return g->rules[i - 1].negated ? -1 : 1;
    }
    return 0;
}
