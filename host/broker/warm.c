#include "broker/warm.h"

#include "base/gate.h"
#include "base/cleanup.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define CHECK_NS 1000000000 /* how long a target counts as current without looking */

struct warm_language {
    char *name;                 /* owned */
    struct gate making;         /* one at a time */
    struct pool_target *target; /* NULL: none, or not yet */
    unsigned size;              /* VMs that are kept ready */
    int64_t checked;            /* when it was last found current; 0: it must be looked at */
    struct warm_language *next;
};

struct warm {
    struct warm_options options;
    struct host *host; /* borrowed */

    pthread_mutex_t lock;
    struct pool *pool;
    unsigned kept; /* of all languages */
    struct warm_language *languages;
};

struct warm *warm_open(struct host *host, const struct warm_options *options)
{
    struct warm *w = memory_allocate(sizeof(*w));

    w->options = *options;
    w->host = host;
    pthread_mutex_init(&w->lock, NULL);
    return w;
}

void warm_close(struct warm *w)
{
    if (!w)
        return;
    pool_close(w->pool);
    for (struct warm_language *l = w->languages, *next; l; l = next) {
        next = l->next;
        gate_close(&l->making);
        free(l->name);
        free(l);
    }
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* ---- languages ----------------------------------------------------------------------------------- */

struct pool *warm_pool(struct warm *w)
{
    pthread_mutex_lock(&w->lock);
    struct pool *p = w->pool;
    pthread_mutex_unlock(&w->lock);
    return p;
}

void warm_forget(struct warm *w)
{
    pthread_mutex_lock(&w->lock);
    for (struct warm_language *l = w->languages; l; l = l->next)
        l->checked = 0;
    pthread_mutex_unlock(&w->lock);
}

/* With the lock held. NULL: there is no room for one more. */
static struct warm_language *find(struct warm *w, const char *name, unsigned size)
{
    struct warm_language **place = &w->languages;

    for (; *place; place = &(*place)->next)
        if (strcmp((*place)->name, name) == 0)
            return *place;
    if (size == 0 && w->kept < (w->options.max_vms + 1) / 2)
        size = 1;
    if (size == 0)
        return NULL;
    struct warm_language *l = *place = memory_allocate(sizeof(*l));
    l->name = text_copy(name);
    l->size = size;
    gate_open(&l->making, 1, w->options.max_waiters, "the language is being made ready; it was not");
    w->kept += size;
    return l;
}

bool warm_knows(struct warm *w, const char *language)
{
    bool known = false;

    pthread_mutex_lock(&w->lock);
    for (const struct warm_language *l = w->languages; l; l = l->next)
        known = known || strcmp(l->name, language) == 0;
    pthread_mutex_unlock(&w->lock);
    return known;
}

/* Whether there is nothing to do: a target that was looked at lately, or that another one is looking at. */
static struct pool_target *current(struct warm *w, struct warm_language *l, bool *ret_current)
{
    pthread_mutex_lock(&w->lock);
    int64_t now = clock_monotonic_ns();
    struct pool_target *t = l->target;
    *ret_current = t && l->checked && now - l->checked < CHECK_NS;
    /* This one looks; who comes meanwhile goes on with what there is. */
    if (t && l->checked && !*ret_current)
        l->checked = now;
    pthread_mutex_unlock(&w->lock);
    return t;
}

static int open_pool(struct warm *w, struct error *e)
{
    const struct pool_options options = {.max_vms = w->options.max_vms,
                                         .max_waiters = w->options.max_waiters,
                                         .memory_max = w->options.memory};
    int result = 0;

    pthread_mutex_lock(&w->lock);
    if (!w->pool)
        result = pool_open(&w->pool, w->host, &options, e);
    pthread_mutex_unlock(&w->lock);
    return result;
}

/* One that was made anew from the same things, because somebody wanted that, is another one. */
static bool same(const struct snapshot *a, const struct snapshot *b)
{
    return strcmp(a->key, b->key) == 0 && a->created == b->created;
}

struct opening {
    struct warm *warm;
    const struct call *call;
    struct target_wish wish;
    struct run_target *target;
};

static int open_warm(void *opening, struct error *e)
{
    struct opening *o = opening;

    return target_open(o->target, o->warm->host, o->call, &o->wish, e);
}

/* What is there at once; else somebody has it made. */
static int open_or_make(struct warm *w, const struct call *call, const char *name,
                        const struct warm_maker *maker, struct run_target *ret, struct error *e)
{
    struct opening o = {
        w, call, {.language = name, .start = TARGET_RESTORE, .make_nothing = maker != NULL}, ret};
    int result = open_warm(&o, e);

    if (!maker || result == 0 || e->kind != ERROR_NOT_MADE)
        return result;
    *e = (struct error){0};
    o.wish.make_nothing = false;
    return maker->make(maker->maker, open_warm, &o, e);
}

/* Inside the language's gate. */
static int make_warm(struct warm *w, const struct call *call, struct warm_language *l,
                     const struct warm_maker *maker, struct error *e)
{
    struct pool_target *old = l->target, *fresh = old;
    struct run_target target = {0};

    int result = open_or_make(w, call, l->name, maker, &target, e);
    if (result == 0)
        result = open_pool(w, e);
    if (result == 0 && (!old || !same(&pool_run_target(old)->snapshot, &target.snapshot))) {
        result = pool_add(w->pool, call, &target, l->size, &fresh, e);
        if (result == 0)
            log_progress("The pool keeps %u of %s ready", l->size, l->name);
    }
    target_done(&target);
    if (result < 0)
        return -1;
    pthread_mutex_lock(&w->lock);
    l->target = fresh;
    l->checked = clock_monotonic_ns();
    pthread_mutex_unlock(&w->lock);
    if (old && old != fresh)
        pool_retire(w->pool, old);
    return 0;
}

int warm_keep(struct warm *w, const char *name, unsigned size, struct error *e)
{
    int result = 0;

    pthread_mutex_lock(&w->lock);
    if (size > w->options.max_vms - w->kept)
        result =
            error_set(e, ERROR_USAGE,
                      "%u VMs of %s kept ready would be more than the pool may have, %u; raise --pool-max",
                      size, name, w->options.max_vms);
    else
        find(w, name, size);
    pthread_mutex_unlock(&w->lock);
    return result;
}

int warm_target(struct warm *w, const struct call *call, const char *language, int64_t deadline,
                const struct warm_maker *maker, struct pool_target **ret, struct error *e)
{
    bool done;

    *ret = NULL;
    pthread_mutex_lock(&w->lock);
    struct warm_language *l = find(w, language, 0);
    pthread_mutex_unlock(&w->lock);
    if (!l)
        return 0;
    *ret = current(w, l, &done);
    if (done)
        return 0;
    int64_t arrived = clock_monotonic_ns();
    if (gate_enter(&l->making, deadline, &call->cancel, e) < 0)
        return -1;
    pthread_mutex_lock(&w->lock);
    done = l->target && l->checked > arrived; /* the one before did it */
    pthread_mutex_unlock(&w->lock);
    int result = done ? 0 : make_warm(w, call, l, maker, e);
    *ret = l->target;
    gate_leave(&l->making);
    return result;
}
