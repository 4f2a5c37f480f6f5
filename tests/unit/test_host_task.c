/* service/task: how tasks begin, work, are cancelled and counted. */
/* also: threads */
#include "service/task.h"

#include "base/file.h"
#include "unit.h"

#include <poll.h>
#include <stdio.h>

#define WAIT_MS 20000

/* What is known of a task from outside; in its context. */
struct watcher {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool running, done;
    unsigned noticed;
    enum refusal_kind why;
};

static char home[] = "/tmp/capsid-task-XXXXXX";
static atomic_bool stopping;
static const struct refusal_manner manner = {.stopping = &stopping};
static struct ledger ledger;
static struct operations operations;
static struct tokens *tokens;
static struct tasks tasks;

static void setup(void)
{
    const struct token_limits limits = {.concurrent = 3};
    struct error e = {0};

    ck_assert_ptr_nonnull(mkdtemp(home));
    ck_assert_msg(ledger_open(&ledger, home, &e) == 0, "%s", e.text);
    operations_open(&operations, &ledger);
    tokens = tokens_open(NULL, -1, &limits, &e);
    ck_assert_ptr_nonnull(tokens);
    tasks_open(&tasks, &(struct tasks_options){.tokens = tokens,
                                               .manner = &manner,
                                               .operations = &operations,
                                               .lanes = {[LANE_LIST] = {1, 8, false}}});
}

static void teardown(void)
{
    ck_assert(tasks_idle(&tasks));
    ck_assert_uint_eq(tasks.held, 0);
    tasks_close(&tasks);
    tokens_close(tokens);
    operations_close(&operations);
    ledger_close(&ledger);
    file_remove_tree(home, &(struct error){0});
}

/* Until it is cancelled. */
static int work(struct task *t, void *context)
{
    struct watcher *w = context;
    struct pollfd p = {.fd = t->call.cancel.fd, .events = POLLIN};

    pthread_mutex_lock(&w->lock);
    w->running = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    ck_assert_int_eq(poll(&p, 1, WAIT_MS), 1);
    return 0;
}

static void notice(struct task *t, void *context)
{
    struct watcher *w = context;

    ck_assert(t->cancelled);
    pthread_mutex_lock(&w->lock);
    w->noticed++;
    pthread_mutex_unlock(&w->lock);
}

static void done(struct task *t, const struct refusal *why, void *context)
{
    struct watcher *w = context;

    task_unref(t);
    pthread_mutex_lock(&w->lock);
    w->why = why ? why->kind : REFUSAL_NONE;
    w->done = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static struct task *new_task(struct watcher *w)
{
    struct task *t = task_new(&tasks);

    *w = (struct watcher){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    strcpy(t->owner, "ann");
    t->work = work;
    t->notice = notice;
    t->done = done;
    t->context = w;
    return t;
}

/* Begins one and gives it to the lane. Its number. */
static uint64_t push(struct watcher *w)
{
    struct task *t = new_task(w);
    struct refusal r = {0};

    ck_assert_msg(task_begin(t, &r) == 0, "%s", r.text);
    uint64_t number = t->number;
    ck_assert_msg(task_push(t, LANE_LIST, &r) == 0, "%s", r.text);
    return number;
}

static void wait_for(struct watcher *w, const bool *what)
{
    pthread_mutex_lock(&w->lock);
    while (!*what)
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

START_TEST(one_at_work_is_cancelled_by_its_number)
{
    static struct watcher w;
    uint64_t number = push(&w);

    wait_for(&w, &w.running);
    tasks_cancel(&tasks, number + 1);
    ck_assert(!w.done);
    tasks_cancel(&tasks, number);
    wait_for(&w, &w.done);
    ck_assert_uint_eq(w.noticed, 1);
    ck_assert_int_eq(w.why, REFUSAL_NONE);
    tasks_cancel(&tasks, number);
    ck_assert_uint_eq(w.noticed, 1);
}
END_TEST

START_TEST(one_that_waits_is_done_at_once)
{
    static struct watcher w, behind, late;
    uint64_t number = push(&w);

    wait_for(&w, &w.running);
    tasks_cancel(&tasks, push(&behind));
    ck_assert(behind.done && !behind.running);
    ck_assert_int_eq(behind.why, REFUSAL_CANCELLED);
    push(&late);
    tasks_expire(&tasks, LANE_LIST, INT64_MAX);
    ck_assert(late.done && !late.running);
    ck_assert_int_eq(late.why, REFUSAL_OVERLOAD);
    tasks_cancel(&tasks, number);
    wait_for(&w, &w.done);
}
END_TEST

START_TEST(all_are_cancelled_when_the_server_stops)
{
    static struct watcher all[3], late;
    struct refusal r = {0};

    for (int i = 0; i < 3; i++)
        push(&all[i]);
    wait_for(&all[0], &all[0].running);
    stopping = true;
    tasks_cancel_all(&tasks);
    for (int i = 0; i < 3; i++)
        wait_for(&all[i], &all[i].done);
    struct task *t = new_task(&late);
    ck_assert_int_lt(task_begin(t, &r), 0);
    ck_assert_int_eq(r.kind, REFUSAL_STOPPING);
    task_unref(t);
}
END_TEST

START_TEST(an_owner_has_so_many_at_work)
{
    static struct watcher all[4];
    struct refusal r = {0};

    for (int i = 0; i < 3; i++)
        push(&all[i]);
    struct task *t = new_task(&all[3]);
    ck_assert_int_lt(task_begin(t, &r), 0);
    ck_assert_int_eq(r.kind, REFUSAL_LIMIT);
    task_unref(t);
    tasks_cancel_all(&tasks);
    for (int i = 0; i < 3; i++)
        wait_for(&all[i], &all[i].done);
}
END_TEST

START_TEST(bytes_are_held_as_long_as_the_task_lives)
{
    static struct watcher w;
    struct task *t = new_task(&w);
    struct refusal r = {0};

    ck_assert_int_eq(task_hold(t, 1000, &r), 0);
    ck_assert_int_lt(task_hold(t, TASKS_HELD_MAX, &r), 0);
    ck_assert_int_eq(r.kind, REFUSAL_OVERLOAD);
    ck_assert_uint_eq(tasks.held, 1000);
    task_unref(t);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("task");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, one_at_work_is_cancelled_by_its_number);
    unit_add(&u, one_that_waits_is_done_at_once);
    unit_add(&u, all_are_cancelled_when_the_server_stops);
    unit_add(&u, an_owner_has_so_many_at_work);
    unit_add(&u, bytes_are_held_as_long_as_the_task_lives);
    return unit_end(&u);
}
