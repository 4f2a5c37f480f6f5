/* Operations: tasks that nobody waits for. */
#include "api/server.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <string.h>

static void done_operation(struct task *t, const struct refusal *why, void *server)
{
    struct api_server *s = server;
    const struct refusal *r = why ? why : t->refusal.kind ? &t->refusal : NULL;

    operations_end(&s->operations, t->operation, t->cancelled, t->result, r ? refusal_reason(r) : NULL);
    journals_end(&s->journals, t->operation);
    t->result = NULL;
    log_progress("operation %s: %s trace_id=%s client=%s", t->operation, r ? r->text : "done",
                 t->call.trace_id, t->owner);
    task_unref(t);
}

/* What was read from the body is held until the operation is done. */
static struct task *let_go(struct exchange *x)
{
    struct task *from = x->task, *t = task_new(&x->server->tasks);

    t->client = from->client;
    memcpy(t->owner, from->owner, sizeof(t->owner));
    memcpy(t->call.trace_id, x->trace.id, sizeof(t->call.trace_id));
    t->request = from->request;
    from->request = (struct request){0};
    t->stdin_fd = take_fd(&from->stdin_fd);
    t->held = from->held;
    from->held = 0;
    buffer_free(&x->body);
    return t;
}

static int push(struct exchange *x, struct task *t, enum task_lane lane)
{
    struct operations *all = &x->server->operations;
    struct error e = {0};
    json_t *shown = operations_show(all, t->owner, t->operation, &e);

    if (!shown) {
        task_end(t);
        return exchange_fail(x, &e);
    }
    /* From here on it is its lane's, which may be done with it before this returns. */
    if (task_push(t, lane, &x->refusal) < 0) {
        json_decref(shown);
        return -1;
    }
    snprintf(x->answer.location, sizeof(x->answer.location), "/api/v1/operations/%s",
             json_string_value(json_object_get(shown, "id")));
    exchange_answer(x, 202, shown);
    return 0;
}

static int begin_detached(struct exchange *x, struct task *t, enum operation_kind kind, enum task_lane lane)
{
    struct operations *all = &x->server->operations;
    char id[OPERATION_ID_MAX];
    struct error e = {0};

    if (task_begin(t, &x->refusal) < 0)
        return -1;
    if (operations_add(all, kind, t->owner, &t->request, t->number, t->operation, &e) < 0) {
        task_end(t);
        exchange_fail(x, &e);
    } else {
        memcpy(id, t->operation, sizeof(id));
        journals_add(&x->server->journals, id, t->owner);
        if (push(x, t, lane) == 0)
            return 0;
        operations_forget(all, id);
    }
    x->refusal.retry_after = x->refusal.kind == REFUSAL_OVERLOAD ? 5 : 0;
    return -1;
}

int exchange_detach(struct exchange *x, enum operation_kind kind, enum task_lane lane,
                    int (*work)(struct task *, void *server))
{
    struct task *t = let_go(x);

    t->work = work;
    t->done = done_operation;
    t->context = x->server;
    if (begin_detached(x, t, kind, lane) == 0)
        return 0;
    task_unref(t);
    return -1;
}
