/* One definition: its keys, and what they may hold. */
#include "language/language.h"

#include "base/cleanup.h"
#include "base/file.h"

#include <ctype.h>
#include <ini.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define DEFINITION_MAX (64 * 1024)
#define LINE_MAX_SIZE 198 /* of inih */

/* A definition being read: the language, and the values that become numbers. */
struct parse {
    struct language l;
    char *prime, *memory, *vcpus, *keep;
    const char *path;
    struct error *error;
    bool failed;
};

/* Every key but those of [env]. */
static const struct {
    const char *section, *key;
    size_t offset; /* of the char * in struct parse */
} keys[] = {
#define KEY(section, key, member) section, key, offsetof(struct parse, member)
    {KEY("language", "name", l.name)},
    {KEY("language", "title", l.title)},
    {KEY("language", "aliases", l.aliases)},
    {KEY("language", "extension", l.extension)},
    {KEY("language", "extensions", l.extensions)},
    {KEY("language", "interpreters", l.interpreters)},
    {KEY("language", "source", l.source)},
    {KEY("language", "build", l.build)},
    {KEY("language", "run", l.run)},
    {KEY("language", "prime", prime)},
    {KEY("language", "import", l.import)},
    {KEY("image", "suite", l.recipe.suite)},
    {KEY("image", "extra", l.recipe.extra)},
    {KEY("image", "method", l.recipe.method)},
    {KEY("image", "packages", l.recipe.packages)},
    {KEY("image", "npm", l.recipe.npm)},
    {KEY("image", "pip", l.recipe.pip)},
    {KEY("image", "post", l.recipe.post)},
    {KEY("image", "drop", l.recipe.drop)},
    {KEY("image", "oci", l.recipe.oci)},
    {KEY("vm", "memory", memory)},
    {KEY("vm", "vcpus", vcpus)},
    {KEY("warm", "command", l.warm)},
    {KEY("warm", "keep", keep)},
    {KEY("hello", "code", l.hello)},
    {KEY("hello", "expect", l.expect)},
#undef KEY
};
#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

static char **field_at(struct parse *p, size_t key)
{
    return (char **)(void *)((char *)p + keys[key].offset);
}

/* What belongs to a parse and not to its language. */
static void parse_done(struct parse *p)
{
    free(p->prime);
    free(p->memory);
    free(p->vcpus);
    free(p->keep);
}

static void free_env(struct language *l)
{
    while (l->env_count > 0)
        free(l->env[--l->env_count]);
}

static bool has_variable(const struct language *l, const char *variable)
{
    size_t size = strcspn(variable, "=") + 1;

    for (unsigned n = 0; n < l->env_count; n++)
        if (strncmp(l->env[n], variable, size) == 0)
            return true;
    return false;
}

int language_add_variable(struct language *l, const char *variable, struct error *e)
{
    if (has_variable(l, variable))
        return 0;
    if (l->env_count == LANGUAGE_ENV_MAX)
        return error_set(e, ERROR_GENERAL, "language %s and its image set more than %d variables", l->name,
                         LANGUAGE_ENV_MAX);
    l->env[l->env_count++] = text_copy(variable);
    return 0;
}

int language_replace_env(struct language *l, const char *env, size_t size, struct error *e)
{
    free_env(l);
    for (size_t at = 0; at < size; at += strlen(env + at) + 1) {
        if (!memchr(env + at, '\0', size - at) || l->env_count == LANGUAGE_ENV_MAX)
            return error_set(e, ERROR_GENERAL, "the variables of %s are more than %d, or cut off", l->name,
                             LANGUAGE_ENV_MAX);
        l->env[l->env_count++] = text_copy(env + at);
    }
    return 0;
}

void language_done(struct language *l)
{
    struct parse p = {.l = *l};

    for (size_t i = 0; i < KEY_COUNT; i++)
        free(*field_at(&p, i));
    free_env(l);
    free(l->digest);
    *l = (struct language){0};
}

/* A key that comes again, and a continued line, add to the value. */
static void join(char **field, const char *separator, const char *value)
{
    char *joined = *field ? text_format("%s%s%s", *field, separator, value) : text_copy(value);

    free(*field);
    *field = joined;
}

