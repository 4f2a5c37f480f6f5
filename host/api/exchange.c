#include "api/server.h"

#include "base/cleanup.h"
#include "base/jsontext.h"
#include "base/log.h"
#include "contree/shown.h"

#include <string.h>

#define ANSWER_SMALL (64u << 10) /* bytes of an answer that is not counted */
/* One answer counts as no more, so that what a raised limit of output allows is answered while little else is held. */
#define ANSWER_COUNTED_MAX (TASKS_HELD_MAX / 8 * 3)

/* ---- its task ------------------------------------------------------------------------------------ */

static int work_exchange(struct task *t, void *exchange)
{
    struct exchange *x = exchange;

    (void)t;
    return x->work(x, x->server->backend);
}

/* A stream that waits for its client does so with the lock. */
static void notice_exchange(struct task *t, void *exchange)
{
    struct exchange *x = exchange;

    (void)t;
    pthread_mutex_lock(&x->lock);
    pthread_cond_broadcast(&x->drained);
    pthread_mutex_unlock(&x->lock);
}

static void done_exchange(struct task *t, const struct refusal *why, void *exchange)
{
    struct exchange *x = exchange;

    (void)t;
    if (why)
        x->refusal = *why;
    exchange_finish(x);
}

int exchange_begin_work(struct exchange *x)
{
    memcpy(x->task->call.trace_id, x->trace.id, sizeof(x->task->call.trace_id));
    return task_begin(x->task, &x->refusal);
}

int exchange_push(struct exchange *x, enum task_lane lane)
{
    return task_push(x->task, lane, &x->refusal);
}

void exchange_cancel(struct exchange *x)
{
    task_cancel(x->task);
}

/* ---- life ---------------------------------------------------------------------------------------- */

struct exchange *exchange_new(struct api_server *s, const char *method, const char *path)
{
    struct exchange *x = memory_allocate(sizeof(*x));

    x->server = s;
    x->references = 1;
    snprintf(x->method, sizeof(x->method), "%s", method);
    x->path = text_copy(path);
    x->started_ns = clock_monotonic_ns();
    x->task = task_new(&s->tasks);
    x->task->work = work_exchange;
    x->task->notice = notice_exchange;
    x->task->done = done_exchange;
    x->task->context = x;
    pthread_mutex_init(&x->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&x->drained, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return x;
}

void exchange_ref(struct exchange *x)
{
    x->references++;
}

void exchange_unref(struct exchange *x)
{
    if (--x->references > 0)
        return;
    if (x->parts)
        MHD_destroy_post_processor(x->parts);
    buffer_free(&x->body);
    buffer_free(&x->answer.body);
    buffer_free(&x->out);
    if (x->used_session)
        session_unref(x->used_session);
    looking_done(&x->looking);
    free(x->guest_path);
    free(x->terminal.command);
    pthread_cond_destroy(&x->drained);
    pthread_mutex_destroy(&x->lock);
    task_unref(x->task);
    free(x->path);
    look_wish_free(x->look);
    free(x->host);
    free(x);
}

/* Every 409 is about the moment, as are 429 and 5xx: cancelled, or the key in use. The client can try again. */
static bool is_final(int status)
{
    return status < 500 && status != 409 && status != 429;
}

void exchange_release_key(struct exchange *x, const struct answer *answer)
{
    struct key_answer kept;

    if (!x->key[0])
        return;
    if (answer) {
        kept = (struct key_answer){.status = answer->status, .body = answer->body};
        memcpy(kept.location, answer->location, sizeof(kept.location));
    }
    keys_end(&x->server->ledger, x->task->owner, x->key, answer && is_final(answer->status) ? &kept : NULL);
    x->key[0] = '\0';
}

json_t *exchange_refusal(const struct exchange *x)
{
    return strncmp(x->path, CONTREE_PATH, strlen(CONTREE_PATH)) == 0
               ? contree_error(&x->refusal)
               : refusal_json(SCHEMA_OBJECT_ERROR, &x->refusal, x->trace.id);
}

void exchange_finish(struct exchange *x)
{
    if (x->refusal.kind && !x->streaming)
        exchange_answer(x, refusal_status(x->refusal.kind), exchange_refusal(x));
    exchange_release_key(x, x->streaming ? NULL : &x->answer);
    pthread_mutex_lock(&x->lock);
    x->done = true;
    http_resume(x);
    pthread_mutex_unlock(&x->lock);
    exchange_unref(x);
}

static void set_json(struct exchange *x, int status, json_t *j)
{
    struct answer *a = &x->answer;

    buffer_free(&a->body);
    jsontext_add(&a->body, j, JSON_COMPACT);
    json_decref(j);
    a->status = a->body.size ? status : 500;
    a->type = "application/json";
    buffer_add_text(&a->body, "%s\n", a->body.size ? "" : "{\"code\":\"E006\"}");
}

int exchange_answer(struct exchange *x, int status, json_t *j)
{
    set_json(x, status, j);
    size_t size = x->answer.body.size;
    if (size <= ANSWER_SMALL || exchange_hold(x, size < ANSWER_COUNTED_MAX ? size : ANSWER_COUNTED_MAX) == 0)
        return 0;
    set_json(x, refusal_status(x->refusal.kind), exchange_refusal(x));
    return -1;
}

int exchange_fail(struct exchange *x, const struct error *e)
{
    return refuse_error(&x->server->manner, e, x->trace.id, &x->refusal);
}

int exchange_hold(struct exchange *x, size_t size)
{
    return task_hold(x->task, size, &x->refusal);
}

int exchange_parse(struct exchange *x, enum schema_object object, const char *language)
{
    const struct request_limits limits = server_limits(x->server);

    return request_parse(&x->task->request, object, x->body.data, x->body.size, language, &limits,
                         &x->refusal);
}
