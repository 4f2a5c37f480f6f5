/* Words of the query. */
#include "api/server.h"

#include "base/moment.h"

#include <string.h>

int query_number(struct exchange *x, const char *name, uint64_t min, uint64_t max, uint64_t fallback,
                 uint64_t *ret)
{
    const char *text = http_query(x, name);

    *ret = fallback;
    if (text && !text_to_u64(text, min, max, ret))
        return refuse(&x->refusal, REFUSAL_INVALID, "%s must be a whole number from %llu to %llu", name,
                      (unsigned long long)min, (unsigned long long)max);
    return 0;
}

int query_moment(struct exchange *x, const char *name, int64_t *ret)
{
    const char *text = http_query(x, name);

    if (text && !moment_parse(text, clock_realtime_ns() / 1000000000, ret))
        return refuse(&x->refusal, REFUSAL_INVALID,
                      "%s must be a time: 2026-12-01T10:30:00Z, 90m, 24h, 7d, or seconds since 1970", name);
    return 0;
}

int query_flag(struct exchange *x, const char *name, bool *ret)
{
    const char *text = http_query(x, name);

    *ret = text && (strcmp(text, "true") == 0 || strcmp(text, "1") == 0);
    return !text || *ret || strcmp(text, "false") == 0 || strcmp(text, "0") == 0
               ? 0
               : refuse(&x->refusal, REFUSAL_INVALID, "%s must be true or false", name);
}
