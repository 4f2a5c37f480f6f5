/* ids: the user and group ids that VMs of root get. */
#ifndef CAPSID_CONFINE_IDS_H
#define CAPSID_CONFINE_IDS_H

#include "confine/confinement.h"

/*
 * Takes the range out of the setting vm_uids, and what somebody has of it out of the system's files (base/accounts.h). Fails
 * when it is no range, or when others have all of it. Private to confine/.
 */
int ids_decide(struct confinement *c, const char *vm_uids, struct error *e);

/*
 * Takes a user and group id for a VM out of the range vm_uids, which all state directories of this machine share: one that
 * neither another VM has nor a row of /etc/passwd, /etc/group, /etc/subuid or /etc/subgid, but those of capsid setup.
 * Returns an fd that holds the id until it is closed, or -1. For root.
 */
uint32_t confine_free_ids(const struct confinement *c); /* how many ids of the range are nobody's */
int confine_take_id(const struct confinement *c, uint32_t *ret_id, struct error *e);

#endif
