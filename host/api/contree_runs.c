/* ConTree's REST interface: instances, which are operations that run a command in an image. */
#include "api/server.h"

#include "base/cleanup.h"
#include "base/jsontext.h"
#include "contree/instance.h"
#include "contree/shown.h"

#include <string.h>

#define LIST_MAX 1000
#define LIST_USUAL 100

/* ---- POST /instances ------------------------------------------------------------------------------- */

/* The body as it came becomes the body of a request of our own. */
static int translate_body(struct exchange *x)
{
    const struct request_limits limits = server_limits(x->server);
    json_t *theirs = jsontext_parse(x->body.data, x->body.size, REQUEST_VALUES_MAX, JSON_REJECT_DUPLICATES);

    if (!json_is_object(theirs)) {
        json_decref(theirs);
        return refuse(&x->refusal, REFUSAL_INVALID, "the body must be a JSON object of at most %d values",
                      REQUEST_VALUES_MAX);
    }
    json_t *ours = contree_instance(theirs, limits.output, &x->refusal);
    json_decref(theirs);
    if (!ours)
        return -1;
    buffer_free(&x->body);
    jsontext_add(&x->body, ours, JSON_COMPACT);
    json_decref(ours);
    return 0;
}

int handle_contree_spawn(struct exchange *x)
{
    char uuid[OPERATION_ID_MAX];

    if (translate_body(x) < 0 || exchange_parse(x, SCHEMA_OBJECT_RUN, NULL) < 0 || run_detached(x) < 0)
        return -1;
    operation_uuid(strrchr(x->answer.location, '/') + 1, uuid);
    snprintf(x->answer.location, sizeof(x->answer.location), CONTREE_PATH "operations/%s", uuid);
    return exchange_answer(x, 201, json_pack("{s:s, s:n}", "uuid", uuid, "result"));
}

/* ---- operations ------------------------------------------------------------------------------------ */

static int take_query_word(struct exchange *x, const char *name, char out[static 16])
{
    const char *text = http_query(x, name);

    if (text && strlen(text) >= 16)
        return refuse(&x->refusal, REFUSAL_INVALID, "there is no such %s", name);
    snprintf(out, 16, "%s", text ? text : "");
    return 0;
}

int handle_contree_operations(struct exchange *x)
{
    struct contree_wish *w = &x->wish;

    return query_number(x, "limit", 1, LIST_MAX, LIST_USUAL, &w->limit) < 0 ||
                   query_number(x, "offset", 0, UINT32_MAX, 0, &w->offset) < 0 ||
                   query_moment(x, "since", &w->since) < 0 || query_moment(x, "until", &w->until) < 0 ||
                   take_query_word(x, "status", w->status) < 0
               ? -1
               : take_query_word(x, "kind", w->kind);
}

static bool is_wished(const struct contree_wish *w, const json_t *shown, const json_t *one)
{
    int64_t created = (int64_t)json_number_value(json_object_get(shown, "created"));

    return (!w->status[0] || strcmp(w->status, json_string_value(json_object_get(one, "status"))) == 0) &&
           (!w->kind[0] || strcmp(w->kind, json_string_value(json_object_get(one, "kind"))) == 0) &&
           (!w->since || created >= w->since) && (!w->until || created <= w->until);
}

int work_contree_operations(struct exchange *x, struct backend *b)
{
    struct error e = {0};
    json_t *all = operations_list(&x->server->operations, x->task->owner, &e), *list = json_array(), *shown;
    struct contree_wish *w = &x->wish;
    uint64_t found = 0;
    size_t i;

    (void)b;
    json_array_foreach(json_object_get(all, "operations"), i, shown)
    {
        json_t *one = contree_summary(shown);
        if (one && is_wished(w, shown, one) && found++ >= w->offset && json_array_size(list) < w->limit)
            json_array_append(list, one);
        json_decref(one);
    }
    if (!all)
        json_decref(list);
    json_decref(all);
    return all ? exchange_answer(x, 200, list) : exchange_fail(x, &e);
}

