/*
 * place: files and directory states as trees for a guest, named by texts, which are the same in HTTP's JSON and as options:
 *
 *   a state   NUMBER[:PATH]                    PATH is a directory; without it that of the program
 *   a file    UUID:PATH[:MODE[:UID:GID]]       UUID or SHA-256; MODE is octal, 0644 without it; PATH may have colons
 *
 * A PATH is absolute, or below the directory of the program.
 */
#ifndef CAPSID_FILES_PLACE_H
#define CAPSID_FILES_PLACE_H

#include "files/states.h"
#include "guest/guest.h"

#define PLACE_FILES_MAX 1000 /* single files of one run */

struct place_tree;

struct place {
    struct guest_tree *trees; /* owned; how they are read too */
    struct place_tree *hold;  /* owned; what they are made from */
    size_t count;
};

/* Fails as files_find() and states_find() do, and with ERROR_USAGE. state and files may be NULL; files ends with NULL. */
int place_open(struct place *ret, struct files *f, const char *owner, const char *state,
               const char *const *files, struct error *e);
void place_done(struct place *p); /* accepts {0} */

#endif
