/*
 * reach: where programs of a server's clients may connect to. The file has a line for each client, or several; "*" is all those
 * that have none of their own, "#" begins a comment:
 *
 *     NAME RULE...
 *
 * NAME is that of a token, or "anonymous" where there are none; rules are those of egress/policy.h. A request's own rules say
 * less, never more. Who has no line reaches nothing.
 */
#ifndef CAPSID_BROKER_REACH_H
#define CAPSID_BROKER_REACH_H

#include "egress/policy.h"

struct reach;

/* path NULL: nobody reaches anything. A file that others than its owner may write is refused. */
struct reach *reach_open(const char *path, struct error *e);
int reach_reload(struct reach *r, struct error *e); /* a failure leaves what there was */
void reach_close(struct reach *r);                  /* accepts NULL */

/* What an owner may reach, a copy for the caller to end with policy_done(). False: nothing. Any thread. */
bool reach_of(struct reach *r, const char *owner, struct policy *ret);

#endif
