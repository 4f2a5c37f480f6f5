#include "api/server.h"

#include "base/cleanup.h"
#include "base/jsontext.h"
#include "base/log.h"

#include <string.h>
#include <sys/eventfd.h>

#define ANSWER_SMALL (64u << 10) /* bytes of an answer that is not counted */
/* One answer counts as no more, so that what a raised limit of output allows is answered while little else is held. */
#define ANSWER_COUNTED_MAX (BODIES_MAX / 8 * 3)

struct exchange *exchange_new(struct api_server *s, const char *method, const char *path)
{
    struct exchange *x = memory_allocate(sizeof(*x));

    x->server = s;
    x->references = 1;
    snprintf(x->method, sizeof(x->method), "%s", method);
    x->path = text_copy(path);
    x->started_ns = clock_monotonic_ns();
    x->call = CALL(-1);
    x->stdin_fd = -1;
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
    x->server->bodies -= x->held;
    tokens_release(x->server->tokens, x->client, x->held);
    if (x->parts)
        MHD_destroy_post_processor(x->parts);
    close_fd(&x->stdin_fd);
    buffer_free(&x->body);
    buffer_free(&x->answer.body);
    buffer_free(&x->out);
    request_done(&x->request);
    if (x->used_session)
        session_unref(x->used_session);
    free(x->guest_path);
    free(x->terminal.command);
    json_decref(x->result);
    close_fd(&x->call.cancel.fd);
    pthread_cond_destroy(&x->drained);
    pthread_mutex_destroy(&x->lock);
    free(x->path);
    free(x->host);
    free(x);
}

