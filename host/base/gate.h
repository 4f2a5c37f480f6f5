/*
 * gate: so many may be inside at a time; the others wait in a line, first come first served, until their deadline,
 * their cancel, or for ever behind a bound of those who wait.
 */
#ifndef CAPSID_GATE_H
#define CAPSID_GATE_H

#include "base/waiter.h"

#include <pthread.h>

struct gate {
    pthread_mutex_t lock;
    unsigned places, busy;
    struct waiter_line line;
    unsigned max_waiting;
    const char *what; /* what is waited for, for messages; lives as long */
};

void gate_open(struct gate *g, unsigned places, unsigned max_waiting, const char *what);

/* Nobody may be inside or wait. */
void gate_close(struct gate *g);

/*
 * 0: inside, and gate_leave() must follow. ERROR_BUSY: too many wait, or none left in time; ERROR_CANCELLED.
 */
int gate_enter(struct gate *g, int64_t deadline, const struct cancel *cancel, struct error *e);
void gate_leave(struct gate *g);

#endif
