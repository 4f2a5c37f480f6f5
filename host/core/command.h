/* command: a command in any image, in a VM of its own; and what it changed, as another image, where that is wanted. */
#ifndef CAPSID_COMMAND_H
#define CAPSID_COMMAND_H

#include "core/keep.h"
#include "core/run.h"

/* A request with an image; as run_program() is for one without. */
int command_run(struct host *host, const struct call *call, const struct run_request *r,
                struct run_result *ret, struct error *e);

/* The parts of command_run(), for those who have the machine from elsewhere. */

/* What is known of the image that is the guest's root. Borrowed. */
struct command_image {
    const char *uuid;
    const char *user; /* who runs commands in it; NULL or "": root */
    unsigned fold;    /* keep_fold_count() */
};

/* Fails when there is no command, or more. */
int command_check(const struct run_request *r, struct error *e);

/* Runs the command of a request whose times are set, at a site whose user is the resident's; then, where that is wanted, makes the
 * disk a layer: ret->kept is KEPT when it is to be adopted, or says why not. */
int command_in(const struct run_site *site, const struct command_image *image, struct resident *resident,
               const struct call *call, const struct run_request *r, struct run_result *ret, struct error *e);

/* When the VM is destroyed: makes the new image, where ret->kept is KEPT, and says in *ret which one, or why not. */
void command_adopt(struct keep *k, const struct host *host, const struct call *call,
                   const struct image *parent, struct run_result *ret);

void command_not_kept(struct run_result *ret, enum run_kept how, const char *why);

#endif
