/*
 * Languages with further packages. Such a language is its name: python+numpy+pandas_2.2.3, which whoever wants the same packages
 * comes to, and from which everything else follows, wherever names of languages are kept and passed on.
 */
#include "language/language.h"

#include "base/cleanup.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define PACKAGES_MAX 32

/* As the index compares names: lower case, and one - for each run of - _ and . */
static void normalise(char *name)
{
    char *out = name;

    for (const char *p = name; *p; p++) {
        bool joint = strchr("-_.", *p);
        if (joint && out > name && out[-1] == '-')
            continue;
        *out++ = joint ? '-' : (char)tolower((unsigned char)*p);
    }
    *out = '\0';
}

/* NAME or NAME==VERSION to NAME or NAME_VERSION, on the heap. */
static char *part_of(const char *package, struct error *e)
{
    const char *equals = strstr(package, "==");

    if (!recipe_is_pip_package(package) || strchr(package, '+') ||
        (equals && !isdigit((unsigned char)equals[2]))) {
        error_set(e, ERROR_USAGE,
                  "packages: \"%.64s\" is not NAME or NAME==VERSION (of letters, digits and . - _)", package);
        return NULL;
    }
    cleanup_free char *name = text_format("%.*s", (int)(equals ? equals - package : 100), package);
    normalise(name);
    return text_format("%s%s%s", name, equals ? "_" : "", equals ? equals + 2 : "");
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool same_package(const char *a, const char *b)
{
    size_t size = strcspn(a, "_");

    return size == strcspn(b, "_") && memcmp(a, b, size) == 0;
}

/* Sorted, each once. */
static int join_parts(struct buffer *name, char **parts, size_t count, struct error *e)
{
    qsort(parts, count, sizeof(parts[0]), by_text);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && strcmp(parts[i], parts[i - 1]) == 0)
            continue;
        for (size_t before = 0; before < i; before++)
            if (same_package(parts[before], parts[i]) && strcmp(parts[before], parts[i]) != 0)
                return error_set(e, ERROR_USAGE, "packages: %.*s is named twice, with different versions",
                                 (int)strcspn(parts[i], "_"), parts[i]);
        buffer_add_text(name, "+%s", parts[i]);
    }
    if (name->size > LANGUAGE_NAME_MAX)
        return error_set(e, ERROR_USAGE,
                         "packages: together with the language they have %zu characters, %d are the most",
                         name->size, LANGUAGE_NAME_MAX);
    return 0;
}

static int split_list(char *list, char *parts[static PACKAGES_MAX], size_t *ret_count, struct error *e)
{
    char *state = NULL;

    for (char *word = strtok_r(list, ",", &state); word; word = strtok_r(NULL, ",", &state)) {
        if (*ret_count == PACKAGES_MAX)
            return error_set(e, ERROR_USAGE, "packages: more than %d", PACKAGES_MAX);
        char *part = part_of(text_trim(word), e);
        if (!part)
            return -1;
        parts[(*ret_count)++] = part;
    }
    return *ret_count > 0 ? 0 : error_set(e, ERROR_USAGE, "packages: names none");
}

char *language_variant(const char *language, const char *packages, struct error *e)
{
    cleanup_free char *list = text_copy(packages);
    cleanup_buffer struct buffer name = {0};
    char *parts[PACKAGES_MAX];
    size_t count = 0;

    buffer_add_text(&name, "%s", language);
    int result = split_list(list, parts, &count, e);
    if (result == 0)
        result = join_parts(&name, parts, count, e);
    while (count > 0)
        free(parts[--count]);
    return result == 0 ? text_copy(name.data) : NULL;
}

const char *language_variant_packages(const char *name)
{
    const char *plus = strchr(name, '+');

    /* c++ is a language. */
    for (const char *p = plus; p; p = strchr(p + 1, '+'))
        if (!isalnum((unsigned char)p[1]))
            return NULL;
    return plus && plus > name && strlen(name) <= LANGUAGE_NAME_MAX ? plus + 1 : NULL;
}

/* numpy+pandas_2.2.3 to numpy,pandas==2.2.3. */
static char *requirements_of(const char *parts)
{
    struct buffer list = {0};

    for (; *parts; parts++) {
        if (*parts == '+')
            buffer_add(&list, ",", 1);
        else if (*parts == '_')
            buffer_add(&list, "==", 2);
        else
            buffer_add(&list, parts, 1);
    }
    buffer_add(&list, "", 1);
    return list.data;
}

int language_add_packages(struct language *l, const char *parts, struct error *e)
{
    cleanup_free char *given = requirements_of(parts);
    cleanup_free char *name = language_variant(l->name, given, e);

    if (!name)
        return -1;
    if (!language_list_has(l->recipe.packages, "python3"))
        return error_set(e, ERROR_USAGE, "packages: the image of %s has no python3, which they are for",
                         l->name);
    cleanup_free char *list = requirements_of(name + strlen(l->name) + 1);
    char *own = text_copy(name);
    char *title = text_format("%s with %s", l->title, list);
    char *pip = text_format("%s%s%s", l->recipe.pip ? l->recipe.pip : "", l->recipe.pip ? "," : "", list);
    free(l->title);
    free(l->name);
    free(l->recipe.pip);
    l->title = title;
    l->name = own;
    l->recipe.pip = pip;
    l->variant = true;
    return 0;
}
