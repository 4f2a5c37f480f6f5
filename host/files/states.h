/*
 * states: directory states: lists of regular files, directories and symlinks, which stay as they were made. Equal lists of one
 * owner are one state, with one number.
 */
#ifndef CAPSID_FILES_STATES_H
#define CAPSID_FILES_STATES_H

#include "files/files.h"

#define STATES_ENTRIES_MAX 100000
#define STATES_PATH_MAX 4096  /* with the NUL, as PATH_MAX; of a symlink's target too */
#define STATES_NAME_MAX 255   /* bytes of one name, NAME_MAX of Linux's filesystems */
#define STATES_ENTRY_COST 256 /* what an entry takes of a bound, beside its texts */

struct state_entry {
    char *path;                   /* owned; any bytes but NUL; relative */
    uint32_t mode;                /* as st_mode: type and permissions */
    char digest[DIGEST_HEX_SIZE]; /* of a regular file; "": of others */
    uint64_t size;                /* of the same */
    char *target;                 /* owned; of a symlink, NULL: it is none */
};

struct state_list {
    struct state_entry *entries; /* owned */
    size_t count, capacity;
};

/* Takes path and target over, also on failure: a path that leads elsewhere, or something that is too long. */
int state_list_add(struct state_list *l, const struct state_entry *entry, struct error *e);
void state_list_done(struct state_list *l); /* accepts {0} */

/* Sorts it, parents before what they hold; fails when one path stands twice, or what holds another is no directory. */
int state_list_order(struct state_list *l, struct error *e);

struct state {
    int64_t number;
    uint64_t files, bytes; /* regular files, and their content */
    int64_t created;       /* seconds since 1970 */
};

/*
 * Makes a state of a list that state_list_order() has ordered; its files are the owner's already, and their sizes are filled in.
 * ERROR_NOT_FOUND: one is not. ERROR_REFUSED: a bound would be passed.
 */
int states_make(struct files *f, const char *owner, struct state_list *l, struct state *ret, struct error *e);

/* ERROR_NOT_FOUND. l: in order; the caller's to free, NULL: not wanted. */
int states_find(struct files *f, const char *owner, int64_t number, struct state *ret, struct state_list *l,
                struct error *e);

/* The newest first. */
int states_each(struct files *f, const char *owner, void (*visit)(const struct state *s, void *context),
                void *context, struct error *e);

/* Its files stay. ERROR_NOT_FOUND. */
int states_remove(struct files *f, const char *owner, int64_t number, struct error *e);

#endif