static int set_variable(struct parse *p, const char *name, const char *value)
{
    struct language *l = &p->l;
    size_t size = strlen(name);

    if (!text_is_variable(name))
        return error_set(p->error, ERROR_GENERAL, "%s: [env] %.64s is not a name for a variable", p->path,
                         name);
    for (unsigned i = 0; i < l->env_count; i++) {
        if (strncmp(l->env[i], name, size) == 0 && l->env[i][size] == '=') {
            join(&l->env[i], " ", value);
            return 0;
        }
    }
    if (l->env_count == LANGUAGE_ENV_MAX)
        return error_set(p->error, ERROR_GENERAL, "%s: [env] has more than %d variables", p->path,
                         LANGUAGE_ENV_MAX);
    l->env[l->env_count++] = text_format("%s=%s", name, value);
    return 0;
}

static int set_entry(struct parse *p, const char *section, const char *key, const char *value)
{
    bool known = strcmp(section, "env") == 0;

    if (known)
        return set_variable(p, key, value);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (strcmp(section, keys[i].section) != 0)
            continue;
        known = true;
        if (strcmp(key, keys[i].key) == 0) {
            join(field_at(p, i), " ", value);
            return 0;
        }
    }
    if (!known)
        return error_set(p->error, ERROR_GENERAL, "%s: unknown section [%.64s] (with key %.64s)", p->path,
                         section, key);
    return error_set(p->error, ERROR_GENERAL, "%s: unknown key in [%s]: %.64s", p->path, section, key);
}

static int on_entry(void *user, const char *section, const char *key, const char *value)
{
    struct parse *p = user;

    if (!p->failed)
        p->failed = set_entry(p, section, key, value) < 0;
    return 1;
}

/* Replaces \n, \t and \\ in place. */
static int unescape_language(char *text, const char *path, const char *key, struct error *e)
{
    char *out = text;

    for (const char *p = text; text && *p; p++) {
        if (*p != '\\') {
            *out++ = *p;
            continue;
        }
        p++;
        if (*p != 'n' && *p != 't' && *p != '\\')
            return error_set(
                e, ERROR_GENERAL,
                "%s: [hello] %s: \\%.1s is no escape; there are \\n, \\t and, for a backslash, \\\\", path,
                key, p);
        *out++ = *p == 'n' ? '\n' : *p == 't' ? '\t' : '\\';
    }
    if (text)
        *out = '\0';
    return 0;
}

static int set_switch(struct parse *p, const char *key, const char *text, bool *ret)
{
    *ret = text && strcmp(text, "yes") == 0;
    return !text || *ret || strcmp(text, "no") == 0
               ? 0
               : error_set(p->error, ERROR_GENERAL, "%s: %s must be yes or no", p->path, key);
}

static int set_numbers(struct parse *p)
{
    struct language *l = &p->l;

    if (set_switch(p, "prime", p->prime, &l->prime) < 0 || set_switch(p, "keep", p->keep, &l->warm_keep) < 0)
        return -1;
    l->shape.memory_mib = 256;
    if (p->memory && !text_to_u64(p->memory, 32, 1 << 20, &l->shape.memory_mib))
        return error_set(p->error, ERROR_GENERAL,
                         "%s: memory is \"%.64s\", but must be a number from 32 to %d", p->path, p->memory,
                         1 << 20);
    l->shape.vcpus = 1;
    if (p->vcpus && !text_to_u64(p->vcpus, 1, 32, &l->shape.vcpus))
        return error_set(p->error, ERROR_GENERAL, "%s: vcpus is \"%.64s\", but must be a number from 1 to 32",
                         p->path, p->vcpus);
    return 0;
}

/* An empty value is as good as none. */
static void drop_empty(struct parse *p)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        char **field = field_at(p, i);
        if (*field && !(*field)[0]) {
            free(*field);
            *field = NULL;
        }
    }
}

static int check_present(const struct language *l, const char *path, struct error *e)
{
    const struct {
        const char *key, *value;
    } required[] = {{"name", l->name}, {"extension", l->extension}, {"source", l->source}, {"run", l->run}};

    for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++)
        if (!required[i].value)
            return error_set(e, ERROR_GENERAL, "%s: %s is missing", path, required[i].key);
    return 0;
}

/* Names are also part of file names, and typed by people: lower case only. */
static bool is_language_name(const char *s)
{
    for (const char *p = s; *p; p++)
        if (isupper((unsigned char)*p) || *p == '_')
            return false;
    return text_is_name(s);
}

/* Aliases are no file names: c#. */
static bool is_alias(const char *s)
{
    cleanup_free char *copy = text_copy(s);

    for (char *p = copy; *p; p++)
        if (*p == '#')
            *p = '+';
    return is_language_name(copy);
}

/* Of letters, digits and _, with dots between them. */
static bool is_module(const char *s)
{
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && *s != '_' && (*s != '.' || s[1] == '.' || s[1] == '\0'))
            return false;
    return true;
}

