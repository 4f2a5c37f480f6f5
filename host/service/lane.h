/*
 * lane: work on its way to threads that do it, fair among those it is done for.
 *
 * So much is done at a time, and so much waits, of all owners together; where there are several, each has its share of both
 * (base/fair.h). When something is done, the owner with the least in work is next, of those the one whose last turn is longest ago,
 * and of what he wants the first.
 *
 * Threads are started when there is work for one more. One that finds none ends, but for a few that stay for the next.
 */
#ifndef CAPSID_SERVICE_LANE_H
#define CAPSID_SERVICE_LANE_H

#include "base/thread.h"
#include "service/refusal.h"

#include <stdint.h>

#define LANE_THREADS_SPARE 4

struct lane_owner;

/* A member of what is worked on. */
struct lane_ticket {
    struct lane_ticket *next;
    struct lane_owner *owner;
    int64_t since; /* ns, monotonic: it waits */
};

struct lane_tickets {
    struct lane_ticket *first, *last;
};

struct lane_bounds {
    unsigned threads; /* what is in work at a time */
    unsigned waiting; /* what waits for that */
    bool shared;      /* there may be several owners */
};

struct lane {
    struct lane_bounds bounds;
    void (*work)(struct lane_ticket *t, void *context);
    void *context;
    struct thread_group group;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct lane_owner *owners; /* all there ever were, as many as clients; the newest last */
    struct lane_tickets ready; /* counted as in work, and not with a thread yet */
    unsigned busy, waiting;    /* of all */
    unsigned threads, idle;
    uint64_t turns; /* how many there were */
    bool closed;
};

/* work is called by any thread of the lane; the ticket may be gone when it returns. Call lane_close() in any case. */
void lane_open(struct lane *l, const struct lane_bounds *bounds,
               void (*work)(struct lane_ticket *t, void *context), void *context);

/* Lets the threads finish what there is, and waits for them. Accepts one that was never opened, all zero. */
void lane_close(struct lane *l);

/* owner: who it is done for. -1 with a refusal: there is no room for it, no thread to be had, or it is closed. */
int lane_push(struct lane *l, const char *owner, struct lane_ticket *t, struct refusal *r);

/* Takes one out that waits; false: none like that does. */
bool lane_withdraw(struct lane *l, const struct lane_ticket *t);

/* One that waits since before that time, taken out; NULL: none. */
struct lane_ticket *lane_expired(struct lane *l, int64_t before);

/* What is in work, and waits, of all; and of each owner that has something: calls visit with the lock held. */
struct lane_use {
    unsigned busy, waiting, threads;
};

struct lane_use lane_used(struct lane *l);
void lane_each(struct lane *l,
               void (*visit)(const char *owner, unsigned busy, unsigned waiting, void *context),
               void *context);

#endif
