/*
 * trace: the ids that tie a request, its log lines and its answer together. A client may bring X-Request-Id and
 * traceparent (W3C Trace Context, version 00); what is not well formed is replaced, as both documents advise.
 */
#ifndef CAPSID_API_TRACE_H
#define CAPSID_API_TRACE_H

#include "core/call.h"

struct trace {
    char id[TRACE_ID_MAX + 1]; /* the client's X-Request-Id, or one as of call_begin() */
    char parent[56]; /* traceparent of the answer: the client's trace, or a new one; a span of our own */
};

/* Both may be NULL. */
void trace_begin(struct trace *t, const char *request_id, const char *traceparent);

#endif
