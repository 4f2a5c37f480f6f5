/*
 * policy: where guests may connect to. A rule is HOST[:PORTS]:
 *
 *   example.org          that name
 *   *.example.org        all names below it
 *   *                    every name, and every address of the Internet
 *   192.0.2.7, [2001:db8::7], 192.0.2.0/24, [2001:db8::]/32    addresses, by their number
 *   :8080   :80,8000-8099   :*    ports; 80 and 443 where none are named
 *
 * An address that is none of the Internet (address_special()) is reached only where a rule names it by its number, whatever name
 * leads there.
 */
#ifndef CAPSID_EGRESS_POLICY_H
#define CAPSID_EGRESS_POLICY_H

#include "base/error.h"
#include "egress/address.h"

#include <stddef.h>

#define POLICY_RULES_MAX 256
#define POLICY_PORTS_MAX 16  /* ranges of one rule */
#define POLICY_RULE_SIZE 320 /* bytes of one, with its NUL */

struct policy_rule {
    bool any, below; /* of names: all; those below name */
    char name[ADDRESS_NAME_MAX];
    struct address net; /* family 0: it is about names */
    unsigned bits;
    unsigned port_count;
    struct {
        uint16_t first, last;
    } ports[POLICY_PORTS_MAX];
};

/* {0} allows nothing. */
struct policy {
    struct policy_rule *rules; /* owned */
    size_t count;
};

/* ERROR_USAGE: it is no rule, or there are too many. */
int policy_add(struct policy *p, const char *rule, struct error *e);
void policy_done(struct policy *p);

/* *ret is overwritten; the caller ends it. */
void policy_copy(struct policy *ret, const struct policy *p);

/* Whether a rule is well formed. */
int policy_check_rule(const char *rule, struct error *e);

bool policy_has_name(const struct policy *p, const char *name, uint16_t port);

/* By its number; by_name: a name led there that is allowed. *ret_special: what it is that nobody allowed, or NULL. own: it is one
 * of this machine's. */
bool policy_has_address(const struct policy *p, const struct address *a, uint16_t port, bool by_name,
                        bool own, const char **ret_special);

#endif
