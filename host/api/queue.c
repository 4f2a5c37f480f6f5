#include "api/queue.h"

#include "api/server.h"
#include "base/log.h"

/* Opens the backend when the settings are others than those it has. */
static struct backend *renew(struct api_server *s, struct backend *b, unsigned *generation)
{
    struct error e = {0};

    pthread_mutex_lock(&s->lock);
    unsigned now = s->generation;
    struct backend *fresh = b && *generation == now ? b : backend_open(s->config, &e);
    pthread_mutex_unlock(&s->lock);
    if (fresh == b)
        return b;
    if (!fresh) {
        log_warning("%s", e.text);
        return b;
    }
    backend_close(b);
    *generation = now;
    return fresh;
}

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
    struct backend *b = NULL;
    unsigned generation = 0;

    for (struct exchange *x; (x = take(q));) {
        b = renew(q->server, b, &generation);
        exchange_work(x, b);
        pthread_mutex_lock(&q->lock);
        q->busy--;
        pthread_mutex_unlock(&q->lock);
    }
    backend_close(b);
    return NULL;
}

int queue_open(struct queue *q, struct api_server *server, unsigned threads, size_t limit)
{
    *q = (struct queue){.server = server, .limit = limit};
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->changed, NULL);
    q->threads = memory_allocate(threads * sizeof(q->threads[0]));
    for (; q->thread_count < threads; q->thread_count++) {
        if (pthread_create(&q->threads[q->thread_count], NULL, work, q) != 0) {
            queue_close(q);
            return -1;
        }
    }
    return 0;
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
    bool fits = q->length < q->limit && !q->closed;
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
