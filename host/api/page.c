/* Files that are part of the program: the OpenAPI description and the page. */
#include "api/assets.h"
#include "api/server.h"

#include "base/cleanup.h"

#include <pthread.h>
#include <string.h>

static const char *type_of(const char *name)
{
    static const char *const types[][2] = {{".html", "text/html; charset=utf-8"},
                                           {".js", "text/javascript; charset=utf-8"},
                                           {".css", "text/css; charset=utf-8"},
                                           {".json", "application/json"},
                                           {".svg", "image/svg+xml"},
                                           {".png", "image/png"},
                                           {".ico", "image/x-icon"}};
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; dot && i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(dot, types[i][0]) == 0)
            return types[i][1];
    return "application/octet-stream";
}

static bool has_path(const struct asset *a, const char *path)
{
    if (strcmp(a->name, "openapi.json") == 0)
        return strcmp(path, "/api/v1/openapi.json") == 0;
    if (strncmp(a->name, "page/", 5) != 0)
        return false;
    return strcmp(path, a->name + 4) == 0 ||
           (strcmp(path, "/") == 0 && strcmp(a->name, "page/index.html") == 0);
}

/* If-None-Match may list several, and may call them weak (RFC 9110, section 13.1.2). */
static bool is_known(const char *if_none_match, const char *etag)
{
    return if_none_match && (strcmp(if_none_match, "*") == 0 || strstr(if_none_match, etag));
}

bool page_find(const char *path, const char *if_none_match, struct answer *ret)
{
    char digest[DIGEST_HEX_SIZE];
    const struct asset *a = api_assets;

    while (a->name && !has_path(a, path))
        a++;
    if (!a->name)
        return false;
    digest_bytes(a->data, (size_t)(a->end - a->data), digest);
    snprintf(ret->etag, sizeof(ret->etag), "\"%.32s\"", digest);
    ret->page = strcmp(a->name, "openapi.json") != 0;
    ret->type = type_of(a->name);
    ret->status = is_known(if_none_match, ret->etag) ? 304 : 200;
    ret->fixed = a->data;
    ret->fixed_size = ret->status == 200 ? (size_t)(a->end - a->data) : 0;
    return true;
}
