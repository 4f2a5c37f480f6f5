/* program: how a language's program is laid out and started in a guest. The same for a job and for a primed
 * interpreter. */
#ifndef CAPSID_PROGRAM_H
#define CAPSID_PROGRAM_H

#include "base/error.h"
#include "base/text.h"
#include "guest/guest.h"
#include "language/language.h"

/* The unprivileged user of every image, and its working directory. */
#define PROGRAM_UID 1000
#define PROGRAM_DIRECTORY "/tmp/job"

struct program {
    char *source;       /* owned; absolute path of the program in the guest */
    char *fed;          /* owned; where the program is written before a primed interpreter gets it */
    struct buffer argv; /* strings with their NULs, as the protocol wants them */
    struct buffer env;
};

int program_init(struct program *p, const struct language *l, struct error *e);
void program_done(struct program *p);

/* Makes the working directory. */
int program_prepare(struct guest *g, int64_t deadline, struct error *e);

#endif
