#include "api/gate.h"

#include "base/cleanup.h"

#include <stdlib.h>
#include <sys/eventfd.h>

/* Someone in gate_enter(), on the stack there. */
struct gate_waiter {
    int fd;      /* an eventfd, readable once inside */
    bool inside; /* whoever left gave this one the place */
    struct gate_waiter *next;
};

void gate_open(struct gate *g, unsigned places, unsigned max_waiting, const char *what)
{
    *g = (struct gate){.places = places, .max_waiting = max_waiting, .what = what};
    pthread_mutex_init(&g->lock, NULL);
}

void gate_close(struct gate *g)
{
    pthread_mutex_destroy(&g->lock);
}

/* With the lock held. */
static void enqueue(struct gate *g, struct gate_waiter *w)
{
    struct gate_waiter **place = &g->first;

    while (*place)
        place = &(*place)->next;
    *place = w;
    g->waiting++;
}

static void dequeue(struct gate *g, struct gate_waiter *w)
{
    struct gate_waiter **place = &g->first;

    while (*place != w)
        place = &(*place)->next;
    *place = w->next;
    g->waiting--;
}

/* With the lock held: one place is free now. */
static void pass_on(struct gate *g)
{
    struct gate_waiter *w = g->first;

    if (!w) {
        g->busy--;
        return;
    }
    dequeue(g, w);
    w->inside = true;
    if (eventfd_write(w->fd, 1) < 0)
        abort(); /* an eventfd that nobody wrote to takes this, unless the program is broken */
}

/* With the lock held, which is given up meanwhile. */
static int wait_turn(struct gate *g, int64_t deadline, const struct cancel *cancel, struct error *e)
{
    cleanup_fd int fd = eventfd(0, EFD_CLOEXEC);
    struct gate_waiter w = {.fd = fd};

    if (fd < 0)
        return error_errno(e, "eventfd");
    enqueue(g, &w);
    pthread_mutex_unlock(&g->lock);
    int n = deadline_wait_fd(fd, POLLIN, deadline, cancel, e);
    pthread_mutex_lock(&g->lock);
    if (!w.inside)
        dequeue(g, &w);
    else if (n < 0)
        pass_on(g);
    if (n < 0)
        return -1;
    return w.inside ? 0 : error_set(e, ERROR_BUSY, "%s in time", g->what);
}

int gate_enter(struct gate *g, int64_t deadline, const struct cancel *cancel, struct error *e)
{
    int result = 0;

    pthread_mutex_lock(&g->lock);
    if (g->busy < g->places)
        g->busy++;
    else if (g->waiting >= g->max_waiting)
        result = error_set(e, ERROR_BUSY, "%s, and %u others wait already, which is the limit", g->what,
                           g->waiting);
    else
        result = wait_turn(g, deadline, cancel, e);
    pthread_mutex_unlock(&g->lock);
    return result;
}

void gate_leave(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    pass_on(g);
    pthread_mutex_unlock(&g->lock);
}
