#include "image/recipe.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <ctype.h>
#include <string.h>

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

int recipe_check(const struct recipe *r, const char *where, struct error *e)
{
    if (check_present(r, where, e) < 0 || check_lists(r, where, e) < 0)
        return -1;
    if (r->method && strcmp(r->method, "extract") != 0 && strcmp(r->method, "essential") != 0)
        return error_set(e, ERROR_GENERAL, "%s: method must be extract or essential", where);
    return 0;
}
