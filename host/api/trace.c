#include "api/trace.h"

#include "base/deadline.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static bool is_request_id(const char *s)
{
    size_t size = s ? strlen(s) : 0;

    return size > 0 && size <= TRACE_ID_MAX &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:+/=@") == size;
}

static bool is_hex(const char *s, size_t size)
{
    return strspn(s, "0123456789abcdef") >= size && strspn(s, "0") < size;
}

/* 00-TRACE(32)-SPAN(16)-FLAGS(2) */
static bool is_traceparent(const char *s)
{
    return s && strlen(s) == 55 && strncmp(s, "00-", 3) == 0 && is_hex(s + 3, 32) && s[35] == '-' &&
           is_hex(s + 36, 16) && s[52] == '-' && strspn(s + 53, "0123456789abcdef") == 2;
}

void trace_begin(struct trace *t, const char *request_id, const char *traceparent)
{
    uint64_t random[3];

    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        random[0] = random[1] = random[2] = (uint64_t)clock_realtime_ns();
    random[0] |= 1;
    random[2] |= 1;
    if (is_request_id(request_id))
        strcpy(t->id, request_id);
    else
        trace_id_make(t->id);
    if (is_traceparent(traceparent))
        snprintf(t->parent, sizeof(t->parent), "%.35s-%016llx-%.2s", traceparent,
                 (unsigned long long)random[2], traceparent + 53);
    else
        snprintf(t->parent, sizeof(t->parent), "00-%016llx%016llx-%016llx-00", (unsigned long long)random[0],
                 (unsigned long long)random[1], (unsigned long long)random[2]);
}
