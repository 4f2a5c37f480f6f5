/* The table of paths, and the small handlers. */
#include "api/metrics_text.h"
#include "api/server.h"

#include "service/answer_view.h"

#include "base/cleanup.h"

#include <string.h>

/* VMs that are ready, by language, as the broker said last. */
static json_t *pool_ready(struct backend *b)
{
    json_t *state = backend_last_state(b), *ready = json_object(), *one;
    size_t i;

    json_array_foreach(json_object_get(state, "pools"), i, one) json_object_set(
        ready, json_string_value(json_object_get(one, "language")), json_object_get(one, "ready"));
    json_decref(state);
    return ready;
}

static json_t *describe_queue(struct api_server *s)
{
    unsigned running, waiting;

    backend_count(s->backend, &running, &waiting);
    const struct queue_view view = {.workers = backend_places(s->backend),
                                    .busy = running,
                                    .waiting = waiting,
                                    .limit = s->options->queue};
    return schema_json(SCHEMA_OBJECT_QUEUE, SCHEMA_OF_QUEUE, &view, NULL);
}

static int get_health(struct exchange *x)
{
    struct api_server *s = x->server;
    bool stopping = s->stopping;
    const struct health_view view = {
        .status = stopping ? HEALTH_STOPPING : HEALTH_OK,
        .version = CAPSID_VERSION,
        .uptime = (uint64_t)(clock_monotonic_ns() - s->started_ns) / 1000000000,
        .queue = describe_queue(s),
        .pool = pool_ready(s->backend),
    };

    exchange_answer(x, stopping ? 503 : 200,
                    schema_json(SCHEMA_OBJECT_HEALTH, SCHEMA_OF_HEALTH, &view, NULL));
    json_decref(view.queue);
    json_decref(view.pool);
    return 0;
}

/* Here a thread that speaks HTTP waits, for as long as the broker takes to count; or else tells what it said last. */
static int get_metrics(struct exchange *x)
{
    struct error e = {0};
    json_t *state = backend_ask_state(x->server->backend, &e);

    if (!state)
        state = backend_last_state(x->server->backend);
    metrics_write(x->server, state, &x->answer.body);
    json_decref(state);
    x->answer.status = 200;
    x->answer.type = "text/plain; version=0.0.4; charset=utf-8";
    return 0;
}

/* ---- lists --------------------------------------------------------------------------------------- */

static int answer_or_fail(struct exchange *x, json_t *j, const struct error *e)
{
    if (!j)
        return exchange_fail(x, e);
    exchange_answer(x, 200, j);
    return 0;
}

static int list_languages(struct exchange *x, struct backend *b)
{
    struct error e = {0};

    return answer_or_fail(x, backend_languages(b, &x->task->call, &e), &e);
}

static int show_language(struct exchange *x, struct backend *b)
{
    struct error e = {0};
    json_t *j = backend_language(b, &x->task->call, x->argument, &e);

    if (!j && e.kind == ERROR_UNKNOWN_LANGUAGE)
        return refuse(&x->refusal, REFUSAL_NOT_FOUND, "%.600s", e.text);
    return answer_or_fail(x, j, &e);
}

static int list_images(struct exchange *x, struct backend *b)
{
    struct error e = {0};

    return answer_or_fail(x, backend_images(b, &x->task->call, &e), &e);
}

static int list_snapshots(struct exchange *x, struct backend *b)
{
    struct error e = {0};

    return answer_or_fail(x, backend_snapshots(b, &x->task->call, &e), &e);
}

/* ---- what takes minutes -------------------------------------------------------------------------- */

static int made(struct task *t, struct api_server *s, json_t *j, const struct error *e)
{
    t->result = j;
    return j ? 0 : refuse_error(&s->manner, e, t->call.trace_id, &t->refusal);
}

static int make_image(struct task *t, void *server)
{
    struct api_server *s = server;
    struct error e = {0};

    return made(t, s, backend_create_image(s->backend, &t->call, t->owner, &t->request, &e), &e);
}

static int make_snapshot(struct task *t, void *server)
{
    struct api_server *s = server;
    struct error e = {0};

    return made(t, s, backend_create_snapshot(s->backend, &t->call, t->owner, &t->request, &e), &e);
}

