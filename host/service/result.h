/* result: what became of a program, as whoever asked for it is told. schema.def has the names. */
#ifndef CAPSID_SERVICE_RESULT_H
#define CAPSID_SERVICE_RESULT_H

#include "core/run.h"

#include <jansson.h>

/* R(NAME, "as JSON says it") */
#define RESULT_PHASES(R)                                                                                     \
    R(RUN, "run")                                                                                            \
    R(COMPILE, "compile")
#define RESULT_STATUSES(R)                                                                                   \
    R(SUCCESS, "success")                                                                                    \
    R(ERROR, "error")                                                                                        \
    R(TIMEOUT, "timeout")
#define RESULT_STATES(R)                                                                                     \
    R(SUCCESS, "SUCCESS")                                                                                    \
    R(FAILED, "FAILED")

enum result_phase_id {
#define R(name, text) RESULT_PHASE_##name,
    RESULT_PHASES(R) RESULT_PHASES_COUNT
#undef R
};
enum result_status {
#define R(name, text) RESULT_STATUS_##name,
    RESULT_STATUSES(R) RESULT_STATUSES_COUNT
#undef R
};
enum result_state {
#define R(name, text) RESULT_STATE_##name,
    RESULT_STATES(R) RESULT_STATES_COUNT
#undef R
};

/* How a phase ended, as it is printed. All borrowed. */
struct result_phase {
    struct buffer output[2]; /* standard output, standard error */
    int exit_code, signal;
    enum run_end end;
    int64_t ns;
    bool truncated, output_held;
    uint64_t memory_peak; /* bytes, 0: unknown */
};

struct result {
    struct result_phase last;           /* that says how it all ended */
    const struct result_phase *compile; /* NULL: there was none */
    enum result_phase_id phase;         /* which one the last is */
    int64_t load_ns;
    bool primed, timed_out;
    enum run_kept kept;
    const char *kept_image, *kept_note; /* NULL: none */
    int changed;                        /* 1 yes, -1 no, 0 not known */
    const char *note, *trace_id;
    const char *problem; /* for people; NULL: none */
    enum result_status status;
    enum result_state state;
    json_t *network; /* its connections; NULL: it had no network */
    uint64_t network_omitted;
};

#endif
