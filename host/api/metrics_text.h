/* metrics_text: the counters as text for Prometheus (exposition format 0.0.4), with what the server and the broker have at the moment. */
#ifndef CAPSID_API_METRICS_TEXT_H
#define CAPSID_API_METRICS_TEXT_H

#include "base/text.h"

#include <jansson.h>

struct api_server;

/* state: the broker's (broker/state.h). */
void metrics_write(struct api_server *s, const json_t *state, struct buffer *out);

/* The lines before those of a metric. */
void metrics_head(struct buffer *out, const char *name, const char *type, const char *help);

/* Those of the pool, of which the broker's state has an object for each language. */
void metrics_admission(const json_t *state, struct buffer *out);
void metrics_pool(const json_t *pools, struct buffer *out);

#endif
