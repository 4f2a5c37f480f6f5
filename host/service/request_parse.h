/*
 * request_parse: requests as JSON, checked before anything is done with them. Pure: knows no HTTP and opens nothing, so that it
 * can be tested and fuzzed alone.
 */
#ifndef CAPSID_SERVICE_REQUEST_PARSE_H
#define CAPSID_SERVICE_REQUEST_PARSE_H

#include "service/refusal.h"
#include "service/request.h"
#include "service/schema.h"

/*
 * Takes a request of that kind apart; the caller calls request_done(). language is that of the session where one runs, else
 * NULL. On failure *ret is {0}.
 */
int request_parse(struct request *ret, enum schema_object object, const char *json, size_t size,
                  const char *language, const struct request_limits *limits, struct refusal *r);
void request_done(struct request *q);

/* The standard input comes from elsewhere. */
void request_drop_stdins(struct request *q);

#endif
