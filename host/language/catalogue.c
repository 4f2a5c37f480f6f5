/* All definitions together: looking one up. */
#include "language/language.h"

#include "base/cleanup.h"
#include "base/file.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#define LANGUAGES_MAX 256

bool language_list_has(const char *list, const char *word)
{
    cleanup_free char *copy = text_copy(list ? list : "");
    char *state = NULL;

    for (char *item = strtok_r(copy, ",", &state); item; item = strtok_r(NULL, ",", &state))
        if (strcmp(text_trim(item), word) == 0)
            return true;
    return false;
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The base names of the definition files, sorted, on the heap. */
static size_t list_definitions(const char *data, char *names[static LANGUAGES_MAX])
{
    cleanup_free char *path = text_format("%s/languages", data);
    cleanup_dir DIR *dir = opendir(path);
    size_t count = 0;

    if (!dir)
        return 0;
    for (struct dirent *d; count < LANGUAGES_MAX && (d = readdir(dir));) {
        size_t size = strlen(d->d_name);
        if (d->d_name[0] != '.' && size > 4 && strcmp(d->d_name + size - 4, ".ini") == 0) {
            names[count] = text_copy(d->d_name);
            names[count++][size - 4] = '\0';
        }
    }
    qsort(names, count, sizeof(names[0]), compare_strings);
    return count;
}

char *language_names(const char *data)
{
    char *names[LANGUAGES_MAX];
    size_t count = list_definitions(data, names);
    struct buffer all = {0};

    buffer_add(&all, "", 0);
    for (size_t i = 0; i < count; i++) {
        buffer_add_text(&all, "%s%s", i ? ", " : "", names[i]);
        free(names[i]);
    }
    return all.data;
}

int language_each(const char *data, int (*visit)(const struct language *l, void *context, struct error *e),
                  void *context, struct error *e)
{
    char *names[LANGUAGES_MAX];
    size_t count = list_definitions(data, names);
    int result = 0;

    if (count == 0)
        return error_set(e, ERROR_GENERAL, "no language definitions in %s/languages; is CAPSID_DATA right?",
                         data);
    for (size_t i = 0; i < count; i++) {
        cleanup_free char *path = text_format("%s/languages/%s.ini", data, names[i]);
        struct language l = {0};
        free(names[i]);
        if (result == 0)
            result = language_read(&l, path, e);
        if (result == 0)
            result = visit(&l, context, e);
        language_done(&l);
    }
    return result;
}

static int unknown_language(const char *data, const char *name, struct error *e)
{
    cleanup_free char *all = language_names(data);

    if (!all[0])
        return error_set(e, ERROR_GENERAL, "no language definitions in %s/languages; is CAPSID_DATA right?",
                         data);
    return error_set(e, ERROR_UNKNOWN_LANGUAGE, "unknown language: %.64s\nAvailable: %s", name, all);
}

/* What a search looks for, and finds: the name of a language. */
struct search {
    const char *word;
    char *found;        /* owned; by name or alias */
    struct buffer many; /* names of those with the extension, separated by ", " */
    unsigned count;     /* of them */
};

static void search_done(struct search *s)
{
    free(s->found);
    buffer_free(&s->many);
}
#define cleanup_search __attribute__((cleanup(search_done)))

static int look_at(const struct language *l, void *context, struct error *e)
{
    struct search *s = context;

    (void)e;
    if (!s->found && (strcmp(l->name, s->word) == 0 || language_list_has(l->aliases, s->word)))
        s->found = text_copy(l->name);
    return 0;
}

static int look_at_extensions(const struct language *l, void *context, struct error *e)
{
    struct search *s = context;

    if (!language_list_has(l->extensions, s->word))
        return 0;
    buffer_add_text(&s->many, "%s%s", s->count++ ? ", " : "", l->name);
    return look_at(l, s, e);
}

static int read_named(struct language *ret, const char *data, const char *name, struct error *e)
{
    cleanup_free char *path = text_format("%s/languages/%s.ini", data, name);

    return language_read(ret, path, e);
}

/* A name is looked up as a file first, so that the common case reads one definition. */
static int find_defined(struct language *ret, const char *data, const char *name, struct error *e)
{
    cleanup_search struct search s = {.word = name};

    cleanup_free char *direct = text_format("%s/languages/%s.ini", data, name);
    if (text_is_name(name) && file_exists(direct))
        return language_read(ret, direct, e);
    if (language_each(data, look_at, &s, e) < 0)
        return -1;
    return s.found ? read_named(ret, data, s.found, e) : unknown_language(data, name, e);
}

int language_find(struct language *ret, const char *data, const char *name, struct error *e)
{
    const char *parts = language_variant_packages(name);

    if (!parts)
        return find_defined(ret, data, name, e);
    cleanup_free char *base = text_format("%.*s", (int)(parts - 1 - name), name);
    if (find_defined(ret, data, base, e) < 0)
        return -1;
    if (language_add_packages(ret, parts, e) == 0)
        return 0;
    language_done(ret);
    return -1;
}

static int look_at_interpreters(const struct language *l, void *context, struct error *e)
{
    struct search *s = context;

    (void)e;
    if (language_has_interpreter(l, s->word))
        buffer_add_text(&s->many, "%s%s", s->count++ ? ", " : "", l->name);
    return 0;
}

/* what says which files are meant; s->count of languages have such. */
static int choose_catalogue(struct language *ret, const char *data, const struct search *s, const char *what,
                            struct error *e)
{
    if (s->found || s->count == 1)
        return read_named(ret, data, s->found ? s->found : s->many.data, e);
    return error_set(e, ERROR_USAGE, "%s are of several languages, %s; choose with --lang", what,
                     s->many.data);
}

/* 1: the file has no #! line, or none of a language; *ret_name is the interpreter then, or "". */
static int guess_by_content(struct language *ret, const char *data, const struct buffer *content,
                            char ret_name[static LANGUAGE_INTERPRETER_MAX], struct error *e)
{
    cleanup_search struct search s = {.word = ret_name};

    ret_name[0] = '\0';
    if (!content || !language_interpreter(content->data, content->size, ret_name))
        return 1;
    if (language_each(data, look_at_interpreters, &s, e) < 0)
        return -1;
    cleanup_free char *what = text_format("scripts for %s", ret_name);
    return s.count ? choose_catalogue(ret, data, &s, what, e) : 1;
}

int language_guess(struct language *ret, const char *data, const char *file, const struct buffer *content,
                   struct error *e)
{
    const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file, *dot = strrchr(base, '.');
    cleanup_search struct search s = {.word = dot && dot != base ? dot + 1 : ""};
    char interpreter[LANGUAGE_INTERPRETER_MAX];

    if (s.word[0] && language_each(data, look_at_extensions, &s, e) < 0)
        return -1;
    cleanup_free char *what = text_format("files ending in .%.64s", s.word);
    if (s.found || s.count > 0)
        return choose_catalogue(ret, data, &s, what, e);
    int result = guess_by_content(ret, data, content, interpreter, e);
    if (result <= 0)
        return result;
    if (interpreter[0])
        return error_set(e, ERROR_UNKNOWN_LANGUAGE,
                         "%.128s begins with #! and an interpreter of no language, %s; name one with --lang "
                         "(see: capsid languages)",
                         base, interpreter);
    if (!s.word[0])
        return error_set(
            e, ERROR_USAGE,
            "%.128s has no extension that tells its language, and no #! line; name it with --lang", base);
    return error_set(e, ERROR_UNKNOWN_LANGUAGE,
                     "no language has files ending in .%.64s; name it with --lang (see: capsid languages)",
                     s.word);
}
