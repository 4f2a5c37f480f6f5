/*
 * accounts: which user and group ids belong to somebody, as the files of the system say: passwd(5), group(5), subuid(5),
 * subgid(5). Only the files: what a directory service knows may take the network to ask, and says nothing of ranges.
 */
#ifndef CAPSID_ACCOUNTS_H
#define CAPSID_ACCOUNTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define ACCOUNTS_NAME_MAX 64 /* bytes of a name that are kept, with the NUL */

/* The user that capsid setup makes for the service, in whose name it also reserves ids for VMs. */
#define ACCOUNTS_SERVICE "capsid"

/* A row: the ids first to last, of a user or a group. */
struct account_ids {
    const char *file; /* "/etc/passwd", ... */
    char name[ACCOUNTS_NAME_MAX];
    uint64_t first, last;
};

/* Calls visit for each row of the four files below root ("" for those of this system). A missing file has none. */
void accounts_each(const char *root, void (*visit)(const struct account_ids *ids, void *context),
                   void *context);

/* Whether nobody but root and that user is in the group, as Debian and others give each user one of its own. */
bool accounts_is_private_group(gid_t group, uid_t user);

#endif
