/*
 * setup: prepares a machine for capsid, and undoes it.
 *
 * Setup is a list of steps. Each knows whether what it wants is there already, how to make it and how to undo that.
 * Before a step changes anything it writes into setup.json in the state directory what it is about to make; so
 * removal undoes what setup made, never what was there before, also after setup was killed in the middle.
 */
#ifndef CAPSID_SETUP_H
#define CAPSID_SETUP_H

#include "base/deadline.h"
#include "base/error.h"
#include "setup/options.h"

/* Needs root unless it is a dry run. cancel is borrowed. */
int setup_install(const struct setup_options *o, const struct cancel *cancel, struct error *e);
int setup_remove(const struct setup_options *o, const struct cancel *cancel, struct error *e);

#endif
