#include "service/refusal.h"

#include "base/log.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *code, *words;
    int status;
} kinds[] = {{"", "", 500},
#define REFUSAL_ROW(name, code, status, words) {code, words, status},
             REFUSALS(REFUSAL_ROW)
#undef REFUSAL_ROW
};

int refuse(struct refusal *r, enum refusal_kind kind, const char *format, ...)
{
    va_list args;

    r->kind = kind;
    va_start(args, format);
    vsnprintf(r->text, sizeof(r->text), format, args);
    va_end(args);
    return -1;
}

int refuse_error(const struct refusal_manner *m, const struct error *e, const char *trace_id,
                 struct refusal *r)
{
    switch (e->kind) {
    case ERROR_UNKNOWN_LANGUAGE:
        return refuse(r, REFUSAL_UNKNOWN_LANGUAGE, "%.600s", e->text);
    case ERROR_USAGE:
    case ERROR_REFUSED:
        return refuse(r, REFUSAL_INVALID, "%.600s", e->text);
    case ERROR_NOT_FOUND:
        return refuse(r, REFUSAL_NOT_FOUND, "%.600s", e->text);
    case ERROR_NEEDED:
        return refuse(r, REFUSAL_NEEDED, "%.600s", e->text);
    case ERROR_CANCELLED:
        if (*m->stopping)
            return refuse(r, REFUSAL_STOPPING, "the server is shutting down");
        return refuse(r, REFUSAL_CANCELLED, "cancelled");
    case ERROR_BUSY:
    case ERROR_EXHAUSTED:
        r->retry_after = 1;
        return refuse(r, REFUSAL_OVERLOAD, "%.600s", e->text);
    default:
        log_warning("trace_id=%s: %s", trace_id, e->text);
        if (m->discreet)
            return refuse(r, REFUSAL_FAILED, "the server could not do it; its log says why");
        return refuse(r, REFUSAL_FAILED, "%.600s", e->text);
    }
}

int refusal_status(enum refusal_kind kind)
{
    return kinds[kind].status;
}

const char *refusal_code(enum refusal_kind kind)
{
    return kinds[kind].code;
}

const char *refusal_words(enum refusal_kind kind)
{
    return kinds[kind].words;
}
