/*
 * resolve: names to addresses, as this machine has them. libc's resolver cannot be interrupted, so it works in a process of its
 * own (getent, of every libc), which is killed when it takes too long. What was found is remembered for a while.
 */
#ifndef CAPSID_EGRESS_RESOLVE_H
#define CAPSID_EGRESS_RESOLVE_H

#include "base/deadline.h"
#include "egress/address.h"

#include <pthread.h>
#include <stddef.h>

#define RESOLVED_MAX 8

struct resolved {
    struct address addresses[RESOLVED_MAX];
    size_t count; /* at least one, in the order in which they are to be tried */
};

#define RESOLVER_KEPT 32

/* Any thread. */
struct resolver {
    pthread_mutex_t lock; /* a leaf */
    unsigned next;
    struct {
        char name[ADDRESS_NAME_MAX];
        struct resolved found;
        int64_t until;
    } kept[RESOLVER_KEPT];
};

void resolver_open(struct resolver *r);
void resolver_close(struct resolver *r);

/* name as address_read() gives it. */
int resolve_name(struct resolver *r, const char *name, struct resolved *ret, int64_t deadline,
                 const struct cancel *cancel, struct error *e);

#endif
