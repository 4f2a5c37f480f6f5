#include "api/route.h"

#include <stdio.h>
#include <string.h>

static bool matches(const char *pattern, const char *path, char argument[static ROUTE_ARGUMENT_MAX])
{
    argument[0] = '\0';
    while (*pattern) {
        if (strcmp(pattern, "{*}") == 0)
            return true;
        if (strncmp(pattern, "{}", 2) == 0) {
            size_t size = strcspn(path, "/");
            if (size == 0 || size >= ROUTE_ARGUMENT_MAX)
                return false;
            memcpy(argument, path, size);
            argument[size] = '\0';
            pattern += 2;
            path += size;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return *path == '\0';
}

static void add_method(char allow[static ROUTE_ALLOW_MAX], const char *method)
{
    size_t used = strlen(allow);

    snprintf(allow + used, ROUTE_ALLOW_MAX - used, "%s%s", used ? ", " : "", method);
}

const struct route *route_find(const struct route *table, const char *method, const char *path,
                               char argument[static ROUTE_ARGUMENT_MAX], char allow[static ROUTE_ALLOW_MAX],
                               struct refusal *r)
{
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;

    allow[0] = '\0';
    for (const struct route *t = table; t->method; t++) {
        if (!matches(t->pattern, path, argument))
            continue;
        if (strcmp(t->method, wanted) == 0)
            return t;
        add_method(allow, t->method);
        if (strcmp(t->method, "GET") == 0)
            add_method(allow, "HEAD");
    }
    if (allow[0]) {
        add_method(allow, "OPTIONS");
        refuse(r, REFUSAL_METHOD, "this path has the methods %s", allow);
    } else {
        refuse(r, REFUSAL_NOT_FOUND, "there is no such path; GET /api/v1/openapi.json lists those there are");
    }
    return NULL;
}
