#include "language/language.h"

#include "base/cleanup.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#define DEFINITION_MAX (64 * 1024)
#define LANGUAGES_MAX 256

struct parse {
    struct language *language;
    const char *path;
    struct error *error;
    bool failed;
};

static char **string_field(struct language *l, const char *section, const char *key)
{
    const struct {
        const char *section, *key;
        char **field;
    } fields[] = {
        {"language", "name", &l->name},       {"language", "title", &l->title},
        {"language", "aliases", &l->aliases}, {"language", "extension", &l->extension},
        {"language", "source", &l->source},   {"language", "run", &l->run},
        {"image", "suite", &l->suite},        {"image", "method", &l->method},
        {"image", "packages", &l->packages},  {"image", "post", &l->post},
        {"image", "extra", &l->extra},        {"image", "npm", &l->npm},
        {"image", "drop", &l->drop},          {"hello", "code", &l->hello},
        {"hello", "expect", &l->expect},
    };

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (strcmp(section, fields[i].section) == 0 && strcmp(key, fields[i].key) == 0)
            return fields[i].field;
    return NULL;
}

static int set_entry(struct parse *p, const char *section, const char *key, const char *value)
{
    struct language *l = p->language;
    char **field = string_field(l, section, key);

    if (field) {
        /* A continued line comes as a further value of the same key. */
        char *joined = *field ? text_format("%s %s", *field, value) : text_copy(value);
        free(*field);
        *field = joined;
        return 0;
    }
    if (strcmp(section, "language") == 0 && strcmp(key, "prime") == 0) {
        l->prime = strcmp(value, "yes") == 0;
        if (!l->prime && strcmp(value, "no") != 0)
            return error_set(p->error, ERROR_GENERAL, "%s: prime must be yes or no", p->path);
        return 0;
    }
    if (strcmp(section, "vm") == 0 && strcmp(key, "memory") == 0 &&
        text_to_u64(value, 32, 1 << 20, &l->memory))
        return 0;
    if (strcmp(section, "vm") == 0 && strcmp(key, "vcpus") == 0 && text_to_u64(value, 1, 32, &l->vcpus))
        return 0;
    if (strcmp(section, "env") == 0) {
        if (l->env_count == LANGUAGE_ENV_MAX)
            return error_set(p->error, ERROR_GENERAL, "%s: more than %d variables", p->path,
                             LANGUAGE_ENV_MAX);
        l->env[l->env_count++] = text_format("%s=%s", key, value);
        return 0;
    }
    return error_set(p->error, ERROR_GENERAL, "%s: bad key or value in [%s]: %s = %s", p->path, section, key,
                     value);
}

static int on_entry(void *user, const char *section, const char *key, const char *value)
{
    struct parse *p = user;

    if (!p->failed)
        p->failed = set_entry(p, section, key, value) < 0;
    return 1;
}

static int check_complete(const struct language *l, const char *path, struct error *e)
{
    const struct {
        const char *key, *value;
    } required[] = {{"name", l->name},        {"extension", l->extension}, {"source", l->source},
                    {"run", l->run},          {"suite", l->suite},         {"method", l->method},
                    {"packages", l->packages}};

    for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++)
        if (!required[i].value || !required[i].value[0])
            return error_set(e, ERROR_GENERAL, "%s: %s is missing", path, required[i].key);
    if (!text_is_name(l->name) || !text_is_name(l->source))
        return error_set(e, ERROR_GENERAL, "%s: name and source must be plain names", path);
    if (!strstr(l->run, "{source}"))
        return error_set(e, ERROR_GENERAL, "%s: run does not use {source}", path);
    return 0;
}

int language_read(struct language *ret, const char *path, struct error *e)
{
    struct language l = {.memory = 256, .vcpus = 1};
    struct parse p = {.language = &l, .path = path, .error = e};
    cleanup_buffer struct buffer text = {0};
    char digest[DIGEST_HEX_SIZE];

    if (file_read(path, DEFINITION_MAX, &text, e) < 0)
        return -1;
    int line = ini_parse_string(text.data, on_entry, &p);
    if (!p.failed && line != 0) {
        error_set(e, ERROR_GENERAL, "%s: line %d is not INI, or too long", path, line);
        p.failed = true;
    }
    if (p.failed || check_complete(&l, path, e) < 0) {
        language_done(&l);
        return -1;
    }
    digest_bytes(text.data, text.size, digest);
    l.digest = text_copy(digest);
    if (!l.title)
        l.title = text_copy(l.name);
    *ret = l;
    return 0;
}

void language_done(struct language *l)
{
    char **strings[] = {&l->name,  &l->title,  &l->aliases,  &l->extension, &l->source, &l->run,
                        &l->suite, &l->method, &l->packages, &l->post,      &l->extra,  &l->npm,
                        &l->drop,  &l->hello,  &l->expect,   &l->digest};

    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
        free(*strings[i]);
    for (unsigned i = 0; i < l->env_count; i++)
        free(l->env[i]);
    *l = (struct language){0};
}

/* True when word is one of the comma-separated words of list. */
static bool list_has(const char *list, const char *word)
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

static int unknown_language(const char *data, const char *name, struct error *e)
{
    cleanup_free char *all = language_names(data);

    if (!all[0])
        return error_set(e, ERROR_GENERAL, "no language definitions in %s/languages; is CAPSID_DATA right?",
                         data);
    return error_set(e, ERROR_UNKNOWN_LANGUAGE, "unknown language: %.64s\nAvailable: %s", name, all);
}

/* A name is looked up as a file first, so that the common case reads one definition. */
int language_find(struct language *ret, const char *data, const char *name, struct error *e)
{
    char *names[LANGUAGES_MAX];
    int found = 0;

    if (!text_is_name(name))
        return unknown_language(data, name, e);
    cleanup_free char *direct = text_format("%s/languages/%s.ini", data, name);
    if (file_exists(direct))
        return language_read(ret, direct, e);

    size_t count = list_definitions(data, names);
    for (size_t i = 0; i < count; i++) {
        cleanup_free char *path = text_format("%s/languages/%s.ini", data, names[i]);
        struct language l = {0};
        free(names[i]);
        if (found != 0)
            continue;
        if (language_read(&l, path, e) < 0) {
            found = -1;
        } else if (list_has(l.aliases, name)) {
            *ret = l;
            found = 1;
        } else {
            language_done(&l);
        }
    }
    if (found == 0)
        return unknown_language(data, name, e);
    return found < 0 ? -1 : 0;
}
