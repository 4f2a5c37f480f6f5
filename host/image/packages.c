#include "image/packages.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_SIZE 214 /* npm's limit; Debian's names are shorter */
#define VERSION_MAX_SIZE 128

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

void packages_done(struct packages *p)
{
    free(p->text);
    free(p->list);
    *p = (struct packages){0};
}

/* Letters, digits and those in more; of 1 to max characters. */
static bool is_made_of(const char *s, const char *more, size_t max)
{
    size_t size = strlen(s), n = 0;

    while (s[n] && (strchr(letters, s[n]) || strchr(more, s[n])))
        n++;
    return size > 0 && size <= max && n == size;
}

static bool is_kind(const char *s)
{
    static const char *const kinds[] = {"deb", "npm", "pip", "apk", "layer"};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(s, kinds[i]) == 0)
            return true;
    return false;
}

/* Cuts one line into its four words. */
static bool parse_line(struct package *ret, char *line)
{
    const char *words[4];
    size_t count = 0;

    for (char *word; (word = strsep(&line, " "));) {
        if (count == 4)
            return false;
        words[count++] = word;
    }
    if (count != 4)
        return false;
    *ret = (struct package){words[0], words[1], words[2], words[3]};
    return is_kind(ret->kind) && is_made_of(ret->name, "@/._~+-", NAME_MAX_SIZE) &&
           is_made_of(ret->version, ".:~+_-", VERSION_MAX_SIZE) &&
           (digest_is_hex(ret->sha256) || strcmp(ret->sha256, "-") == 0);
}

int packages_parse(struct packages *ret, const char *text, const char *path, struct error *e)
{
    struct packages p = {.text = text_copy(text)};
    size_t lines = 0;

    for (const char *c = text; *c; c++)
        lines += *c == '\n';
    if (lines == 0 || lines > PACKAGES_MAX || text[strlen(text) - 1] != '\n') {
        packages_done(&p);
        return error_set(e, ERROR_CORRUPT, "%s is no list of 1 to %d packages", path, PACKAGES_MAX);
    }
    p.list = memory_allocate(lines * sizeof(p.list[0]));
    for (char *rest = p.text, *line; p.count < lines && (line = strsep(&rest, "\n")); p.count++) {
        if (!parse_line(&p.list[p.count], line)) {
            size_t number = p.count + 1;
            packages_done(&p);
            return error_set(e, ERROR_CORRUPT, "%s: line %zu is not \"kind name version sha256\"", path,
                             number);
        }
    }
    *ret = p;
    return 0;
}

int packages_read(struct packages *ret, const char *path, struct error *e)
{
    cleanup_buffer struct buffer text = {0};

    if (file_read(path, PACKAGES_TEXT_MAX, &text, e) < 0)
        return -1;
    if (text.data && strlen(text.data) != text.size)
        return error_set(e, ERROR_CORRUPT, "%s is not text", path);
    return packages_parse(ret, text.data ? text.data : "", path, e);
}
