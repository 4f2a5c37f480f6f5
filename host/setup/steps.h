/* steps: the steps there are, and what some of them ask of others. Private to setup/. */
#ifndef CAPSID_SETUP_STEPS_H
#define CAPSID_SETUP_STEPS_H

#include "setup/step.h"

extern const struct step setup_step_group, setup_step_user, setup_step_range, setup_step_kvm,
    setup_step_kernel, setup_step_firecracker, setup_step_jailer, setup_step_settings;

/* A row of a file such as /etc/passwd whose first field is name; false when there is none. The caller frees the
 * row. */
bool setup_find_row(const struct setup *s, const char *path, const char *name, char **ret);

/* The range that VMs get their user ids of: as noted, as asked for, or a free one. */
int setup_choose_range(struct setup *s, uint64_t *first, uint64_t *last, struct error *e);

/* Where a source is installed, as seen from within root; the caller frees it. */
char *setup_installed_path(const struct setup *s, int source);

#endif
