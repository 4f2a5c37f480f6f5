#include "core/call.h"

#include <stdatomic.h>
#include <stdio.h>

void trace_id_make(char ret[static TRACE_ID_MAX + 1])
{
    static atomic_llong last;
    long long seen = atomic_load(&last), next;

    do {
        next = clock_realtime_ns();
        next = next > seen ? next : seen + 1;
    } while (!atomic_compare_exchange_weak(&last, &seen, next));
    snprintf(ret, TRACE_ID_MAX + 1, "tr-%lld", next);
}

struct call call_begin(int cancel_fd)
{
    struct call c = CALL(cancel_fd);

    trace_id_make(c.trace_id);
    return c;
}
