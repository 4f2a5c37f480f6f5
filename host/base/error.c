#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void set_text(struct error *e, enum error_kind kind, const char *format, va_list args)
{
    e->kind = kind;
    vsnprintf(e->text, sizeof(e->text), format, args);
}

int error_set(struct error *e, enum error_kind kind, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    set_text(e, kind, format, args);
    va_end(args);
    return -1;
}

int error_errno(struct error *e, const char *format, ...)
{
    int saved = errno;
    va_list args;

    va_start(args, format);
    set_text(e, saved == EMFILE || saved == ENFILE ? ERROR_EXHAUSTED : ERROR_GENERAL, format, args);
    va_end(args);
    size_t used = strlen(e->text);
    snprintf(e->text + used, sizeof(e->text) - used, ": %s", strerror(saved));
    errno = saved;
    return -1;
}

int error_wrap(struct error *e, const char *format, ...)
{
    struct error inner = *e;
    va_list args;

    va_start(args, format);
    set_text(e, inner.kind ? inner.kind : ERROR_GENERAL, format, args);
    va_end(args);
    size_t used = strlen(e->text);
    snprintf(e->text + used, sizeof(e->text) - used, ": %.*s", (int)(sizeof(e->text) - 3), inner.text);
    return -1;
}
