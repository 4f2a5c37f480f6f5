#include "base/thread.h"

#include "base/text.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

/* A third of the processor time that another one has. */
#define NICE_BEHIND 5

int thread_start(pthread_t *ret, void *(*run)(void *), void *context, struct error *e)
{
    pthread_attr_t attributes;
    sigset_t all, before;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_SIZE);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(ret, &attributes, run, context);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    errno = failed;
    return failed ? error_errno(e, "cannot start a thread") : 0;
}

void thread_stand_back(void)
{
    setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + NICE_BEHIND);
}

struct behind {
    void *(*run)(void *);
    void *context;
};

static void *run_behind(void *behind)
{
    const struct behind *b = behind;

    thread_stand_back();
    return b->run(b->context);
}

int thread_run_behind(void *(*run)(void *), void *context, struct error *e)
{
    struct behind b = {run, context};
    pthread_t thread;

    if (thread_start(&thread, run_behind, &b, e) < 0)
        return -1;
    pthread_join(thread, NULL);
    return 0;
}

/* ---- groups -------------------------------------------------------------------------------------- */

struct member {
    struct thread_group *group;
    void (*run)(void *context);
    void *context;
};

void thread_group_open(struct thread_group *g, unsigned max)
{
    *g = (struct thread_group){.max = max};
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->ended, NULL);
}

static void *run_member(void *member)
{
    struct member m = *(struct member *)member;

    free(member);
    m.run(m.context);
    pthread_mutex_lock(&m.group->lock);
    bool unjoined = m.group->unjoined;
    pthread_t before = m.group->last;
    m.group->unjoined = true;
    m.group->last = pthread_self();
    m.group->count--;
    pthread_cond_broadcast(&m.group->ended);
    pthread_mutex_unlock(&m.group->lock);
    if (unjoined)
        pthread_join(before, NULL);
    return NULL;
}

/* Counts one more; false: there are as many as may be. */
static bool add_member(struct thread_group *g)
{
    pthread_mutex_lock(&g->lock);
    bool room = g->count < g->max;
    g->count += room;
    pthread_mutex_unlock(&g->lock);
    return room;
}

int thread_group_start(struct thread_group *g, void (*run)(void *context), void *context, struct error *e)
{
    pthread_t thread;

    if (!add_member(g))
        return error_set(e, ERROR_BUSY, "%u things are done at a time already", g->max);
    struct member *m = memory_allocate(sizeof(*m));
    *m = (struct member){g, run, context};
    if (thread_start(&thread, run_member, m, e) == 0)
        return 0;
    free(m);
    e->kind = ERROR_BUSY;
    pthread_mutex_lock(&g->lock);
    g->count--;
    pthread_cond_broadcast(&g->ended);
    pthread_mutex_unlock(&g->lock);
    return -1;
}

void thread_group_wait(struct thread_group *g)
{
    pthread_mutex_lock(&g->lock);
    while (g->count > 0)
        pthread_cond_wait(&g->ended, &g->lock);
    bool unjoined = g->unjoined;
    g->unjoined = false;
    pthread_mutex_unlock(&g->lock);
    if (unjoined)
        pthread_join(g->last, NULL);
}

void thread_group_close(struct thread_group *g)
{
    pthread_cond_destroy(&g->ended);
    pthread_mutex_destroy(&g->lock);
}
