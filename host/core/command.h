/* command: a command in any image, in a VM of its own; and what it changed, as another image, where that is wanted. */
#ifndef CAPSID_COMMAND_H
#define CAPSID_COMMAND_H

#include "core/run.h"

/* A request with an image; as run_program() is for one without. */
int command_run(struct host *host, const struct call *call, const struct run_request *r,
                struct run_result *ret, struct error *e);

#endif
