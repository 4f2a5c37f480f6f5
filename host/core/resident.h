/* resident: who runs commands in an image, and with what: as the image says, or somebody else. */
#ifndef CAPSID_RESIDENT_H
#define CAPSID_RESIDENT_H

#include "core/program.h"

struct resident {
    struct program_user user; /* borrows what follows */
    const char **env;         /* owned, not the strings in it */
    char *home, *variable;    /* owned; of another one than root */
    bool own_directory;       /* the image says where commands start */
};

/* Root; the image's variables (ends with NULL; NULL: none) count more than what root has by itself. Strings are borrowed. */
void resident_init(struct resident *r, const char *const *env, const char *workdir);

/* Another one, as account_find() takes it; NULL or "": root. Asks the guest for names, and for where the user is at home. */
int resident_find(struct resident *r, struct guest *g, const char *user, int64_t deadline, struct error *e);

/* Accepts {0}. */
void resident_done(struct resident *r);

#endif
