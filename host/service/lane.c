#include "service/lane.h"

#include "base/deadline.h"
#include "base/fair.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

struct lane_owner {
    char *name; /* owned */
    struct lane_tickets tickets;
    unsigned busy, waiting;
    uint64_t turn; /* the last one's number; 0: none yet */
    struct lane_owner *next;
};

void lane_open(struct lane *l, const struct lane_bounds *bounds,
               void (*work)(struct lane_ticket *t, void *context), void *context)
{
    *l = (struct lane){.bounds = *bounds, .work = work, .context = context};
    thread_group_open(&l->group, THREAD_GROUP_UNBOUNDED); /* lane.threads is bounded */
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
}

void lane_close(struct lane *l)
{
    if (!l->work)
        return;
    pthread_mutex_lock(&l->lock);
    l->closed = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    thread_group_wait(&l->group);
    thread_group_close(&l->group);
    for (struct lane_owner *o = l->owners, *next; o; o = next) {
        next = o->next;
        free(o->name);
        free(o);
    }
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    *l = (struct lane){0};
}

/* ---- tickets and owners, from here on with the lock held ----------------------------------------- */

static void append(struct lane_tickets *all, struct lane_ticket *t)
{
    t->next = NULL;
    *(all->first ? &all->last->next : &all->first) = t;
    all->last = t;
}

static struct lane_ticket *take_first(struct lane_tickets *all)
{
    struct lane_ticket *t = all->first;

    if (t)
        all->first = t->next;
    return t;
}

static bool unlink_ticket(struct lane_tickets *all, const struct lane_ticket *t)
{
    for (struct lane_ticket **at = &all->first, *before = NULL; *at; before = *at, at = &(*at)->next) {
        if (*at != t)
            continue;
        *at = t->next;
        if (all->last == t)
            all->last = before;
        return true;
    }
    return false;
}

static struct lane_owner *get_owner(struct lane *l, const char *name)
{
    struct lane_owner **place = &l->owners;

    while (*place && strcmp((*place)->name, name) != 0)
        place = &(*place)->next;
    if (*place)
        return *place;
    *place = memory_allocate(sizeof(**place));
    (*place)->name = text_copy(name);
    return *place;
}

static void count_waiting(struct lane *l, struct lane_owner *o, int change)
{
    o->waiting += (unsigned)change;
    l->waiting += (unsigned)change;
}

static void count_busy(struct lane *l, struct lane_owner *o, int change)
{
    o->busy += (unsigned)change;
    l->busy += (unsigned)change;
}

/* ---- whose turn it is ---------------------------------------------------------------------------- */

static struct lane_owner *next_owner(const struct lane *l)
{
    const struct lane_bounds *b = &l->bounds;
    struct lane_owner *best = NULL;

    for (struct lane_owner *o = l->owners; o; o = o->next)
        if (o->tickets.first && fair_allows(1, o->busy, l->busy, b->threads, b->shared) &&
            (!best || o->busy < best->busy || (o->busy == best->busy && o->turn < best->turn)))
            best = o;
    return best;
}

static void run_thread(void *lane);

/* There are as many threads as work, or one more is started. */
static bool have_thread(struct lane *l)
{
    struct error ignored = {0};

    if (l->threads > l->busy)
        return true;
    bool started = thread_group_start(&l->group, run_thread, l, &ignored) == 0;
    l->threads += started;
    return started;
}

static void serve_lane(struct lane *l)
{
    for (struct lane_owner *o; (o = next_owner(l)) && have_thread(l);) {
        count_waiting(l, o, -1);
        count_busy(l, o, 1);
        o->turn = ++l->turns;
        append(&l->ready, take_first(&o->tickets));
        pthread_cond_signal(&l->changed);
    }
}

