/* errand: one thing that is wanted of the broker, from its request to its last answer, and what all of them share. Private to
 * broker/. */
#ifndef CAPSID_BROKER_ERRAND_H
#define CAPSID_BROKER_ERRAND_H

#include "base/thread.h"
#include "broker/line.h"
#include "broker/options.h"
#include "broker/reach.h"
#include "broker/state.h"
#include "broker/stock_pack.h"
#include "broker/warm.h"
#include "core/host.h"
#include "core/target.h"

#include <pthread.h>

struct broker {
    struct broker_options options;
    struct host host;
    struct warm *warm;
    struct admission *admission;
    struct reach *reach;
    unsigned pool_max; /* 0: no pool */

    struct thread_group errands;

    pthread_mutex_t lock;
    struct lent *lent;
};

/* A VM that a lease has. */
struct lent {
    struct state_vm vm;
    struct lent *next;
};

/* One thing that is wanted. */
struct errand {
    struct broker *broker;
    struct line_request request;
    struct call call; /* cancelled by the lease, which is readable when it was closed */
    int lease;        /* owned */
};

/* Answers. A front that is gone needs none. */
void errand_tell(const struct errand *r, const struct line_reply *reply, const void *env, int passed);
void errand_fail(const struct errand *r, const struct error *e);
/* Takes the reference; NULL: e says why. */
void errand_tell_json(const struct errand *r, json_t *j, struct error *e);
/* Where e is an error, that instead. */
void errand_tell_stock(const struct errand *r, const struct stock_pack *p, struct error *e);

/* Makes an image or a snapshot when it is this errand's turn, behind all that runs; the errand as that of struct warm_maker. */
int errand_make(void *errand, warm_making *make, void *context, struct error *e);

/* Every shape of a restored VM is a snapshot in the store, and clients choose: so there are few shapes. */
void errand_choose_shape(const struct broker *b, struct vm_shape usual, struct vm_shape *wish);

/* A VM that does not come up in less memory than its language has: the request makes no sense. */
void errand_blame_size(const struct target_wish *wish, const struct language *l, struct error *e);

/* Opens what is there at once; where image or snapshot have to be made, so many at a time. */
int errand_open_target(struct errand *r, struct target_wish *wish, struct run_target *ret, struct error *e);

/* lend.c: LINE_VM, until its lease is closed. */
void lend_vm(struct errand *r);

#endif