static int check_lists(const struct language *l, const char *path, struct error *e)
{
    const struct {
        const char *key, *list;
        bool (*check)(const char *word);
    } lists[] = {
        {"name", l->name, is_language_name},       {"aliases", l->aliases, is_alias},
        {"extension", l->extension, text_is_name}, {"extensions", l->extensions, text_is_name},
        {"source", l->source, text_is_name},       {"interpreters", l->interpreters, text_is_name},
        {"import", l->import, is_module},
    };
    cleanup_free char *bad = NULL;

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        if (!text_each_word(lists[i].list, lists[i].check, &bad))
            return error_set(e, ERROR_GENERAL, "%s: %s: \"%.64s\" is not a valid entry", path, lists[i].key,
                             bad);
    /* These are one word each. */
    if (strchr(l->name, ',') || strchr(l->extension, ',') || strchr(l->source, ','))
        return error_set(e, ERROR_GENERAL, "%s: name, extension and source are not lists", path);
    return 0;
}

static int check_commands(const struct language *l, const char *path, struct error *e)
{
    const char *file = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    size_t size = strlen(l->name);

    if (strncmp(file, l->name, size) != 0 || strcmp(file + size, ".ini") != 0)
        return error_set(e, ERROR_GENERAL, "%s: the language %s must be in a file of that name, %s.ini", path,
                         l->name, l->name);
    if (!l->build && !strstr(l->run, "{source}"))
        return error_set(e, ERROR_GENERAL, "%s: run does not use {source}", path);
    if (l->import && !l->prime)
        return error_set(e, ERROR_GENERAL, "%s: import is for a language with prime = yes", path);
    if (l->build && l->prime)
        return error_set(e, ERROR_GENERAL, "%s: a language with a build command cannot be primed", path);
    if (l->warm && strstr(l->warm, "{source}") && !l->hello)
        return error_set(e, ERROR_GENERAL, "%s: [warm] uses {source}, which needs code in [hello]", path);
    return 0;
}

/* The first one is among them. */
static void join_extensions(struct language *l)
{
    char *further = l->extensions;

    l->extensions = further ? text_format("%s, %s", l->extension, further) : text_copy(l->extension);
    free(further);
}

static int complete_language(struct parse *p)
{
    struct language *l = &p->l;

    drop_empty(p);
    if (set_numbers(p) < 0 || check_present(l, p->path, p->error) < 0 ||
        recipe_check(&l->recipe, p->path, p->error) < 0 || check_lists(l, p->path, p->error) < 0 ||
        check_commands(l, p->path, p->error) < 0 ||
        unescape_language(l->hello, p->path, "code", p->error) < 0 ||
        unescape_language(l->expect, p->path, "expect", p->error) < 0)
        return -1;
    if (!l->title)
        l->title = text_copy(l->name);
    join_extensions(l);
    return 0;
}

/* The parser would take the rest of a long line for another line. */
static int check_text(const struct buffer *text, const char *path, struct error *e)
{
    unsigned number = 1;

    if (memchr(text->data, '\0', text->size))
        return error_set(e, ERROR_GENERAL, "%s: has a NUL byte; it is not a text file", path);
    for (const char *line = text->data; *line; number++) {
        size_t size = strcspn(line, "\n");
        if (size > LINE_MAX_SIZE)
            return error_set(
                e, ERROR_GENERAL,
                "%s: line %u has %zu characters, %d are the most; continue it on an indented line", path,
                number, size, LINE_MAX_SIZE);
        line += size + (line[size] == '\n');
    }
    return 0;
}

int language_read(struct language *ret, const char *path, struct error *e)
{
    struct parse p = {.path = path, .error = e};
    cleanup_buffer struct buffer text = {0};
    char digest[DIGEST_HEX_SIZE];

    if (file_read(path, DEFINITION_MAX, &text, e) < 0)
        return -1;
    buffer_add(&text, "", 0); /* an empty file has its NUL, too */
    if (check_text(&text, path, e) < 0)
        return -1;
    int line = ini_parse_string(text.data, on_entry, &p);
    if (!p.failed && line != 0) {
        error_set(e, ERROR_GENERAL, "%s: line %d is not INI", path, line);
        p.failed = true;
    }
    p.failed = p.failed || complete_language(&p) < 0;
    parse_done(&p);
    if (p.failed) {
        language_done(&p.l);
        return -1;
    }
    digest_bytes(text.data, text.size, digest);
    p.l.digest = text_copy(digest);
    *ret = p.l;
    return 0;
}
