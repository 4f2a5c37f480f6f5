/*
 * queue: requests on their way to threads that work on them; a bounded queue, first come first served. Threads are
 * started when they are first needed, and stay until the end: VMMs die with the thread that started them.
 *
 * What waits for a VM waits in no queue of this kind: each program has a thread from the start, and its place in the
 * line for VMs (api/backend.h). What makes images and snapshots, and what reads lists, waits here for the one thread
 * there is.
 */
#ifndef CAPSID_API_QUEUE_H
#define CAPSID_API_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exchange;
struct api_server;

struct queue {
    struct api_server *server;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct exchange *head, *tail;
    size_t length, limit;
    unsigned busy;
    bool closed;
    pthread_t *threads; /* max_threads places; NULL: not open */
    unsigned thread_count, max_threads;
};

/* limit: how many may wait while all threads are busy. Fails when not even one thread can be started. */
int queue_open(struct queue *q, struct api_server *server, unsigned max_threads, size_t limit);

/* Lets the threads finish what is queued, and waits for them. */
void queue_close(struct queue *q);

/* Takes a reference of the exchange over; false, and takes none, when there is no room, or no thread to be had. */
bool queue_push(struct queue *q, struct exchange *x);

/* Takes one out before a thread does, with its reference; false: it is not in there any more. */
bool queue_remove(struct queue *q, struct exchange *x);

/* The one that waits longest when it was queued before that time, taken out; NULL: none. */
struct exchange *queue_expired(struct queue *q, int64_t before);

void queue_state(struct queue *q, size_t *ret_length, unsigned *ret_busy);

#endif
