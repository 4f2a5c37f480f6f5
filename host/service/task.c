#include "service/task.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "service/request_parse.h"

#include <stddef.h>
#include <sys/eventfd.h>

const char *task_lane_name(enum task_lane lane)
{
#define TASK_LANE_NAME(name, text) [LANE_##name] = text,
    static const char *const names[LANE_COUNT] = {TASK_LANES(TASK_LANE_NAME)};
#undef TASK_LANE_NAME

    return names[lane];
}

/* ---- life ---------------------------------------------------------------------------------------- */

struct task *task_new(struct tasks *all)
{
    struct task *t = memory_allocate(sizeof(*t));

    *t = (struct task){.all = all, .references = 1, .stdin_fd = -1, .call = CALL(-1)};
    return t;
}

void task_unref(struct task *t)
{
    if (--t->references > 0)
        return;
    t->all->held -= t->held;
    tokens_release(t->all->options.tokens, t->client, t->held);
    request_done(&t->request);
    close_fd(&t->stdin_fd);
    close_fd(&t->call.cancel.fd);
    json_decref(t->result);
    free(t);
}

int task_hold(struct task *t, size_t size, struct refusal *r)
{
    size_t held = atomic_fetch_add(&t->all->held, size) + size;
    int result = 0;

    if (held > TASKS_HELD_MAX) {
        r->retry_after = 1;
        result = refuse(r, REFUSAL_OVERLOAD, "the server holds too many requests");
    } else {
        result = tokens_hold(t->all->options.tokens, t->client, size, held, TASKS_HELD_MAX, r);
    }
    if (result < 0)
        t->all->held -= size;
    else
        t->held += size;
    return result;
}

/* ---- the list ------------------------------------------------------------------------------------ */

int task_begin(struct task *t, struct refusal *r)
{
    struct tasks *all = t->all;

    if (*all->options.manner->stopping)
        return refuse(r, REFUSAL_STOPPING, "the server is shutting down");
    t->call.cancel.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (t->call.cancel.fd < 0)
        return refuse(r, REFUSAL_OVERLOAD, "the server has too many files open");
    if (tokens_begin_work(all->options.tokens, t->client, r) < 0)
        return -1;
    pthread_mutex_lock(&all->lock);
    t->number = ++all->last_number;
    t->working = true;
    t->next = all->first;
    if (all->first)
        all->first->before = t;
    all->first = t;
    pthread_mutex_unlock(&all->lock);
    return 0;
}

void task_end(struct task *t)
{
    struct tasks *all = t->all;

    pthread_mutex_lock(&all->lock);
    t->working = false;
    *(t->before ? &t->before->next : &all->first) = t->next;
    if (t->next)
        t->next->before = t->before;
    pthread_mutex_unlock(&all->lock);
    tokens_end_work(all->options.tokens, t->client);
}

bool tasks_idle(struct tasks *all)
{
    pthread_mutex_lock(&all->lock);
    bool idle = !all->first;
    pthread_mutex_unlock(&all->lock);
    return idle;
}

/* ---- at work ------------------------------------------------------------------------------------- */

static struct task *task_of(struct lane_ticket *ticket)
{
    return (struct task *)((char *)ticket - offsetof(struct task, ticket));
}

static void finish(struct task *t, const struct refusal *why)
{
    task_end(t);
    t->done(t, why, t->context);
}

/* One that never got to a thread, or that nobody wants any more when it does. */
static void finish_cancelled(struct task *t)
{
    bool stopping = *t->all->options.manner->stopping;
    struct refusal why = {0};

    refuse(&why, stopping ? REFUSAL_STOPPING : REFUSAL_CANCELLED,
           stopping ? "the server is shutting down" : "cancelled before it began");
    finish(t, &why);
}

static void work(struct lane_ticket *ticket, void *tasks)
{
    struct task *t = task_of(ticket);
    struct tasks *all = tasks;

    if (t->cancelled) {
        finish_cancelled(t);
        return;
    }
    if (t->operation[0])
        operations_begin(all->options.operations, t->operation);
    t->work(t, t->context);
    finish(t, NULL);
    records_tidy(all->options.operations->ledger->records); /* now that nobody waits for this thread */
}

int task_push(struct task *t, enum task_lane lane, struct refusal *r)
{
    if (lane_push(&t->all->lanes[lane], t->owner, &t->ticket, r) == 0)
        return 0;
    task_end(t);
    return -1;
}

void tasks_expire(struct tasks *all, enum task_lane lane, int64_t before)
{
    struct refusal why = {.retry_after = 5};

    refuse(&why, REFUSAL_OVERLOAD, "no worker was free in time");
    for (struct lane_ticket *t; (t = lane_expired(&all->lanes[lane], before));)
        finish(task_of(t), &why);
}

/* ---- cancelling ---------------------------------------------------------------------------------- */

static void mark_cancelled(struct task *t)
{
    t->cancelled = true;
    /* The counter cannot overflow, and is readable from the first write on. */
    if (t->call.cancel.fd >= 0 && eventfd_write(t->call.cancel.fd, 1) < 0)
        log_debug("eventfd is readable already");
    if (t->notice)
        t->notice(t, t->context);
}

static void withdraw(struct task *t)
{
    for (enum task_lane lane = LANE_RUN; lane < LANE_COUNT; lane++) {
        if (lane_withdraw(&t->all->lanes[lane], &t->ticket)) {
            finish_cancelled(t);
            return;
        }
    }
}

void task_cancel(struct task *t)
{
    mark_cancelled(t);
    withdraw(t);
}

void tasks_cancel(struct tasks *all, uint64_t number)
{
    struct task *t;

    pthread_mutex_lock(&all->lock);
    for (t = all->first; t && t->number != number; t = t->next)
        ;
    if (t) {
        t->references++;
        mark_cancelled(t); /* here its context lives: it is at work */
    }
    pthread_mutex_unlock(&all->lock);
    if (!t)
        return;
    withdraw(t);
    task_unref(t);
}

void tasks_cancel_all(struct tasks *all)
{
    for (uint64_t number = 0; number != UINT64_MAX;) {
        uint64_t lowest = UINT64_MAX;
        pthread_mutex_lock(&all->lock);
        for (struct task *t = all->first; t; t = t->next)
            if (t->number > number && t->number < lowest)
                lowest = t->number;
        pthread_mutex_unlock(&all->lock);
        number = lowest;
        if (number != UINT64_MAX)
            tasks_cancel(all, number);
    }
}

/* ---- all of them --------------------------------------------------------------------------------- */

void tasks_open(struct tasks *all, const struct tasks_options *options)
{
    *all = (struct tasks){.options = *options};
    pthread_mutex_init(&all->lock, NULL);
    for (enum task_lane lane = LANE_RUN; lane < LANE_COUNT; lane++)
        lane_open(&all->lanes[lane], &options->lanes[lane], work, all);
}

void tasks_finish(struct tasks *all)
{
    for (enum task_lane lane = LANE_RUN; lane < LANE_COUNT; lane++)
        lane_close(&all->lanes[lane]);
}

void tasks_close(struct tasks *all)
{
    tasks_finish(all);
    pthread_mutex_destroy(&all->lock);
}
