#include "core/admission.h"

#include "base/fair.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct owner {
    char name[ADMISSION_OWNER_SIZE];
    struct admission_use use;
    struct owner *next;
};

struct applicant {
    struct waiter waiter;
    struct owner *owner;
    const struct admission_wish *wish;
};

struct admission {
    struct admission_bounds bounds;
    bool shared;

    pthread_mutex_t lock;
    struct admission_use all;
    struct owner *owners; /* those who have or want something */
    struct waiter_line line;
};

struct admission *admission_open(const struct admission_bounds *bounds, bool shared)
{
    struct admission *a = memory_allocate(sizeof(*a));

    a->bounds = *bounds;
    a->shared = shared;
    pthread_mutex_init(&a->lock, NULL);
    return a;
}

void admission_close(struct admission *a)
{
    if (!a)
        return;
    for (struct owner *o = a->owners, *next; o; o = next) {
        next = o->next;
        free(o);
    }
    pthread_mutex_destroy(&a->lock);
    free(a);
}

static unsigned all_vms(const struct admission_use *u)
{
    unsigned sum = 0;

    for (enum admission_kind k = 0; k < ADMISSION_KINDS_COUNT; k++)
        sum += u->vms[k];
    return sum;
}

const char *admission_kind_name(enum admission_kind kind)
{
    static const char *const names[ADMISSION_KINDS_COUNT] = {
#define K(name, text) [ADMISSION_##name] = text,
        ADMISSION_KINDS(K)
#undef K
    };

    return names[kind];
}

/* ---- owners, all with the lock held -------------------------------------------------------------- */

static struct owner *find_owner(struct admission *a, const char *name)
{
    for (struct owner *o = a->owners; o; o = o->next)
        if (strcmp(o->name, name) == 0)
            return o;
    return NULL;
}

static struct owner *get_owner(struct admission *a, const char *name)
{
    struct owner *o = find_owner(a, name);

    if (o)
        return o;
    o = memory_allocate(sizeof(*o));
    snprintf(o->name, sizeof(o->name), "%s", name);
    o->next = a->owners;
    return a->owners = o;
}

static void forget_idle(struct admission *a, struct owner *o)
{
    struct owner **place = &a->owners;

    if (all_vms(&o->use) > 0 || o->use.waiting > 0)
        return;
    while (*place != o)
        place = &(*place)->next;
    *place = o->next;
    free(o);
}

/* ---- what fits ----------------------------------------------------------------------------------- */

static bool fits(const struct admission *a, const struct owner *o, const struct admission_wish *w)
{
    const struct admission_use *mine = &o->use, *all = &a->all;
    const struct admission_bounds *max = &a->bounds;

    return fair_allows(1, mine->vms[w->kind], all->vms[w->kind], max->vms[w->kind], a->shared) &&
           fair_allows(w->shape.memory_mib, mine->memory_mib, all->memory_mib, max->memory_mib, a->shared) &&
           fair_allows(w->shape.disk_mib, mine->disk_mib, all->disk_mib, max->disk_mib, a->shared);
}

static void count_one(struct admission_use *u, const struct admission_wish *w, int sign)
{
    u->vms[w->kind] += (unsigned)sign;
    u->memory_mib += (uint64_t)sign * w->shape.memory_mib;
    u->disk_mib += (uint64_t)sign * w->shape.disk_mib;
}

static void count_admission(struct admission *a, struct owner *o, const struct admission_wish *w, int sign)
{
    count_one(&a->all, w, sign);
    count_one(&o->use, w, sign);
}

/* Whether another request of the same owner for the same kind waits before it: what does not fit lets none of its like pass, so
 * that a large one gets its turn. */
static bool is_behind_own(const struct admission *a, const struct applicant *one)
{
    for (const struct waiter *w = a->line.first; w != &one->waiter; w = w->next) {
        const struct applicant *before = (const struct applicant *)w; /* of which it is the first member */
        if (before->owner == one->owner && before->wish->kind == one->wish->kind)
            return true;
    }
    return false;
}

static bool waits_already(const struct admission *a, const struct owner *o, enum admission_kind kind)
{
    for (const struct waiter *w = a->line.first; w; w = w->next) {
        const struct applicant *one = (const struct applicant *)w;
        if (one->owner == o && one->wish->kind == kind)
            return true;
    }
    return false;
}

/* Of those who wait and fit, the first of the owner with the fewest VMs. */
static struct applicant *next_applicant(const struct admission *a)
{
    struct applicant *best = NULL;

