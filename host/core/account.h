/* account: users as an image knows them, by number or by name. What /etc/passwd of a guest says is nothing to rely on: it is
 * about that guest alone. */
#ifndef CAPSID_ACCOUNT_H
#define CAPSID_ACCOUNT_H

#include "guest/guest.h"

#include <stdint.h>

struct account {
    uint32_t uid, gid;
    char *home; /* owned; NULL: not known */
};

/* NAME or UID, with :GROUP or :GID or without. Without, it is the user's own group, or 0 for a number that nobody has. ERROR_USAGE:
 * it is none of these, or there is no such name. */
int account_find(struct account *ret, struct guest *g, const char *user, int64_t deadline, struct error *e);
void account_done(struct account *a);

/* Whether it has the form of one. */
bool account_is_valid(const char *user);

/* The parts of account_find(), for tests: passwd(5) and group(5). false: there is no such line. *ret is {0}. */
bool account_parse_user(struct account *ret, const char *passwd, const char *user);
bool account_parse_group(uint32_t *ret, const char *group, const char *name);

#endif
