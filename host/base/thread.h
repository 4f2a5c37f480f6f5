/*
 * thread: threads of this program get no signals: their handlers belong to the program's first thread.
 *
 * Threads whose number changes, each of which ends by itself, are a group. It counts them, and each is joined: by the next one that
 * ends, or by who waits for all of them.
 */
#ifndef CAPSID_THREAD_H
#define CAPSID_THREAD_H

#include "base/error.h"

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>

/* As of the program's first thread, where deep calls are to be had; only what is used takes memory. */
#define THREAD_STACK_SIZE (8u << 20)

int thread_start(pthread_t *ret, void *(*run)(void *), void *context, struct error *e);

/* The calling thread stands back from now on where others want the processor, as all does that it starts. (On Linux nice(2) is a
 * thread's; and an ordinary user's never comes forward again.) */
void thread_stand_back(void);

/* Runs it in a thread of its own that stands back, and waits for its end. */
int thread_run_behind(void *(*run)(void *), void *context, struct error *e);

struct thread_group {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    unsigned count, max;
    bool unjoined; /* last is one that has ended, or is about to */
    pthread_t last;
};

#define THREAD_GROUP_UNBOUNDED UINT_MAX

/* max: threads at a time. */
void thread_group_open(struct thread_group *g, unsigned max);

/* ERROR_BUSY: there are as many as may be; or there is no thread to be had. */
int thread_group_start(struct thread_group *g, void (*run)(void *context), void *context, struct error *e);

/* Until there is none. Called by no thread of the group, and by one at a time. */
void thread_group_wait(struct thread_group *g);

/* There must be none any more. */
void thread_group_close(struct thread_group *g);

#endif