/* NULL: the thread is not needed. */
static struct lane_ticket *wait_for_work(struct lane *l)
{
    while (!l->ready.first && !l->closed && l->idle < LANE_THREADS_SPARE) {
        l->idle++;
        pthread_cond_wait(&l->changed, &l->lock);
        l->idle--;
    }
    return take_first(&l->ready);
}

static void run_thread(void *lane)
{
    struct lane *l = lane;

    pthread_mutex_lock(&l->lock);
    for (struct lane_ticket *t; (t = wait_for_work(l));) {
        struct lane_owner *o = t->owner;
        pthread_mutex_unlock(&l->lock);
        l->work(t, l->context);
        pthread_mutex_lock(&l->lock);
        count_busy(l, o, -1);
        serve_lane(l);
    }
    l->threads--;
    pthread_mutex_unlock(&l->lock);
}

/* ---- pushing ------------------------------------------------------------------------------------- */

/* Whether what waits already, the newest included, may. */
static int check_waiting(const struct lane *l, const struct lane_owner *o, struct refusal *r)
{
    const struct lane_bounds *b = &l->bounds;

    if (l->threads > 0 && fair_allows(1, o->waiting - 1, l->waiting - 1, b->waiting, b->shared))
        return 0;
    r->retry_after = 1;
    if (b->shared && l->threads > 0 && (l->busy < b->threads || l->waiting <= b->waiting))
        return refuse(r, REFUSAL_LIMIT, "so many of your requests are being worked on that no more may be");
    return refuse(r, REFUSAL_OVERLOAD, "too many requests wait already");
}

/* Whether that one waits in its place, and not in work. */
static bool take_out(struct lane *l, struct lane_owner *o, const struct lane_ticket *t)
{
    bool found = unlink_ticket(&o->tickets, t);

    if (found)
        count_waiting(l, o, -1);
    return found;
}

int lane_push(struct lane *l, const char *owner, struct lane_ticket *t, struct refusal *r)
{
    int result = 0;

    pthread_mutex_lock(&l->lock);
    struct lane_owner *o = get_owner(l, owner);
    t->owner = o;
    t->since = clock_monotonic_ns();
    append(&o->tickets, t);
    count_waiting(l, o, 1);
    if (l->closed)
        result = refuse(r, REFUSAL_STOPPING, "the server is shutting down");
    else
        serve_lane(l);
    if (result == 0 && o->tickets.last == t && o->tickets.first)
        result = check_waiting(l, o, r);
    if (result < 0)
        take_out(l, o, t);
    pthread_mutex_unlock(&l->lock);
    return result;
}

bool lane_withdraw(struct lane *l, const struct lane_ticket *t)
{
    bool found = false;

    pthread_mutex_lock(&l->lock);
    for (struct lane_owner *o = l->owners; o && !found; o = o->next)
        found = take_out(l, o, t);
    pthread_mutex_unlock(&l->lock);
    return found;
}

struct lane_ticket *lane_expired(struct lane *l, int64_t before)
{
    struct lane_ticket *t = NULL;

    pthread_mutex_lock(&l->lock);
    for (struct lane_owner *o = l->owners; o && !t; o = o->next) {
        t = o->tickets.first && o->tickets.first->since < before ? o->tickets.first : NULL;
        if (t)
            take_out(l, o, t);
    }
    pthread_mutex_unlock(&l->lock);
    return t;
}

struct lane_use lane_used(struct lane *l)
{
    pthread_mutex_lock(&l->lock);
    struct lane_use ret = {l->busy, l->waiting, l->threads};
    pthread_mutex_unlock(&l->lock);
    return ret;
}

void lane_each(struct lane *l,
               void (*visit)(const char *owner, unsigned busy, unsigned waiting, void *context),
               void *context)
{
    pthread_mutex_lock(&l->lock);
    for (const struct lane_owner *o = l->owners; o; o = o->next)
        if (o->busy > 0 || o->waiting > 0)
            visit(o->name, o->busy, o->waiting, context);
    pthread_mutex_unlock(&l->lock);
}