    for (struct waiter *w = a->line.first; w; w = w->next) {
        struct applicant *one = (struct applicant *)w;
        if (fits(a, one->owner, one->wish) && !is_behind_own(a, one) &&
            (!best || all_vms(&one->owner->use) < all_vms(&best->owner->use)))
            best = one;
    }
    return best;
}

static void serve_admission(struct admission *a)
{
    for (struct applicant *next; (next = next_applicant(a));) {
        count_admission(a, next->owner, next->wish, 1);
        waiter_serve(&a->line, &next->waiter);
    }
}

/* ---- entering and leaving ------------------------------------------------------------------------ */

static int check_possible(const struct admission *a, struct vm_shape s, struct error *e)
{
    const struct admission_bounds *b = &a->bounds;

    if (s.memory_mib > b->memory_mib)
        return error_set(e, ERROR_USAGE,
                         "a VM with %llu MiB of memory is more than all may have together, %llu",
                         (unsigned long long)s.memory_mib, (unsigned long long)b->memory_mib);
    if (s.disk_mib > b->disk_mib)
        return error_set(e, ERROR_USAGE, "a disk of %llu MiB is more than all may have together, %llu",
                         (unsigned long long)s.disk_mib, (unsigned long long)b->disk_mib);
    return 0;
}

static int check_line(const struct admission *a, const struct owner *o, struct error *e)
{
    unsigned all = a->line.count, mine = o->use.waiting;

    if (all < a->bounds.waiting && fair_allows(1, mine, all, a->bounds.waiting, a->shared))
        return 0;
    return error_set(e, ERROR_BUSY, "%u others wait for a VM already, which is the limit",
                     all < a->bounds.waiting ? mine : all);
}

/* With the lock held, which is given up meanwhile. */
static int wait_turn_admission(struct admission *a, struct owner *o, const struct admission_wish *wish,
                               int64_t deadline, const struct cancel *cancel, struct error *e)
{
    struct applicant me = {.owner = o, .wish = wish};

    o->use.waiting++;
    int n = waiter_wait(&a->line, &me.waiter, false, &a->lock, deadline, cancel, e);
    o->use.waiting--;
    if (n < 0 && me.waiter.served)
        count_admission(a, o, wish, -1);
    if (n <= 0)
        serve_admission(a); /* who stood behind this one may fit */
    if (n == 0)
        return error_set(e, ERROR_BUSY, "no VM became free in time");
    return n < 0 ? -1 : 0;
}

int admission_enter(struct admission *a, const struct admission_wish *wish, int64_t deadline,
                    const struct cancel *cancel, struct error *e)
{
    if (check_possible(a, wish->shape, e) < 0)
        return -1;
    pthread_mutex_lock(&a->lock);
    struct owner *o = get_owner(a, wish->owner);
    int result = 0;
    if (fits(a, o, wish) && !waits_already(a, o, wish->kind))
        count_admission(a, o, wish, 1);
    else if (check_line(a, o, e) < 0)
        result = -1;
    else
        result = wait_turn_admission(a, o, wish, deadline, cancel, e);
    if (result < 0)
        forget_idle(a, o);
    pthread_mutex_unlock(&a->lock);
    return result;
}

void admission_leave(struct admission *a, const struct admission_wish *wish)
{
    pthread_mutex_lock(&a->lock);
    struct owner *o = find_owner(a, wish->owner);
    count_admission(a, o, wish, -1);
    serve_admission(a);
    forget_idle(a, o);
    pthread_mutex_unlock(&a->lock);
}

struct admission_use admission_used(struct admission *a, const char *owner)
{
    static const struct admission_use none;

    pthread_mutex_lock(&a->lock);
    const struct owner *o = owner ? find_owner(a, owner) : NULL;
    struct admission_use ret = !owner ? a->all : o ? o->use : none;
    if (!owner)
        ret.waiting = a->line.count;
    pthread_mutex_unlock(&a->lock);
    return ret;
}

void admission_each(struct admission *a,
                    void (*visit)(const char *name, const struct admission_use *use, void *context),
                    void *context)
{
    pthread_mutex_lock(&a->lock);
    for (const struct owner *o = a->owners; o; o = o->next)
        visit(o->name, &o->use, context);
    pthread_mutex_unlock(&a->lock);
}

struct admission_bounds admission_bounds_of(const struct admission *a)
{
    return a->bounds;
}
