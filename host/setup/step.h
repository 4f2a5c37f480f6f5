/* step: what a step of setup is, and what every step needs: where things are on the system that is set up, and the record
 * of what setup made. Private to setup/. */
#ifndef CAPSID_SETUP_STEP_H
#define CAPSID_SETUP_STEP_H

#include "base/accounts.h"
#include "base/deadline.h"
#include "base/error.h"
#include "base/text.h"
#include "setup/options.h"

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

/* Path of a file of the system that is set up, such as /etc/passwd; the caller frees it. */
char *setup_path(const struct setup *s, const char *path);

/* Reads the record, an empty one where there is none; the caller drops s->record. */
int setup_read_record(struct setup *s, struct error *e);

/* Writes the record, durably, into a directory: s->home, or the one that is to become it. */
int setup_write_record(const struct setup *s, const char *directory, struct error *e);

/* Removes it. */
int setup_remove_record(const struct setup *s, struct error *e);

/* Brings names in a directory to the disk. */
int setup_sync_directory(const char *path, struct error *e);

/* Makes the directory that path is in, and those above it, for all to read; not path itself. */
int setup_make_parents(const char *path, struct error *e);

/* Writes into the record, durably, that a step is about to make something; takes the reference. */
int setup_note(struct setup *s, const char *step, json_t *note, struct error *e);

/* The note of a step, NULL when it never began; borrowed. */
json_t *setup_noted(const struct setup *s, const char *step);

#endif
