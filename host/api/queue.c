#include "api/queue.h"

#include "api/server.h"
#include "base/cleanup.h"
#include "base/thread.h"

static struct exchange *take(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    while (!q->head && !q->closed)
        pthread_cond_wait(&q->changed, &q->lock);
    struct exchange *x = q->head;
    if (x) {
        q->head = x->next;
        if (!q->head)
            q->tail = NULL;
        q->length--;
        q->busy++;
    }
    pthread_mutex_unlock(&q->lock);
    return x;
}

static void *work(void *argument)
{
    struct queue *q = argument;

    for (struct exchange *x; (x = take(q));) {
        exchange_work(x, q->server->backend);
        records_tidy(q->server->ledger.records); /* now that nobody waits for this thread */
        pthread_mutex_lock(&q->lock);
        q->busy--;
        pthread_mutex_unlock(&q->lock);
    }
    return NULL;
}

/* With the lock held. */
static bool start_thread(struct queue *q)
{
    struct error e = {0};
    bool started = thread_start(&q->threads[q->thread_count], work, q, &e) == 0;

    q->thread_count += started;
    return started;
}

int queue_open(struct queue *q, struct api_server *server, unsigned max_threads, size_t limit)
{
    *q = (struct queue){.server = server, .limit = limit, .max_threads = max_threads};
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->changed, NULL);
    q->threads = memory_allocate(max_threads * sizeof(q->threads[0]));
    pthread_mutex_lock(&q->lock);
    bool started = start_thread(q);
    pthread_mutex_unlock(&q->lock);
    if (!started)
        queue_close(q);
    return started ? 0 : -1;
}

void queue_close(struct queue *q)
{
    if (!q->threads)
        return;
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
    for (unsigned i = 0; i < q->thread_count; i++)
        pthread_join(q->threads[i], NULL);
    free(q->threads);
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    *q = (struct queue){0};
}

bool queue_push(struct queue *q, struct exchange *x)
{
    pthread_mutex_lock(&q->lock);
    size_t all = q->length + q->busy;
    bool fits = all < q->max_threads + q->limit && !q->closed;
    /* A thread that cannot be started leaves more to the others, if they have a queue. */
    if (fits && all >= q->thread_count && q->thread_count < q->max_threads)
        fits = start_thread(q) || q->limit > 0;
    if (fits) {
        x->next = NULL;
        x->queued_ns = clock_monotonic_ns();
        *(q->tail ? &q->tail->next : &q->head) = x;
        q->tail = x;
        q->length++;
        pthread_cond_signal(&q->changed);
    }
    pthread_mutex_unlock(&q->lock);
    return fits;
}

static bool unlink_from(struct queue *q, struct exchange *x)
{
    for (struct exchange **at = &q->head, *before = NULL; *at; before = *at, at = &(*at)->next) {
        if (*at != x)
            continue;
        *at = x->next;
        if (q->tail == x)
            q->tail = before;
        q->length--;
        return true;
    }
    return false;
}

bool queue_remove(struct queue *q, struct exchange *x)
{
    pthread_mutex_lock(&q->lock);
    bool found = unlink_from(q, x);
    pthread_mutex_unlock(&q->lock);
    return found;
}

struct exchange *queue_expired(struct queue *q, int64_t before)
{
    pthread_mutex_lock(&q->lock);
    struct exchange *x = q->head && q->head->queued_ns < before ? q->head : NULL;
    if (x)
        unlink_from(q, x);
    pthread_mutex_unlock(&q->lock);
    return x;
}

void queue_state(struct queue *q, size_t *ret_length, unsigned *ret_busy)
{
    pthread_mutex_lock(&q->lock);
    *ret_length = q->length;
    *ret_busy = q->busy;
    pthread_mutex_unlock(&q->lock);
}
