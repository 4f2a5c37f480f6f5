/* internal: what the steps of setup share. Private to setup/. */
#ifndef CAPSID_SETUP_INTERNAL_H
#define CAPSID_SETUP_INTERNAL_H

#include "base/accounts.h"
#include "base/text.h"
#include "setup/setup.h"

#define SETUP_USER ACCOUNTS_SERVICE /* and its group */
#define SETUP_FILE_MAX (1ull << 30)

struct setup {
    const struct setup_options *options;
    const struct cancel *cancel;
    char *home;     /* owned; path of the state directory on this system */
    json_t *record; /* owned; what setup made: step -> what that step needs to know to undo it */
};

enum plan { PLAN_SKIP, PLAN_DONE, PLAN_TO_DO };

struct step {
    const char *name;
    /* An enum plan, or -1. Puts into what, in a few words, what the step makes. Changes nothing. */
    int (*plan)(struct setup *s, struct buffer *what, struct error *e);
    /* Makes it, after setup_note(). */
    int (*make)(struct setup *s, struct error *e);
    /*
     * Undoes what note says was begun: 1 undone, 0 left alone and what says why, -1. It may have been undone before,
     * or never been made.
     */
    int (*undo)(struct setup *s, json_t *note, struct buffer *what, struct error *e);
};

extern const struct step setup_step_group, setup_step_user, setup_step_range, setup_step_kvm,
    setup_step_kernel, setup_step_firecracker, setup_step_jailer, setup_step_settings;

/* Path of a file of the system that is set up, such as /etc/passwd; the caller frees it. */
char *setup_path(const struct setup *s, const char *path);

/* Makes the directory that path is in, and those above it, for all to read; not path itself. */
int setup_make_parents(const char *path, struct error *e);

/* Writes into the record, durably, that a step is about to make something; takes the reference. */
int setup_note(struct setup *s, const char *step, json_t *note, struct error *e);

/* The note of a step, NULL when it never began; borrowed. */
json_t *setup_noted(const struct setup *s, const char *step);

/* A row of a file such as /etc/passwd whose first field is name; false when there is none. The caller frees the
 * row. */
bool setup_find_row(const struct setup *s, const char *path, const char *name, char **ret);

/* The range that VMs get their user ids of: as noted, as asked for, or a free one. */
int setup_choose_range(struct setup *s, uint64_t *first, uint64_t *last, struct error *e);

/* Where a source is installed, as seen from within root; the caller frees it. */
char *setup_installed_path(const struct setup *s, int source);

#endif
