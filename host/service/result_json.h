/* result_json: results as JSON, the same for the command line and the HTTP API. */
#ifndef CAPSID_SERVICE_RESULT_JSON_H
#define CAPSID_SERVICE_RESULT_JSON_H

#include "service/request.h"
#include "service/result.h"
#include "service/schema.h"

/* "Execution timeout exceeded (5s)"; the caller frees it. */
char *result_timeout_message(const struct run_result *r);

/*
 * The result of a request as SCHEMA_OBJECT_RESULT or its like. outputs: of the program, of the build; what they hold may be cut
 * at a character's beginning, and gets the message of a timeout.
 */
json_t *result_json(enum schema_object object, const struct request *q, const struct run_result *r,
                    const char *trace_id, struct run_output outputs[static 2]);

/* What another program's result says of how it ended: the exit code, end and problem (borrowed from j). -1: it is no result. */
int result_read(enum schema_object object, const json_t *j, struct result *ret);

/* Removes what is there for clients of older servers only. */
void result_trim(json_t *j);

#endif