/* The operation that the path names, as ours; NULL with a refusal. */
static json_t *show_named(struct exchange *x)
{
    struct error e = {0};
    char id[OPERATION_ID_MAX];

    operation_id(x->argument, id);
    json_t *shown = operations_show(&x->server->operations, x->task->owner, id, &e);
    if (!shown)
        exchange_fail(x, &e);
    return shown;
}

int work_contree_operation(struct exchange *x, struct backend *b)
{
    json_t *shown = show_named(x), *told = shown ? contree_operation(shown) : NULL;

    (void)b;
    json_decref(shown);
    if (told)
        return exchange_answer(x, 200, told);
    return x->refusal.kind ? -1 : refuse(&x->refusal, REFUSAL_NOT_FOUND, "there is no such operation");
}

int work_contree_process(struct exchange *x, struct backend *b)
{
    json_t *shown = show_named(x), *result = shown ? contree_result(shown) : NULL;

    (void)b;
    json_decref(shown);
    if (result)
        return exchange_answer(x, 200, result);
    return x->refusal.kind ? -1 : refuse(&x->refusal, REFUSAL_NOT_FOUND, "the process has not ended");
}

int work_contree_cancel(struct exchange *x, struct backend *b)
{
    char id[OPERATION_ID_MAX];

    (void)b;
    operation_id(x->argument, id);
    uint64_t task = operations_find_task(&x->server->operations, x->task->owner, id);
    if (task) {
        tasks_cancel(&x->server->tasks, task);
        return exchange_answer(x, 202, json_pack("{s:s}", "uuid", x->argument));
    }
    json_t *shown = show_named(x);
    if (!shown)
        return -1;
    json_decref(shown);
    return refuse(&x->refusal, REFUSAL_OVER, "the operation has ended");
}

int handle_contree_more(struct exchange *x)
{
    return refuse(&x->refusal, REFUSAL_INVALID,
                  "an instance runs one command here, and takes its standard input when it is made; start "
                  "another instance, or use a session of /api/v1/sessions");
}

/* ---- events ---------------------------------------------------------------------------------------- */

static int send_contree(struct exchange *x, struct contree_event e, uint64_t number, int64_t at_ns)
{
    return e.data && number > x->events_after
               ? stream_named_event(x, number, e.type, contree_event_json(&e, number, at_ns))
               : (json_decref(e.data), 0);
}

static int tell_contree_event(struct exchange *x, const char *operation, const struct journal_event *event)
{
    struct error e = {0};
    json_t *shown = operations_show(&x->server->operations, x->task->owner, operation, &e);

    if (!shown)
        return -1;
    int result = send_contree(x, contree_event_of(event, shown), event->number, event->at_ns);
    json_decref(shown);
    return result;
}

static int tell_contree_end(struct exchange *x, const char *operation, uint64_t number)
{
    struct error e = {0};
    json_t *shown = operations_show(&x->server->operations, x->task->owner, operation, &e);

    if (!shown)
        return x->streaming ? 0 : exchange_fail(x, &e);
    stream_begin(x);
    if (contree_is_over(shown)) {
        send_contree(x, contree_exit(shown), number, clock_realtime_ns());
        send_contree(x, contree_completion(shown), number + 1, clock_realtime_ns());
    }
    json_decref(shown);
    return 0;
}

int handle_contree_events(struct exchange *x)
{
    x->stream = STREAM_SSE;
    return handle_events(x) < 0 ? -1 : query_flag(x, "follow", &x->events_follow);
}

int work_contree_events(struct exchange *x, struct backend *b)
{
    static const struct event_teller theirs = {tell_contree_event, tell_contree_end};
    char id[OPERATION_ID_MAX];

    (void)b;
    operation_id(x->argument, id);
    return events_follow(x, id, &theirs);
}