static int create(struct exchange *x, bool snapshot)
{
    if (exchange_parse(x, snapshot ? SCHEMA_OBJECT_SNAPSHOT : SCHEMA_OBJECT_IMAGE, NULL) < 0)
        return -1;
    return exchange_detach(x, snapshot ? OPERATION_SNAPSHOT : OPERATION_IMAGE, LANE_MAKE,
                           snapshot ? make_snapshot : make_image);
}

static int post_image(struct exchange *x)
{
    return create(x, false);
}

static int post_snapshot(struct exchange *x)
{
    return create(x, true);
}

static int list_operations(struct exchange *x, struct backend *b)
{
    struct error e = {0};

    (void)b;
    return answer_or_fail(x, operations_list(&x->server->operations, x->task->owner, &e), &e);
}

static int show_operation(struct exchange *x, struct backend *b)
{
    struct error e = {0};

    (void)b;
    return answer_or_fail(x, operations_show(&x->server->operations, x->task->owner, x->argument, &e), &e);
}

/* What is finished stays as it is: to cancel twice is to cancel once. */
static int cancel_operation(struct exchange *x, struct backend *b)
{
    uint64_t id = operations_find_task(&x->server->operations, x->task->owner, x->argument);

    if (id)
        tasks_cancel(&x->server->tasks, id);
    return show_operation(x, b);
}

