/* One definition: its keys, and what they may hold. */
#include "language/language.h"

#include "base/cleanup.h"
#include "config/definition.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* A definition being read: the language, and the values that become numbers. */
struct parse {
    struct language l;
    char *prime, *imported_prime, *memory, *vcpus, *keep;
    const char *path;
    struct error *error;
};

/* Every key but those of [env] and [image]. */
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
    {KEY("imported", "run", l.imported_run)},
    {KEY("imported", "prime", imported_prime)},
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
    free(p->imported_prime);
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

/* NAME=/PATH, elsewhere than below /tmp, which is the same in every image. */
static bool names_a_place(const char *variable)
{
    const char *value = strchr(variable, '=') + 1;

    return value[0] == '/' && strncmp(value, "/tmp/", 5) != 0;
}

static void drop_places(struct language *l)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < l->env_count; i++) {
        if (names_a_place(l->env[i]))
            free(l->env[i]);
        else
            l->env[kept++] = l->env[i];
    }
    l->env_count = kept;
}

/* What the command runs, without its directory. */
static char *look_up_in_path(const char *run)
{
    size_t first = strcspn(run, " ");
    const char *name = run;

    for (const char *p = run; p < run + first && run[0] == '/'; p++)
        if (*p == '/')
            name = p + 1;
    return text_copy(name);
}

void language_move(struct language *l)
{
    char *run = l->imported_run ? text_copy(l->imported_run) : look_up_in_path(l->run);

    free(l->run);
    free(l->warm);
    free(l->import);
    l->run = run;
    l->warm = l->import = NULL;
    l->prime = l->imported_prime;
    l->imported = true;
    drop_places(l);
}

void language_done(struct language *l)
{
    struct parse p = {.l = *l};

    for (size_t i = 0; i < KEY_COUNT; i++)
        free(*field_at(&p, i));
    free_env(l);
    recipe_done(&l->recipe);
    free(l->digest);
    *l = (struct language){0};
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
            definition_join(&l->env[i], value);
            return 0;
        }
    }
    if (l->env_count == LANGUAGE_ENV_MAX)
        return error_set(p->error, ERROR_GENERAL, "%s: [env] has more than %d variables", p->path,
                         LANGUAGE_ENV_MAX);
    l->env[l->env_count++] = text_format("%s=%s", name, value);
    return 0;
}

static int set_entry(void *parse, const char *section, const char *key, const char *value, struct error *e)
{
    struct parse *p = parse;
    bool known = strcmp(section, "image") == 0;
    char **field = known ? recipe_field(&p->l.recipe, key) : NULL;

    if (strcmp(section, "env") == 0)
        return set_variable(p, key, value);
    if (field) {
        definition_join(field, value);
        return 0;
    }
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (strcmp(section, keys[i].section) != 0)
            continue;
        known = true;
        if (strcmp(key, keys[i].key) == 0) {
            definition_join(field_at(p, i), value);
            return 0;
        }
    }
    if (!known)
        return error_set(e, ERROR_GENERAL, "%s: unknown section [%.64s] (with key %.64s)", p->path, section,
                         key);
    return error_set(e, ERROR_GENERAL, "%s: unknown key in [%s]: %.64s", p->path, section, key);
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

    if (set_switch(p, "prime", p->prime, &l->prime) < 0 ||
        set_switch(p, "prime", p->imported_prime, &l->imported_prime) < 0 ||
        set_switch(p, "keep", p->keep, &l->warm_keep) < 0)
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
    if (l->imported_run && !strstr(l->imported_run, l->build ? "{" : "{source}"))
        return error_set(e, ERROR_GENERAL, "%s: [imported] run does not use {source}", path);
    if (l->build && (l->prime || l->imported_prime))
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

    for (size_t i = 0; i < KEY_COUNT; i++)
        definition_drop_empty(field_at(p, i));
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

int language_read(struct language *ret, const char *path, struct error *e)
{
    struct parse p = {.path = path, .error = e};
    char digest[DIGEST_HEX_SIZE];

    int result = definition_read(path, set_entry, &p, digest, e);
    if (result == 0)
        result = complete_language(&p);
    parse_done(&p);
    if (result < 0) {
        language_done(&p.l);
        return -1;
    }
    p.l.digest = text_copy(digest);
    *ret = p.l;
    return 0;
}
