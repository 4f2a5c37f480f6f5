/* refusal_view: a refusal, as clients are told. schema.def has the names of the fields. */
#ifndef CAPSID_SERVICE_REFUSAL_VIEW_H
#define CAPSID_SERVICE_REFUSAL_VIEW_H

#include "service/refusal.h"

#include <stdint.h>

/* Borrowed. */
struct refusal_view {
    unsigned status; /* 0: it is an error, the only one that there is */
    enum refusal_kind kind;
    const char *message, *trace_id;
    uint64_t retry_after;              /* seconds, 0: none */
    const struct refusal_view *reason; /* the same once more */
};

#endif
