/* freeze: makes the files of a snapshot: boots a VM, readies it for its language, and saves it. */
#ifndef CAPSID_FREEZE_H
#define CAPSID_FREEZE_H

#include "core/machine.h"
#include "language/language.h"

/*
 * Boots, runs the language's warm-up command, starts the interpreter up to where it asks for its program, and saves
 * the guest into directory (existing and empty) as SNAPSHOT_MEMORY and SNAPSHOT_STATE, synced, pages of zeros as
 * holes. *ret_job is the waiting interpreter's job, 0 when there is none. On failure the caller removes what is in
 * the directory.
 */
int freeze_guest(struct host *host, const struct call *call, const struct language *l,
                 const struct machine_spec *spec, const char *directory, uint32_t *ret_job, struct error *e);

#endif
