#include "content.h"
#include "literal.h"
#include "questions.h"
#include "tell.h"
#include "walk.h"

#include <errno.h>
#include <fnmatch.h>
#include <locale.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PIECE_MAX (256u << 10) /* that is looked at; a longer line is taken for several */

static struct {
    const struct look_search *asked;
    regex_t regex;
    char literal[LITERAL_MAX]; /* that each match holds */
    size_t literal_size;
    uint64_t left; /* matches that may still be told */
    bool cut_short;
    int64_t until_ms;
} search;

/* Of the file that is looked at. */
static struct {
    const char *path;
    uint64_t line; /* of the beginning of what is looked at */
    uint64_t left;
} file;

static char piece[PIECE_MAX + 1];
static char valid[PIECE_MAX + 1]; /* a line as the regular expression can take it */

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool is_over(void)
{
    search.cut_short = search.cut_short || search.left == 0 || now_ms() >= search.until_ms;
    return search.cut_short;
}

static uint64_t count_lines(const char *from, const char *to)
{
    uint64_t count = 0;

    while (from < to && (from = memchr(from, '\n', (size_t)(to - from)))) {
        count++;
        from++;
    }
    return count;
}

/* The expression matches no line with a byte that is no UTF-8. */
static const char *make_valid(const char *line, size_t size)
{
    size_t at = 0;

    while (at < size && (line[at] & 0x80) == 0)
        at++;
    if (at == size)
        return line;
    memcpy(valid, line, size + 1);
    for (at = 0; at < size;) {
        int n = mblen(valid + at, size - at);
        if (n < 1)
            valid[at] = '?';
        at += n > 1 ? (size_t)n : 1;
    }
    return valid;
}

/* end is the line's newline, or the end of the piece. */
static void look_at_line(char *line, char *end)
{
    char was = *end;

    *end = '\0';
    if (regexec(&search.regex, make_valid(line, (size_t)(end - line)), 0, NULL, 0) == 0) {
        tell_match(file.path, file.line, line, (size_t)(end - line));
        search.left--;
        file.left--;
    }
    *end = was;
}

/* Where the next line begins that may match; NULL: there is none. */
static char *next_line(char *from, char *end)
{
    char *hit = from;

    if (search.literal_size &&
        !(hit = memmem(from, (size_t)(end - from), search.literal, search.literal_size)))
        return NULL;
    while (hit > from && hit[-1] != '\n')
        hit--;
    return hit;
}

/* Whole lines, and perhaps the beginning of one at the end. */
static void look_at_lines(char *from, char *end)
{
    while (from < end && file.left && !is_over()) {
        char *line = next_line(from, end);
        if (!line)
            break;
        file.line += count_lines(from, line);
        char *stop = memchr(line, '\n', (size_t)(end - line));
        look_at_line(line, stop ? stop : end);
        file.line += stop != NULL;
        from = stop ? stop + 1 : end;
    }
    file.line += count_lines(from, end);
}

/* Where the whole lines of a piece end; all of it when it is one line, or the last. */
static size_t whole_lines(size_t size, bool last)
{
    size_t end = size;

    while (end > 0 && piece[end - 1] != '\n')
        end--;
    return end == 0 || last ? size : end;
}

/* False: it could not be read, or is no text. */
static bool look_in(int fd)
{
    size_t kept = 0;
    bool first = true, last = false;

    while (!last && file.left && !is_over()) {
        int64_t n = content_read(fd, piece + kept, PIECE_MAX - kept);
        if (n < 0 || (first && memchr(piece, '\0', (size_t)n)))
            return false;
        size_t size = kept + (size_t)n;
        last = size < PIECE_MAX;
        size_t end = whole_lines(size, last);
        look_at_lines(piece, piece + end);
        kept = size - end;
        memmove(piece, piece + end, kept);
        first = false;
    }
    return true;
}

static bool is_named_so(const char *name, const char *path)
{
    const char *glob = search.asked->glob;

    if (!glob[0])
        return true;
    return strchr(glob, '/') ? fnmatch(glob, path, FNM_PATHNAME) == 0 : fnmatch(glob, name, 0) == 0;
}

static bool grep_node(struct walk *w, int directory, const char *name, const char *path,
                      const struct stat *st)
{
    if (!S_ISREG(st->st_mode) || (path[0] && !is_named_so(name, path)))
        return !is_over();
    int fd = content_open(directory, name, !path[0]);
    file.path = path;
    file.line = 1;
    file.left = search.asked->per_file;
    w->skipped += fd < 0 || !look_in(fd);
    if (fd >= 0)
        close(fd);
    return !is_over();
}

static void compile(const struct look_search *s)
{
    bool ignore = s->flags & LOOK_IGNORE_CASE;
    char why[200];

    int r = regcomp(&search.regex, s->pattern, REG_EXTENDED | REG_NOSUB | (ignore ? REG_ICASE : 0));
    if (r != 0) {
        regerror(r, &search.regex, why, sizeof(why));
        tell_done(EILSEQ, false, 0, why);
    }
    search.literal_size = ignore ? 0 : literal_of(s->pattern, search.literal);
}

void look_grep(const struct look_search *s)
{
    struct walk w = {.visit = grep_node};

    setlocale(LC_CTYPE, "C.UTF-8");
    search.asked = s;
    search.left = s->total;
    search.until_ms = now_ms() + s->ms;
    compile(s);
    walk_run(&w, s->path);
    tell_done(0, search.cut_short, w.skipped, NULL);
}
