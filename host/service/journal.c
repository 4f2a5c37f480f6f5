#include "service/journal.h"

#include "base/deadline.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    struct entry *next;
    struct journal_event event;
};

struct journal {
    struct journal *next;
    char operation[OPERATION_ID_MAX];
    char owner[65];
    struct entry *first, *last;
    uint64_t number; /* of the last event */
    size_t bytes;
    bool ended;
};

void journals_open(struct journals *j)
{
    pthread_condattr_t monotonic;

    *j = (struct journals){0};
    pthread_mutex_init(&j->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&j->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* ---- under the lock ------------------------------------------------------------------------------- */

static struct journal *find_journal(struct journals *j, const char *operation)
{
    struct journal *one = j->first;

    while (one && strcmp(one->operation, operation) != 0)
        one = one->next;
    return one;
}

static void drop_first_event(struct journals *j, struct journal *one)
{
    struct entry *e = one->first;

    one->first = e->next;
    one->last = one->first ? one->last : NULL;
    one->bytes -= e->event.data.size;
    j->bytes -= e->event.data.size;
    buffer_free(&e->event.data);
    free(e);
}

static void drop_journal(struct journals *j, struct journal **place)
{
    struct journal *one = *place;

    while (one->first)
        drop_first_event(j, one);
    *place = one->next;
    if (j->last == one)
        for (j->last = j->first; j->last && j->last->next;)
            j->last = j->last->next;
    j->count--;
    free(one);
}

/* The oldest that has ended, or else the oldest. */
static void drop_some_journal(struct journals *j)
{
    struct journal **place = &j->first;

    while (*place && !(*place)->ended)
        place = &(*place)->next;
    drop_journal(j, *place ? place : &j->first);
}

static void append_event(struct journals *j, struct journal *one, enum stream_event event, const void *data,
                         size_t size)
{
    struct entry *e = memory_allocate(sizeof(*e));

    e->event = (struct journal_event){.number = ++one->number, .event = event, .at_ns = clock_realtime_ns()};
    buffer_add(&e->event.data, data ? data : "", size);
    *(one->last ? &one->last->next : &one->first) = e;
    one->last = e;
    one->bytes += size;
    j->bytes += size;
    while (one->bytes > JOURNAL_BYTES && one->first != e)
        drop_first_event(j, one);
    while (j->bytes > JOURNALS_BYTES && j->first != one)
        drop_some_journal(j);
}

/* ---- */

void journals_close(struct journals *j)
{
    while (j->first)
        drop_journal(j, &j->first);
    pthread_cond_destroy(&j->changed);
    pthread_mutex_destroy(&j->lock);
}

void journals_add(struct journals *j, const char *operation, const char *owner)
{
    struct journal *one = memory_allocate(sizeof(*one));

    snprintf(one->operation, sizeof(one->operation), "%s", operation);
    snprintf(one->owner, sizeof(one->owner), "%s", owner);
    pthread_mutex_lock(&j->lock);
    if (j->count == JOURNALS_MAX)
        drop_some_journal(j);
    *(j->last ? &j->last->next : &j->first) = one;
    j->last = one;
    j->count++;
    pthread_mutex_unlock(&j->lock);
}

void journals_tell(struct journals *j, const char *operation, enum stream_event event, const void *data,
                   size_t size)
{
    pthread_mutex_lock(&j->lock);
    struct journal *one = find_journal(j, operation);
    if (one)
        append_event(j, one, event, data, size);
    pthread_cond_broadcast(&j->changed);
    pthread_mutex_unlock(&j->lock);
}

void journals_end(struct journals *j, const char *operation)
{
    pthread_mutex_lock(&j->lock);
    struct journal *one = find_journal(j, operation);
    if (one)
        one->ended = true;
    pthread_cond_broadcast(&j->changed);
    pthread_mutex_unlock(&j->lock);
}

/* Under the lock. True: *ret has it. */
static bool look_after(const struct journal *one, uint64_t after, struct journal_event *ret)
{
    for (const struct entry *e = one->first; e; e = e->next) {
        if (e->event.number <= after)
            continue;
        *ret = e->event;
        ret->data = (struct buffer){0};
        buffer_add(&ret->data, e->event.data.data, e->event.data.size);
        return true;
    }
    *ret = (struct journal_event){.number = one->number + 1,
                                  .event = one->ended ? STREAM_EVENT_END : STREAM_EVENT_NONE};
    return one->ended;
}

bool journals_next(struct journals *j, const char *operation, const char *owner, uint64_t after,
                   int64_t deadline, struct journal_event *ret)
{
    const struct timespec until = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
    int waited = 0;

    pthread_mutex_lock(&j->lock);
    struct journal *one = find_journal(j, operation);
    bool mine = one && strcmp(one->owner, owner) == 0;
    while (mine && !look_after(one, after, ret) && waited == 0) {
        waited = pthread_cond_timedwait(&j->changed, &j->lock, &until);
        mine = (one = find_journal(j, operation)) != NULL; /* it may be gone */
    }
    pthread_mutex_unlock(&j->lock);
    return mine;
}
