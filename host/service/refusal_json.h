/* refusal_json: why a request is not done, as JSON. schema.def has the names of the fields. */
#ifndef CAPSID_SERVICE_REFUSAL_JSON_H
#define CAPSID_SERVICE_REFUSAL_JSON_H

#include "service/refusal_view.h"
#include "service/schema.h"

/* As SCHEMA_OBJECT_ERROR, the body of an answer, or its like. */
json_t *refusal_json(enum schema_object object, const struct refusal *r, const char *trace_id);

/* Without what is around it: SCHEMA_OBJECT_REASON, for one that is not its client's answer. */
json_t *refusal_reason(const struct refusal *r);

#endif
