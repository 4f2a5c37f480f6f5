/* stream_view: events of a run that is streamed, beside its result. schema.def has the names of the fields. */
#ifndef CAPSID_SERVICE_STREAM_VIEW_H
#define CAPSID_SERVICE_STREAM_VIEW_H

#include "base/text.h"
#include "service/result.h"

/* E(NAME, "as a stream says it") */
#define STREAM_EVENTS(E)                                                                                     \
    E(NONE, "")                                                                                              \
    E(START, "start")   /* the program has its turn */                                                       \
    E(STDOUT, "stdout") /* what it prints */                                                                 \
    E(STDERR, "stderr")                                                                                      \
    E(END, "end")     /* how it ended: the result */                                                         \
    E(ERROR, "error") /* it could not run: the refusal */

enum stream_event {
#define E(name, text) STREAM_EVENT_##name,
    STREAM_EVENTS(E) STREAM_EVENTS_COUNT
#undef E
};

/* What an event tells. */
struct stream_view {
    enum stream_event event;
    const char *trace_id;
    struct buffer data;         /* borrowed */
    enum result_phase_id phase; /* that printed it */
};

#endif
