/*
 * refusal: why a request is not done: an HTTP status, a code for programs and a message for people.
 *
 * E001 to E006 are the codes that clients of older servers know; further ones stand where none of them fits.
 */
#ifndef CAPSID_SERVICE_REFUSAL_H
#define CAPSID_SERVICE_REFUSAL_H

#include "base/error.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>

/* R(NAME, code, HTTP status, words) */
#define REFUSALS(R)                                                                                          \
    R(INVALID, "E001", 400, "the request makes no sense")                                                    \
    R(LIMIT, "E002", 429, "too many requests of this client, or too many at a time")                         \
    R(NO_TOKEN, "E003", 401, "no token was given")                                                           \
    R(BAD_TOKEN, "E004", 401, "the token is not known")                                                      \
    R(TOO_LARGE, "E005", 413, "standard input, program or request too large")                                \
    R(FAILED, "E006", 500, "the server could not do it")                                                     \
    R(NOT_FOUND, "E007", 404, "no such path or thing")                                                       \
    R(METHOD, "E008", 405, "the path has no such method")                                                    \
    R(MEDIA_TYPE, "E009", 415, "the body is not JSON by its type")                                           \
    R(OVERLOAD, "E010", 503, "the queue is full, or the wait was too long")                                  \
    R(UNKNOWN_LANGUAGE, "E011", 400, "no such language")                                                     \
    R(KEY_BUSY, "E012", 409, "the first request with this Idempotency-Key is not done yet")                  \
    R(KEY_REUSED, "E013", 422, "another request had this Idempotency-Key")                                   \
    R(CANCELLED, "E014", 409, "the run was cancelled")                                                       \
    R(STOPPING, "E015", 503, "the server is shutting down")                                                  \
    R(WRONG_HOST, "E016", 421, "the Host header names another server")                                       \
    R(ORIGIN, "E017", 403, "a page of another origin may not do this")                                       \
    R(GONE, "E018", 410, "the session has ended")                                                            \
    R(UPGRADE, "E019", 426, "the path is for WebSockets")                                                    \
    R(RANGE, "E020", 416, "the file has no such bytes")                                                      \
    R(LARGE_HEAD, "E021", 431, "path and headers are too large")                                             \
    R(LOST, "E022", 500, "the server ended before an operation was done")                                    \
    R(NEEDED, "E023", 409, "something else stands on it")                                                    \
    R(OVER, "E024", 409, "the operation has ended")

enum refusal_kind {
    REFUSAL_NONE,
#define REFUSAL_ENUM(name, ...) REFUSAL_##name,
    REFUSALS(REFUSAL_ENUM)
#undef REFUSAL_ENUM
        REFUSALS_COUNT
};

struct refusal {
    enum refusal_kind kind;
    char text[700];
    int retry_after; /* seconds, for the header of that name; 0: none */
};

/* Always returns -1. */
int refuse(struct refusal *r, enum refusal_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* How errors of the program's core are told. */
struct refusal_manner {
    bool discreet; /* paths and the like are for those who run the server, not for those who ask */
    const atomic_bool *stopping;
};

/* Sets the refusal for such an error, and logs what is the server's own trouble; always -1. */
int refuse_error(const struct refusal_manner *m, const struct error *e, const char *trace_id,
                 struct refusal *r);

int refusal_status(enum refusal_kind kind);
const char *refusal_code(enum refusal_kind kind);
const char *refusal_words(enum refusal_kind kind);

#endif
