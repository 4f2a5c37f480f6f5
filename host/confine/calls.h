/* calls: the system call filter of one VMM, from the plan to the listener. Private to confine/. */
#ifndef CAPSID_CALLS_H
#define CAPSID_CALLS_H

#include "confine/confine.h"
#include "confine/plan.h"

/* Plans the filter for a VMM of these sets (enum filter_set), or the lenient one. calls_done() is for afterwards, always. */
int calls_plan(struct plan *p, const struct confinement *c, unsigned sets, struct error *e);
void calls_done(struct plan *p);

/* The attend() of struct child_isolation; context is the plan. */
int calls_attend(void *context, struct error *e);

#endif
