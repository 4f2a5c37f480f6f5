/* operation_view: how an operation is, as its owner is told. schema.def has the names of the fields. */
#ifndef CAPSID_SERVICE_OPERATION_VIEW_H
#define CAPSID_SERVICE_OPERATION_VIEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* (NAME, "as JSON and the ledger say it") */
#define OPERATION_KINDS(K)                                                                                   \
    K(RUN, "run")                                                                                            \
    K(IMAGE, "rootfs")                                                                                       \
    K(SNAPSHOT, "snapshot")
#define OPERATION_STATUSES(S)                                                                                \
    S(PENDING, "pending")                                                                                    \
    S(RUNNING, "running")                                                                                    \
    S(SUCCEEDED, "succeeded")                                                                                \
    S(FAILED, "failed")                                                                                      \
    S(CANCELLED, "cancelled")

enum operation_kind {
#define K(name, text) OPERATION_##name,
    OPERATION_KINDS(K) OPERATION_KINDS_COUNT
#undef K
};
enum operation_status {
#define S(name, text) OPERATION_IS_##name,
    OPERATION_STATUSES(S) OPERATION_STATUSES_COUNT
#undef S
};

/* Borrowed. Moments in ns since 1970, 0: not yet. */
struct operation_view {
    const char *id;
    enum operation_kind kind;
    enum operation_status status;
    int64_t created, started, finished;
    json_t *error;  /* of a refusal; NULL: there is none */
    json_t *result; /* null: there is none, or none any more; NULL: it is not told */
    bool result_forgotten;
};

#endif