const struct route api_routes[] = {
    {"GET", "/health", LANE_NONE, true, false, false, get_health, NULL},
    {"GET", "/metrics", LANE_NONE, false, false, false, get_metrics, NULL},
    {"GET", "/api/v1/languages", LANE_LIST, false, false, false, NULL, list_languages},
    {"GET", "/api/v1/languages/{}", LANE_LIST, false, false, false, NULL, show_language},
    {"POST", "/api/v1/execute", LANE_RUN, false, ROUTE_PROGRAM, true, handle_execute, NULL},
    {"POST", "/api/v1/run", LANE_RUN, false, ROUTE_PROGRAM, true, handle_run, NULL},
    {"GET", "/api/v1/rootfs", LANE_LIST, false, false, false, NULL, list_images},
    {"POST", "/api/v1/rootfs", LANE_NONE, false, true, false, post_image, NULL},
    {"GET", "/api/v1/images", LANE_LIST, false, false, false, handle_list_records, work_list_records},
    {"PATCH", "/api/v1/images/{}/tag", LANE_LIST, false, ROUTE_JSON, false, handle_tag, work_tag},
    {"DELETE", "/api/v1/images/{}/tag", LANE_LIST, false, false, false, handle_untag, work_untag},
    {"DELETE", "/api/v1/images/{}", LANE_LIST, false, false, false, handle_record, work_drop_record},
    {"GET", "/api/v1/images/{}/list", LANE_RUN, false, false, false, handle_look_list, work_look},
    {"GET", "/api/v1/images/{}/read", LANE_RUN, false, false, false, handle_look_read, work_look},
    {"GET", "/api/v1/images/{}/grep", LANE_RUN, false, false, false, handle_look_grep, work_look},
    {"GET", "/api/v1/images/{}", LANE_LIST, false, false, false, handle_record, work_show_record},
    {"GET", "/api/v1/snapshots", LANE_LIST, false, false, false, NULL, list_snapshots},
    {"POST", "/api/v1/snapshots", LANE_NONE, false, true, false, post_snapshot, NULL},
    {"GET", "/api/v1/operations", LANE_LIST, false, false, false, NULL, list_operations},
    {"GET", "/api/v1/operations/{}/events", LANE_FOLLOW, false, false, true, handle_events, work_events},
    {"GET", "/api/v1/operations/{}", LANE_LIST, false, false, false, NULL, show_operation},
    {"DELETE", "/api/v1/operations/{}", LANE_LIST, false, false, false, NULL, cancel_operation},
    {"GET", "/api/v1/files", LANE_LIST, false, false, false, NULL, work_list_files},
    {"POST", "/api/v1/files", LANE_LIST, false, ROUTE_BYTES, false, NULL, work_add_file},
    {"GET", "/api/v1/files/{}", LANE_LIST, false, false, false, NULL, work_read_file},
    {"DELETE", "/api/v1/files/{}", LANE_LIST, false, false, false, NULL, work_remove_file},
    {"GET", "/api/v1/states", LANE_LIST, false, false, false, NULL, work_list_states},
    {"POST", "/api/v1/states", LANE_LIST, false, ROUTE_JSON, false, NULL, work_make_state},
    {"GET", "/api/v1/states/{}", LANE_LIST, false, false, false, NULL, work_show_state},
    {"DELETE", "/api/v1/states/{}", LANE_LIST, false, false, false, NULL, work_remove_state},
    {"POST", "/api/v1/sessions", LANE_RUN, false, ROUTE_JSON, false, handle_create_session,
     work_create_session},
    {"GET", "/api/v1/sessions", LANE_NONE, false, false, false, handle_list_sessions, NULL},
    {"GET", "/api/v1/sessions/{}", LANE_NONE, false, false, false, handle_show_session, NULL},
    {"DELETE", "/api/v1/sessions/{}", LANE_NONE, false, false, false, handle_close_session, NULL},
    {"POST", "/api/v1/sessions/{}/execute", LANE_SESSION, false, ROUTE_PROGRAM, true, handle_session_execute,
     work_session_execute},
    {"GET", "/api/v1/sessions/{}/files/{*}", LANE_SESSION, false, false, false, handle_session_file,
     work_get_file},
    {"PUT", "/api/v1/sessions/{}/files/{*}", LANE_SESSION, false, ROUTE_BYTES, false, handle_session_file,
     work_put_file},
    {"DELETE", "/api/v1/sessions/{}/files/{*}", LANE_SESSION, false, false, false, handle_session_file,
     work_delete_file},
    {"GET", "/api/v1/sessions/{}/pty", LANE_NONE, false, false, false, handle_terminal, NULL},
    {"GET", "/v1/images", LANE_LIST, false, false, false, handle_contree_images, work_contree_images},
    {"POST", "/v1/images/import", LANE_NONE, false, ROUTE_JSON, false, handle_contree_import, NULL},
    {"PATCH", "/v1/images/{}/tag", LANE_LIST, false, ROUTE_JSON, false, handle_tag, work_contree_tag},
    {"DELETE", "/v1/images/{}/tag", LANE_LIST, false, false, false, handle_untag, work_contree_untag},
    {"GET", "/v1/inspect/", LANE_LIST, false, false, false, handle_contree_find, work_contree_find},
    {"GET", "/v1/inspect/{}/", LANE_LIST, false, false, false, handle_record, work_contree_image},
    {"GET", "/v1/inspect/{}/list", LANE_RUN, false, false, false, handle_contree_look, work_contree_list},
    {"GET", "/v1/inspect/{}/download", LANE_RUN, false, false, false, handle_contree_look,
     work_contree_download},
    {"GET", "/v1/inspect/{}/archive", LANE_RUN, false, false, false, handle_contree_look,
     work_contree_archive},
    {"GET", "/v1/inspect/{}/grep", LANE_RUN, false, false, false, handle_contree_grep, work_contree_grep},
    {"GET", "/v1/files", LANE_LIST, false, false, false, NULL, work_contree_files},
    {"POST", "/v1/files", LANE_LIST, false, ROUTE_BYTES, false, NULL, work_contree_add_file},
    {"GET", "/v1/files/{}", LANE_LIST, false, false, false, NULL, work_contree_file},
    {"POST", "/v1/instances", LANE_NONE, false, ROUTE_JSON, false, handle_contree_spawn, NULL},
    {"GET", "/v1/operations", LANE_LIST, false, false, false, handle_contree_operations,
     work_contree_operations},
    {"GET", "/v1/operations/{}", LANE_LIST, false, false, false, NULL, work_contree_operation},
    {"DELETE", "/v1/operations/{}", LANE_LIST, false, false, false, NULL, work_contree_cancel},
    {"GET", "/v1/operations/{}/events", LANE_FOLLOW, false, false, true, handle_contree_events,
     work_contree_events},
    {"POST", "/v1/operations/{}/subprocesses", LANE_NONE, false, ROUTE_JSON, false, handle_contree_more,
     NULL},
    {"POST", "/v1/operations/{}/subprocesses/{*}", LANE_NONE, false, ROUTE_JSON, false, handle_contree_more,
     NULL},
    {"GET", "/v1/operations/{}/subprocesses/1", LANE_LIST, false, false, false, NULL, work_contree_process},
    {"DELETE", "/v1/operations/{}/subprocesses/1", LANE_LIST, false, false, false, NULL, work_contree_cancel},
    {"GET", "/v1/whoami", LANE_NONE, false, false, false, contree_tell_whoami, NULL},
    {0},
};