int exchange_begin_work(struct exchange *x)
{
    struct api_server *s = x->server;

    if (s->stopping)
        return refuse(&x->refusal, REFUSAL_STOPPING, "the server is shutting down");
    snprintf(x->call.trace_id, sizeof(x->call.trace_id), "%s", x->trace.id);
    x->call.cancel.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (x->call.cancel.fd < 0)
        return refuse(&x->refusal, REFUSAL_OVERLOAD, "the server has too many files open");
    if (tokens_begin_work(s->tokens, x->client, &x->refusal) < 0)
        return -1;
    pthread_mutex_lock(&s->lock);
    x->id = ++s->next_id;
    x->working = true;
    x->flight_next = s->in_flight;
    if (s->in_flight)
        s->in_flight->flight_before = x;
    s->in_flight = x;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static void end_work(struct exchange *x)
{
    struct api_server *s = x->server;

    if (!x->working)
        return;
    pthread_mutex_lock(&s->lock);
    x->working = false;
    *(x->flight_before ? &x->flight_before->flight_next : &s->in_flight) = x->flight_next;
    if (x->flight_next)
        x->flight_next->flight_before = x->flight_before;
    pthread_mutex_unlock(&s->lock);
    tokens_end_work(s->tokens, x->client);
}

static struct exchange *exchange_of(struct lane_ticket *t)
{
    return (struct exchange *)((char *)t - offsetof(struct exchange, ticket));
}

int exchange_push(struct exchange *x, enum route_lane lane)
{
    return lane_push(&x->server->lanes[lane], x->client_name, &x->ticket, &x->refusal);
}

void exchange_expire(struct api_server *s, enum route_lane lane, int64_t before)
{
    for (struct lane_ticket *t; (t = lane_expired(&s->lanes[lane], before));) {
        struct exchange *x = exchange_of(t);
        x->refusal.retry_after = 5;
        refuse(&x->refusal, REFUSAL_OVERLOAD, "no worker was free for %llu seconds",
               (unsigned long long)s->options->queue_seconds);
        exchange_finish(x);
    }
}

void exchange_work(struct lane_ticket *t, void *server)
{
    struct exchange *x = exchange_of(t);
    struct api_server *s = server;

    if (x->cancelled)
        refuse(&x->refusal, REFUSAL_CANCELLED, "cancelled before it began");
    else {
        if (x->operation[0])
            operations_begin(&s->operations, x->operation);
        x->work(x, s->backend);
    }
    exchange_finish(x);
    records_tidy(s->ledger.records); /* now that nobody waits for this thread */
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
    keys_end(&x->server->ledger, x->client_name, x->key, answer && is_final(answer->status) ? &kept : NULL);
    x->key[0] = '\0';
}

static void end_operation(struct exchange *x)
{
    operations_end(&x->server->operations, x->operation, x->cancelled, x->result,
                   x->refusal.kind ? refusal_reason(&x->refusal) : NULL);
    x->result = NULL;
    log_progress("operation %s: %s trace_id=%s client=%s", x->operation,
                 x->refusal.kind ? x->refusal.text : "done", x->trace.id, x->client_name);
}

void exchange_finish(struct exchange *x)
{
    end_work(x);
    if (x->refusal.kind && !x->streaming)
        exchange_answer(x, refusal_status(x->refusal.kind),
                        refusal_json(SCHEMA_OBJECT_ERROR, &x->refusal, x->trace.id));
    if (x->operation[0])
        end_operation(x);
    exchange_release_key(x, x->streaming ? NULL : &x->answer);
    pthread_mutex_lock(&x->lock);
    x->done = true;
    http_resume(x);
    pthread_mutex_unlock(&x->lock);
    exchange_unref(x);
}

void exchange_cancel(struct exchange *x)
{
    const uint64_t one = 1;

    pthread_mutex_lock(&x->lock);
    x->cancelled = true;
    /* The counter cannot overflow, and is readable from the first write on. */
    if (x->call.cancel.fd >= 0 && write(x->call.cancel.fd, &one, sizeof(one)) < 0)
        log_debug("eventfd is readable already");
    pthread_cond_broadcast(&x->drained);
    pthread_mutex_unlock(&x->lock);
    for (enum route_lane lane = LANE_RUN; lane < LANE_COUNT; lane++) {
        if (lane_withdraw(&x->server->lanes[lane], &x->ticket)) {
            refuse(&x->refusal, x->server->stopping ? REFUSAL_STOPPING : REFUSAL_CANCELLED,
                   x->server->stopping ? "the server is shutting down" : "cancelled before it began");
            exchange_finish(x);
            return;
        }
    }
}

void exchange_cancel_id(struct api_server *s, uint64_t id)
{
    struct exchange *x;

    pthread_mutex_lock(&s->lock);
    for (x = s->in_flight; x && x->id != id; x = x->flight_next)
        ;
    if (x)
        exchange_ref(x);
    pthread_mutex_unlock(&s->lock);
    if (!x)
        return;
    exchange_cancel(x);
    exchange_unref(x);
}

void exchange_cancel_all(struct api_server *s)
{
    for (uint64_t id = 0; id != UINT64_MAX;) {
        uint64_t lowest = UINT64_MAX;
        pthread_mutex_lock(&s->lock);
        for (struct exchange *x = s->in_flight; x; x = x->flight_next)
            if (x->id > id && x->id < lowest)
                lowest = x->id;
        pthread_mutex_unlock(&s->lock);
        id = lowest;
        if (id != UINT64_MAX)
            exchange_cancel_id(s, id);
    }
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
    set_json(x, refusal_status(x->refusal.kind), refusal_json(SCHEMA_OBJECT_ERROR, &x->refusal, x->trace.id));
    return -1;
}

int exchange_fail(struct exchange *x, const struct error *e)
{
    return refuse_error(&x->server->manner, e, x->trace.id, &x->refusal);
}

int exchange_hold(struct exchange *x, size_t size)
{
    struct api_server *s = x->server;
    size_t held = atomic_fetch_add(&s->bodies, size) + size;
    int result = 0;

    if (held > BODIES_MAX) {
        x->refusal.retry_after = 1;
        result = refuse(&x->refusal, REFUSAL_OVERLOAD, "the server holds too many requests");
    } else {
        result = tokens_hold(s->tokens, x->client, size, held, BODIES_MAX, &x->refusal);
    }
    if (result < 0)
        s->bodies -= size;
    else
        x->held += size;
    return result;
}

/* -1: there is no room. Otherwise the twin belongs to its lane, which may be done with it before this returns. */
static int push_twin(struct exchange *x, struct exchange *twin, enum route_lane lane)
{
    struct api_server *s = x->server;
    struct error e = {0};
    json_t *shown = operations_show(&s->operations, x->client_name, twin->operation, &e);

    if (!shown) {
        exchange_fail(twin, &e);
        return -1;
    }
    if (exchange_push(twin, lane) < 0) {
        json_decref(shown);
        return -1;
    }
    snprintf(x->answer.location, sizeof(x->answer.location), "/api/v1/operations/%s",
             json_string_value(json_object_get(shown, "id")));
    exchange_answer(x, 202, shown);
    return 0;
}

int exchange_parse(struct exchange *x, enum schema_object object, const char *language)
{
    const struct request_limits limits = server_limits(x->server);

    return request_parse(&x->request, object, x->body.data, x->body.size, language, &limits, &x->refusal);
}

int exchange_detach(struct exchange *x, enum operation_kind kind, enum route_lane lane,
                    int (*work)(struct exchange *, struct backend *))
{
    struct api_server *s = x->server;
    struct exchange *twin = exchange_new(s, x->method, x->path);
    struct error e = {0};

    twin->route = x->route;
    twin->work = work;
    twin->trace = x->trace;
    twin->client = x->client;
    memcpy(twin->client_name, x->client_name, sizeof(twin->client_name));
    twin->request = x->request;
    x->request = (struct request){0};
    twin->stdin_fd = x->stdin_fd;
    x->stdin_fd = -1;
    /* What was read from the body is held until the twin is done. */
    twin->held = x->held;
    x->held = 0;
    buffer_free(&x->body);
    if (exchange_begin_work(twin) == 0) {
        if (operations_add(&s->operations, kind, twin->client_name, &twin->request, twin->id, twin->operation,
                           &e) < 0)
            exchange_fail(twin, &e);
        else if (push_twin(x, twin, lane) == 0)
            return 0;
        else
            operations_forget(&s->operations, twin->operation);
        twin->operation[0] = '\0';
        twin->refusal.retry_after = twin->refusal.kind == REFUSAL_OVERLOAD ? 5 : 0;
    }
    x->refusal = twin->refusal;
    exchange_finish(twin);
    return -1;
}
