/* instance: what ConTree's POST /instances asks for, as a request of our own. Pure. */
#ifndef CAPSID_CONTREE_INSTANCE_H
#define CAPSID_CONTREE_INSTANCE_H

#include "service/refusal.h"

#include <jansson.h>
#include <stdint.h>

/*
 * A RunRequest (service/schema.def), which is still to be checked as one; the caller releases it. max_output: bytes of each
 * output that this server keeps, as more may be asked for. NULL with a refusal: it is nothing that we can do.
 */
json_t *contree_instance(const json_t *body, uint64_t max_output, struct refusal *r);

#endif
