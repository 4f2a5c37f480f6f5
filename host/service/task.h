/*
 * task: one thing that a client wants: who wants it, what, how it is cancelled, and what became of it. It is data; of the connection that it came
 * by it knows no more than two functions. An exchange waits for its task; an operation is a task that nobody waits for.
 *
 * Tasks are numbered, counted (service/tokens.h) and listed while they are worked on, by the threads of a lane (service/lane.h).
 *
 * Locks: that of the list, under which task.notice is called; those of lanes.
 */
#ifndef CAPSID_SERVICE_TASK_H
#define CAPSID_SERVICE_TASK_H

#include "core/call.h"
#include "service/lane.h"
#include "service/operations.h"
#include "service/request.h"
#include "service/tokens.h"

#include <stdatomic.h>

#define TASK_OWNER_SIZE 65
#define TASKS_HELD_MAX (256u << 20) /* bytes of all requests and large answers that are held at a time */

/* L(NAME, "as it is shown"). LANE_NONE: whoever asks does it, as it never waits. */
#define TASK_LANES(L)                                                                                        \
    L(RUN, "run")       /* programs, each with a thread while it waits for its VM */                         \
    L(MAKE, "make")     /* images and snapshots */                                                           \
    L(LIST, "list")     /* what there is */                                                                  \
    L(FOLLOW, "follow") /* operations, as long as somebody looks at them */                                  \
    L(SESSION, "session")

enum task_lane {
    LANE_NONE,
#define TASK_LANE_ENUM(name, text) LANE_##name,
    TASK_LANES(TASK_LANE_ENUM)
#undef TASK_LANE_ENUM
        LANE_COUNT
};

const char *task_lane_name(enum task_lane lane);

struct tasks;

struct task {
    struct tasks *all;
    atomic_int references;
    int client;                  /* its number in tokens */
    char owner[TASK_OWNER_SIZE]; /* and its name */
    struct request request;
    int stdin_fd; /* owned; in place of what the request says; -1: there is none */
    size_t held;  /* bytes that were counted */
    struct call call;
    atomic_bool cancelled;

    json_t *result;                   /* of one that is an operation, or NULL */
    struct refusal refusal;           /* why there is none */
    char operation[OPERATION_ID_MAX]; /* "": it is none */

    /* Set before task_push(). */
    int (*work)(struct task *t, void *context); /* in a thread of the lane */
    void (*notice)(
        struct task *t,
        void *context); /* that it is cancelled, while it is at work; NULL: what waits sees it by call */
    /* It is at work no more. why: it was not begun, for that reason; or NULL. What the task is kept by from task_push() on, its giver's
     * reference, is given up here. */
    void (*done)(struct task *t, const struct refusal *why, void *context);
    void *context;

    atomic_bool working; /* between task_begin() and its end */
    uint64_t number;     /* of one that was begun */
    struct lane_ticket ticket;
    struct task *next, *before; /* at work */
};

struct tasks_options {
    struct tokens *tokens;
    const struct refusal_manner *manner;
    struct operations *operations; /* in a ledger, which is tidied by threads that have nobody waiting */
    struct lane_bounds lanes[LANE_COUNT];
};

struct tasks {
    struct tasks_options options;
    struct lane lanes[LANE_COUNT];
    atomic_size_t held;
    pthread_mutex_t lock;
    struct task *first;
    uint64_t last_number;
};

/* What options point to lives as long. */
void tasks_open(struct tasks *all, const struct tasks_options *options);

/* Lets lanes finish what they have. From here on nothing is taken. */
void tasks_finish(struct tasks *all);
void tasks_close(struct tasks *all);

/* With a reference of its caller's. */
struct task *task_new(struct tasks *all);
void task_unref(struct task *t);

/* Its trace id and owner are set. Counts and lists it; -1 with a refusal. Then task_push() or task_end() must follow. */
int task_begin(struct task *t, struct refusal *r);
void task_end(struct task *t);

/* Gives it to a lane, which may be done with it before this returns. -1 with a refusal: it is the caller's still, and has ended. */
int task_push(struct task *t, enum task_lane lane, struct refusal *r);

/* Counts bytes that it holds, as long as it lives; -1 with a refusal: all tasks hold too many, or its owner's do. */
int task_hold(struct task *t, size_t size, struct refusal *r);

/* Asks it to stop, wherever it is: one that is at hand, one at work by its number, all at work. */
void task_cancel(struct task *t);
void tasks_cancel(struct tasks *all, uint64_t number);
void tasks_cancel_all(struct tasks *all);

/* Refuses those that wait in a lane since before that time. */
void tasks_expire(struct tasks *all, enum task_lane lane, int64_t before);

/* Nothing is at work. */
bool tasks_idle(struct tasks *all);

#endif
