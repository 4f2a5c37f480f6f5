/* session_view: how a session is, as its owner is told. schema.def has the names of the fields. */
#ifndef CAPSID_SERVICE_SESSION_VIEW_H
#define CAPSID_SERVICE_SESSION_VIEW_H

#include <stdint.h>

/* S(NAME, "as JSON says it", "how it ended"; "": it has not) */
#define SESSION_CONDITIONS(S)                                                                                \
    S(STARTING, "starting", "")                                                                              \
    S(READY, "ready", "")                                                                                    \
    S(CLOSED, "closed", "it was closed")                                                                     \
    S(IDLE, "idle", "it was idle for too long")                                                              \
    S(EXPIRED, "expired", "its time was over")                                                               \
    S(LOST, "lost", "its VM was lost")                                                                       \
    S(FAILED, "failed", "its VM could not be started")

enum session_condition {
#define S(name, text, end) SESSION_IS_##name,
    SESSION_CONDITIONS(S) SESSION_CONDITIONS_COUNT
#undef S
};

/* Borrowed strings; times in seconds, moments since 1970. */
struct session_view {
    const char *id, *language;
    enum session_condition condition;
    uint64_t created, expires, timeout, idle_timeout;
    uint64_t in_use;       /* requests and terminals */
    uint64_t idle_seconds; /* since the last of them */
    const char *reason;    /* NULL: there is none, or it is not told */
};

#endif
