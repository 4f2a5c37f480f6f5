#include "base/gate.h"

void gate_open(struct gate *g, unsigned places, unsigned max_waiting, const char *what)
{
    *g = (struct gate){.places = places, .max_waiting = max_waiting, .what = what};
    pthread_mutex_init(&g->lock, NULL);
}

void gate_close(struct gate *g)
{
    pthread_mutex_destroy(&g->lock);
}

/* With the lock held: one place is free now. */
static void pass_on(struct gate *g)
{
    if (g->line.first)
        waiter_serve(&g->line, g->line.first);
    else
        g->busy--;
}

/* With the lock held, which is given up meanwhile. */
static int wait_turn_gate(struct gate *g, int64_t deadline, const struct cancel *cancel, struct error *e)
{
    struct waiter w = {0};
    int n = waiter_wait(&g->line, &w, false, &g->lock, deadline, cancel, e);

    if (n < 0 && w.served)
        pass_on(g);
    if (n == 0)
        return error_set(e, ERROR_BUSY, "%s in time", g->what);
    return n < 0 ? -1 : 0;
}

int gate_enter(struct gate *g, int64_t deadline, const struct cancel *cancel, struct error *e)
{
    int result = 0;

    pthread_mutex_lock(&g->lock);
    if (g->busy < g->places)
        g->busy++;
    else if (g->line.count >= g->max_waiting)
        result = error_set(e, ERROR_BUSY, "%s, and %u others wait already, which is the limit", g->what,
                           g->line.count);
    else
        result = wait_turn_gate(g, deadline, cancel, e);
    pthread_mutex_unlock(&g->lock);
    return result;
}

void gate_leave(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    pass_on(g);
    pthread_mutex_unlock(&g->lock);
}
