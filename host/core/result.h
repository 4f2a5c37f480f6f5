/* result: a run's result as JSON, the same for the command line and the HTTP API. */
#ifndef CAPSID_RESULT_H
#define CAPSID_RESULT_H

#include "core/run.h"

#include <jansson.h>

/* "Execution timeout exceeded (5s)"; the caller frees it. */
char *result_timeout_message(const struct run_result *r);

/* "209ms", and "0.8ms" where whole milliseconds would say little. */
json_t *result_duration(int64_t ns);

/*
 * The whole result. outputs: of the program, of the build; what they hold may be cut at a character's beginning, and
 * gets the message of a timeout.
 */
json_t *result_json(const struct run_result *r, const char *trace_id, struct run_output outputs[static 2]);

#endif
