/* decision: what became of a connection that a guest wanted. */
#ifndef CAPSID_EGRESS_DECISION_H
#define CAPSID_EGRESS_DECISION_H

/* D(NAME, "as results, logs and the relay's answers say it") */
#define EGRESS_DECISIONS(D)                                                                                  \
    D(ALLOWED, "allowed")                                                                                    \
    D(NOT_ALLOWED, "not_allowed") /* no rule names it */                                                     \
    D(SPECIAL, "special_address") /* it is no address of the Internet, and no rule names that */             \
    D(MALFORMED, "malformed")     /* no host, or no request */                                               \
    D(UNRESOLVED, "unresolved")   /* the name has no address */                                              \
    D(FAILED, "failed")           /* nobody took the connection */                                           \
    D(LIMIT, "limit")             /* there were too many, or too many bytes */

enum egress_decision {
#define D(name, text) EGRESS_##name,
    EGRESS_DECISIONS(D) EGRESS_DECISIONS_COUNT
#undef D
};

const char *egress_decision_name(enum egress_decision d);

#endif
