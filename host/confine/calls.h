/*
 * calls: the system call filter of one VMM, from the plan to the listener, and what a VMM was ended for.
 */
#ifndef CAPSID_CALLS_H
#define CAPSID_CALLS_H

#include "confine/confinement.h"

/* As child_spawn(), for Firecracker without its jailer: with the list of its system calls, and the host's files as this process
 * sees them. ret is for confine_release(), also after a failure. */
int confine_spawn_listed(struct child *child, struct confined *ret, const struct confinement *c,
                         const struct child_spec *spec, struct error *e);

/*
 * The same list for a Firecracker that its jailer starts, as host/firecracker-tether.c, which puts it on. Of the two
 * sockets, both the caller's, theirs is to be the child's standard input; ours tells the tether too that this process lives, until
 * confine_take_list() has its answer, or it has ended. After that nothing leads from the VMM to ours.
 */
int confine_offer_list(const struct confinement *c, int *ret_ours, int *ret_theirs, struct error *e);
int confine_take_list(struct confined *ret, const struct confinement *c, int ours, const struct child *vmm,
                      int64_t deadline, const struct cancel *cancel, struct error *e);

/* What the VMM was ended for, as in "system call 319 (memfd_create)"; "" when it was not. */
void confine_violation(const struct confined *c, const struct child *vmm,
                       char ret[static CONFINE_VIOLATION_MAX]);

/* When the VMM was ended for a system call: says so, in place of what *e says of its end (ERROR_VM_LOST). */
void confine_explain(const struct confined *c, const struct child *vmm, struct error *e);

/* ---- private to confine/ ------------------------------------------------------------------------- */

struct plan;

/* Plans the filter for these sets (enum filter_set), or for a VMM the lenient one, if that is wanted. calls_done() is for afterwards, always. */
int calls_plan(struct plan *p, const struct confinement *c, unsigned sets, struct error *e);
void calls_done(struct plan *p);

/* The attend() of struct child_isolation; context is the plan. */
int calls_attend(void *context, struct error *e);

#endif
