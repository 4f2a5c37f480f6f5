/* shown: what a server has, as ConTree's clients see it. Pure: JSON of ours (service/schema.def) to JSON of theirs, new references. */
#ifndef CAPSID_CONTREE_SHOWN_H
#define CAPSID_CONTREE_SHOWN_H

#include "service/journal.h"
#include "service/refusal.h"

#include <jansson.h>
#include <stdbool.h>

/* ---- operations ------------------------------------------------------------------------------------ */

/* An Operation with its result, and one of a list, without. NULL: they know none of its kind. */
json_t *contree_operation(const json_t *shown);
json_t *contree_summary(const json_t *shown);

/* Whether it has ended. */
bool contree_is_over(const json_t *shown);

/* How the first process ended: InstanceResult, or NULL when there is none. */
json_t *contree_result(const json_t *shown);

struct contree_event {
    const char *type; /* the name of the event */
    json_t *data;     /* owned */
};

/* What a journal tells, and the two that end it; data NULL: there is none. */
struct contree_event contree_event_of(const struct journal_event *e, const json_t *shown);
struct contree_event contree_exit(const json_t *shown);
struct contree_event contree_completion(const json_t *shown);

/* The whole of an event; takes its data. */
json_t *contree_event_json(const struct contree_event *e, uint64_t number, int64_t at_ns);

/* ---- images ---------------------------------------------------------------------------------------- */

/* An ImageRecord, with that tag, or its first one for NULL. */
json_t *contree_image(const json_t *record, const char *tag);

/* ImageRecords as their list: each once for each of its tags that begins with the prefix. */
json_t *contree_images(const json_t *records, const char *prefix);

/* ---- the rest -------------------------------------------------------------------------------------- */

json_t *contree_error(const struct refusal *r);

/* Who asks, what he may do, and how much. */
json_t *contree_whoami(const char *owner, uint64_t timeout, uint64_t places);

#endif
