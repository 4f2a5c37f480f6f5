/*
 * warm: which languages the server's pool (core/pool.h) holds, and how they come into it: those that the settings name
 * from the start, and every other one with its first request, as long as there is room.
 *
 * A language's image and snapshot are made by one thread at a time; other languages do not wait for that. Once a
 * second at most it is looked whether they are still the current ones; a new snapshot replaces the old one in the pool.
 */
#ifndef CAPSID_WARM_H
#define CAPSID_WARM_H

#include "core/pool.h"

struct warm;

struct warm_options {
    unsigned max_vms; /* of the pool; half of them at most are kept ready for languages that were not named */
    unsigned max_waiters; /* for VMs, and for a language that is being made */
    uint64_t memory;      /* bytes that the pool's VMs may take; 0: no bound */
};

typedef int warm_making(void *context, struct error *e);

/* Has image and snapshot made, when it is its turn. */
struct warm_maker {
    int (*make)(void *maker, warm_making *making, void *context, struct error *e);
    void *maker;
};

/* host is borrowed. */
struct warm *warm_open(struct host *host, const struct warm_options *options);

/* All VMs must have been given back. Accepts NULL. */
void warm_close(struct warm *w);

/* So many VMs of a language shall be kept ready; warm_target() makes them. Fails when there is no room for them. */
int warm_keep(struct warm *w, const char *name, unsigned size, struct error *e);

/*
 * The pool's target of a language by its name, made if it is missing. *ret NULL, and success: the pool has no room for this
 * language. deadline is for waiting for others that make it, ERROR_BUSY then; making takes what it takes. maker NULL: without
 * asking.
 */
int warm_target(struct warm *w, const struct call *call, const char *language, int64_t deadline,
                const struct warm_maker *maker, struct pool_target **ret, struct error *e);

/* Whether the language has a place already. */
bool warm_knows(struct warm *w, const char *language);

/* An image or a snapshot was made: look at once. */
void warm_forget(struct warm *w);

/* NULL: nothing was put into it yet. Once there, it stays until warm_close(). */
struct pool *warm_pool(struct warm *w);

#endif
