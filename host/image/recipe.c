#include "image/recipe.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "config/definition.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *key;
    size_t offset; /* of the char * in struct recipe */
} keys[] = {
#define KEY(name) #name, offsetof(struct recipe, name)
    {KEY(suite)}, {KEY(extra)}, {KEY(method)}, {KEY(packages)}, {KEY(npm)},
    {KEY(pip)},   {KEY(post)},  {KEY(drop)},   {KEY(oci)},
#undef KEY
};
#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

static char **field_of(struct recipe *r, size_t key)
{
    return (char **)(void *)((char *)r + keys[key].offset);
}

char **recipe_field(struct recipe *r, const char *key)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strcmp(key, keys[i].key) == 0)
            return field_of(r, i);
    return NULL;
}

void recipe_done(struct recipe *r)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        free(*field_of(r, i));
    *r = (struct recipe){0};
}

static bool only_has(const char *s, const char *further)
{
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr(further, *s))
            return false;
    return true;
}

static bool is_package(const char *s)
{
    return isalnum((unsigned char)s[0]) && only_has(s, "+.-:/");
}

/* NAME@VERSION, where NAME may begin with a scope, @SCOPE/. */
static bool is_npm_package(const char *s)
{
    const char *at = s[0] ? strchr(s + 1, '@') : NULL;

    return at && at[1] && !strchr(at + 1, '@') && !strchr(at + 1, '/') && at - s > (s[0] == '@' ? 3 : 0) &&
           !strstr(s, "..") && s[0] != '.' && s[0] != '-' && s[0] != '/' && only_has(s, "@/._+-");
}

bool recipe_is_pip_package(const char *s)
{
    const char *equals = strstr(s, "==");
    size_t size = equals ? (size_t)(equals - s) : strlen(s);

    return size > 0 && size <= 100 && isalnum((unsigned char)s[0]) && isalnum((unsigned char)s[size - 1]) &&
           strcspn(s, "+=") == size && only_has(s, "._-=+") &&
           (!equals || (isalnum((unsigned char)equals[2]) && strlen(equals) <= 66 &&
                        !strchr(equals + 2, '=') && !strchr(equals, '_')));
}

static bool is_oci_reference(const char *s)
{
    return isalnum((unsigned char)s[0]) && only_has(s, "/:@._-");
}

static int check_present(const struct recipe *r, const char *where, struct error *e)
{
    const struct {
        const char *key, *value;
    } required[] = {{"suite", r->suite}, {"method", r->method}, {"packages", r->packages}};

    for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++)
        if (!required[i].value && !r->oci)
            return error_set(e, ERROR_GENERAL, "%s: %s is missing", where, required[i].key);
    return 0;
}

static int check_lists(const struct recipe *r, const char *where, struct error *e)
{
    const struct {
        const char *key, *list;
        bool (*check)(const char *word);
    } lists[] = {
        {"suite", r->suite, text_is_name},      {"extra", r->extra, text_is_name},
        {"packages", r->packages, is_package},  {"npm", r->npm, is_npm_package},
        {"pip", r->pip, recipe_is_pip_package}, {"oci", r->oci, is_oci_reference},
    };
    cleanup_free char *bad = NULL;

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        if (!text_each_word(lists[i].list, lists[i].check, &bad))
            return error_set(e, ERROR_GENERAL, "%s: %s: \"%.64s\" is not a valid entry", where, lists[i].key,
                             bad);
    return 0;
}

int recipe_check(struct recipe *r, const char *where, struct error *e)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        definition_drop_empty(field_of(r, i));
    if (check_present(r, where, e) < 0 || check_lists(r, where, e) < 0)
        return -1;
    if (r->method && strcmp(r->method, "extract") != 0 && strcmp(r->method, "essential") != 0)
        return error_set(e, ERROR_GENERAL, "%s: method must be extract or essential", where);
    return 0;
}

/* ---- recipes that are no language's ---------------------------------------------------------------- */

struct recipe_reading {
    struct recipe *recipe;
    const char *path;
};

static int set_recipe_entry(void *reading, const char *section, const char *key, const char *value,
                            struct error *e)
{
    struct recipe_reading *r = reading;
    char **field = strcmp(section, "image") == 0 ? recipe_field(r->recipe, key) : NULL;

    if (!field)
        return error_set(e, ERROR_GENERAL, "%s: unknown key in [%.64s]: %.64s", r->path, section, key);
    definition_join(field, value);
    return 0;
}

int recipe_find(struct recipe *ret, const char *data, const char *name, struct error *e)
{
    cleanup_free char *path = text_format("%s/images/%s.ini", data, name);
    struct recipe_reading r = {ret, path};
    char digest[DIGEST_HEX_SIZE];

    *ret = (struct recipe){0};
    if (!text_is_name(name) || !file_exists(path))
        return error_set(e, ERROR_NOT_FOUND, "there is no recipe for an image %.64s in %s/images", name,
                         data);
    if (definition_read(path, set_recipe_entry, &r, digest, e) == 0 && recipe_check(ret, path, e) == 0)
        return 0;
    recipe_done(ret);
    return -1;
}
