/* ids: the user and group ids that VMs of root get. Private to confine/. */
#ifndef CAPSID_CONFINE_IDS_H
#define CAPSID_CONFINE_IDS_H

#include "confine/confine.h"

/*
 * Takes the range out of the setting vm_uids, and what somebody has of it out of the system's files (base/accounts.h). Fails
 * when it is no range, or when others have all of it.
 */
int ids_decide(struct confinement *c, const char *vm_uids, struct error *e);

#endif
