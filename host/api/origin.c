/* Which pages' requests are done: a browser sends them for whoever asks it to. */
#include "api/server.h"

#include <string.h>
#include <strings.h>

/* A page of elsewhere whose name was made to mean this machine (DNS rebinding) names itself as the host. */
int origin_check_host(struct exchange *x)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};

    if (!x->server->check_host || !x->host)
        return 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t size = strlen(names[i]);
        if (strncasecmp(x->host, names[i], size) == 0 && (!x->host[size] || x->host[size] == ':'))
            return 0;
    }
    return refuse(
        &x->refusal, REFUSAL_WRONG_HOST,
        "this server is for this machine only; the Host header must be localhost, 127.0.0.1 or [::1]");
}

bool origin_is_allowed(const struct exchange *x, const char *origin)
{
    const char *allowed = x->server->options->cors;

    return strcmp(allowed, "*") == 0 || (allowed[0] && origin && strcmp(allowed, origin) == 0);
}

/* Pages cannot forge Sec-Fetch-Site, but browsers leave it out where the server is reached without TLS under another name than this
 * machine's. What is sent without either comes from no browser. */
int origin_check(struct exchange *x)
{
    const char *origin = http_header(x, "Origin"), *site = http_header(x, "Sec-Fetch-Site");
    const char *host = origin ? strstr(origin, "://") : NULL;

    if (origin_is_allowed(x, origin) || (!origin && !site))
        return 0;
    if (site ? strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0
             : host && x->host && strcasecmp(host + 3, x->host) == 0)
        return 0;
    return refuse(&x->refusal, REFUSAL_ORIGIN, "pages of this origin may not use the API; see --cors-origin");
}
