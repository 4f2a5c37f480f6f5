/* POST /api/v1/execute and /api/v1/run. */
#include "api/server.h"

#include "base/cleanup.h"
#include "base/jsontext.h"
#include "service/result_json.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

/* One run of a task's program, and what it printed. */
struct one_run {
    struct api_server *server;
    struct task *task;
    struct exchange *stream;      /* that output goes to as it comes; NULL: none */
    struct run_output outputs[2]; /* of the program; of the build */
    struct run_result result;
    struct network_log network;
    struct buffer carry[2]; /* of a stream: the beginning of a character that is not whole yet */
};

static void one_run_done(struct one_run *o)
{
    network_log_free(&o->network);
    o->task->request.run.network = NULL;
    for (int i = 0; i < 2; i++) {
        run_output_free(&o->outputs[i]);
        buffer_free(&o->carry[i]);
    }
}

/* ---- streams ------------------------------------------------------------------------------------- */

static int send_output(struct exchange *x, int channel, enum result_phase_id phase, const struct buffer *data)
{
    const struct stream_view view = {.data = *data, .phase = phase};

    return stream_event(x, channel == 1 ? STREAM_EVENT_STDOUT : STREAM_EVENT_STDERR,
                        schema_json(SCHEMA_OBJECT_STREAM_OUTPUT, SCHEMA_OF_STREAM, &view, NULL));
}

/*
 * Output as it comes. A character that is cut waits for its rest. The program waits for a client with much to read, but
 * no longer than it may run: the VM is not the client's to keep. What was taken from the guest is sent in any case.
 */
static int on_output(void *context, int channel, const void *data, size_t size, struct error *e)
{
    struct one_run *o = context;
    struct exchange *x = o->stream;
    struct buffer *carry = &o->carry[channel - 1];

    bool late = stream_wait(x, o->result.deadline) < 0;
    buffer_add(carry, data, size);
    size_t valid = text_utf8_prefix(carry->data, carry->size);
    size_t now = carry->size - valid < 4 ? valid : carry->size;
    int result =
        now ? send_output(x, channel, RESULT_PHASE_RUN, &(struct buffer){.data = carry->data, .size = now})
            : 0;
    memmove(carry->data, carry->data + now, carry->size - now);
    carry->size -= now;
    if (result < 0 || o->task->cancelled)
        return error_set(e, ERROR_CANCELLED, "the client went away");
    if (!late)
        return 0;
    o->outputs[0].truncated[channel - 1] = true;
    return error_set(e, ERROR_TIMEOUT, "the client did not read the program's output in time");
}

/* Of an operation, whose journal others may look at, or of one that nobody looks at. */
static int on_held_output(void *context, int channel, const void *data, size_t size, struct error *e)
{
    struct one_run *o = context;

    if (o->task->operation[0])
        journals_tell(&o->server->journals, o->task->operation,
                      channel == 1 ? STREAM_EVENT_STDOUT : STREAM_EVENT_STDERR, data, size);
    return run_output_add(&o->outputs[0], channel, data, size, e);
}

/* What is left of the output: cut characters, a failed compiler's words. */
static void send_rest(struct one_run *o)
{
    const struct run_result *r = &o->result;
    struct exchange *x = o->stream;

    for (int i = 0; i < 2; i++)
        if (o->carry[i].size)
            send_output(x, i + 1, RESULT_PHASE_RUN, &o->carry[i]);
    for (int i = 0; run_last_phase(r) == &r->build && i < 2; i++)
        if (o->outputs[1].channel[i].size)
            send_output(x, i + 1, RESULT_PHASE_COMPILE, &o->outputs[1].channel[i]);
}

/* ---- one run ------------------------------------------------------------------------------------- */

/* An fd with the bytes to be read, -1 for none; the caller closes it. */
static int open_stdin(const struct task *t, int *ret, struct error *e)
{
    const struct request_stdins *all = &t->request.stdins;

    *ret = t->stdin_fd >= 0 ? fcntl(t->stdin_fd, F_DUPFD_CLOEXEC, 3) : -1;
    if (t->stdin_fd >= 0)
        return *ret < 0 || lseek(*ret, 0, SEEK_SET) < 0 ? error_errno(e, "cannot hold the standard input")
                                                        : 0;
    if (all->which >= all->count)
        return 0;
    const struct buffer *s = &all->list[all->which];
    *ret = memfd_create("stdin", MFD_CLOEXEC);
    if (*ret < 0 || file_write_fd(*ret, s->data ? s->data : "", s->size) < 0 || lseek(*ret, 0, SEEK_SET) < 0)
        return error_errno(e, "cannot hold the standard input");
    return 0;
}

static json_t *describe_exchange(struct one_run *o)
{
    bool streaming = o->stream && o->stream->streaming;
    enum schema_object as = streaming ? SCHEMA_OBJECT_STREAM_END : SCHEMA_OBJECT_API_RESULT;

    if (streaming) /* before the result adds words of its own to the output */
        send_rest(o);
    return result_json(as, &o->task->request, &o->result, o->task->call.trace_id, o->outputs);
}

/* Both lists, which may be NULL, in one; the caller frees the list alone. */
const char **words_of(const char *const *first, const char *const *then)
{
    size_t count = 0;

    for (size_t i = 0; first && first[i]; i++)
        count++;
    for (size_t i = 0; then && then[i]; i++)
        count++;
    const char **all = memory_allocate((count + 1) * sizeof(*all));
    count = 0;
    for (; first && *first; first++)
        all[count++] = *first;
    for (; then && *then; then++)
        all[count++] = *then;
    return all;
}

/* In a session's VM, which goes on after it. */
static int session_execute(struct one_run *o, struct session_user *u, struct run_request *request,
                           struct error *e)
{
    const struct run_site site = session_site(u);

    cleanup_free const char **env = words_of(session_env(u->session), request->env);
    request->env = env;
    const struct run_request r = run_with_times(request, backend_timeout(o->server->backend));
    return run_in(&site, &o->task->call, &r, &o->result, e);
}

/* Until now the answer could have been that there is no room. */
static void on_turn(void *exchange)
{
    struct exchange *x = exchange;
    const struct stream_view view = {.trace_id = x->trace.id};

    stream_begin(x);
    stream_event(x, STREAM_EVENT_START,
                 schema_json(SCHEMA_OBJECT_STREAM_START, SCHEMA_OF_STREAM, &view, NULL));
}

static void on_operation_turn(void *context)
{
    struct one_run *o = context;

    journals_tell(&o->server->journals, o->task->operation, STREAM_EVENT_START, NULL, 0);
}

/* The request was wrong, or came at the wrong time: no program was run. */
static bool is_refusal(const struct error *e)
{
    return e->kind == ERROR_USAGE || e->kind == ERROR_UNKNOWN_LANGUAGE || e->kind == ERROR_NOT_FOUND ||
           e->kind == ERROR_REFUSED || e->kind == ERROR_BUSY || e->kind == ERROR_EXHAUSTED;
}

/* e: why there is no result; NULL: there is one. */
static void count_exchange(struct one_run *o, const struct error *e)
{
    const struct run_phase *last = run_last_phase(&o->result);

    if (!e || !is_refusal(e))
        metrics_run(&o->server->metrics,
                    !e                           ? last->end
                    : e->kind == ERROR_CANCELLED ? RUN_CANCELLED
                                                 : RUN_FAILED,
                    o->result.load_ns, last->ns, o->result.primed);
}

/* In a session, or in a VM of its own. */
static int execute_exchange(struct one_run *o, struct session_user *u, struct run_request *request,
                            struct error *e)
{
    struct task *t = o->task;
    struct backend_run run = {.request = request,
                              .call = &t->call,
                              .owner = t->owner,
                              .on_turn = o->stream         ? on_turn
                                         : t->operation[0] ? on_operation_turn
                                                           : NULL,
                              .context = o->stream ? (void *)o->stream : (void *)o};

    int result = open_stdin(t, &request->stdin_fd, e);
    if (result == 0)
        result =
            u ? session_execute(o, u, request, e) : backend_execute(o->server->backend, &run, &o->result, e);
    if (run.turn)
        metrics_observe(&o->server->metrics.queue_wait, run.wait_ns);
    close_fd(&request->stdin_fd);
    return result;
}

/* NULL: the refusal is set. */
static json_t *run_one(struct api_server *s, struct task *t, struct session_user *u, struct exchange *stream,
                       struct refusal *r)
{
    size_t max = t->request.max_output ? t->request.max_output : s->max_output;
    struct one_run o = {.server = s, .task = t, .stream = stream, .outputs = {{.max = max}, {.max = max}}};
    t->request.run.network = &o.network;
    struct run_request request = t->request.run;
    struct place place = {0};
    struct error e = {0};
    json_t *j = NULL;

    request.sources = &t->request.sources;
    request.on_output = stream ? on_output : on_held_output;
    request.context = &o;
    request.on_build_output = run_output_add;
    request.build_context = &o.outputs[1];
    int result = place_open(&place, &s->files, t->owner, t->request.state, t->request.puts, &e);
    request.trees = place.trees;
    request.tree_count = place.count;
    if (result == 0)
        result = execute_exchange(&o, u, &request, &e);
    place_done(&place);
    if (result == 0)
        j = describe_exchange(&o);
    else if (u)
        session_fail(u->session, &e, r);
    else
        refuse_error(&s->manner, &e, t->call.trace_id, r);
    count_exchange(&o, result < 0 ? &e : NULL);
    if (j && stream && stream->streaming)
        stream_event(stream, STREAM_EVENT_END, json_incref(j));
    one_run_done(&o);
    return j;
}

/* ---- for a client that waits --------------------------------------------------------------------- */

/* With u in its session, otherwise in a VM of its own. */
static int run_and_answer(struct exchange *x, struct session_user *u)
{
    if (u && x->stream)
        on_turn(x);
    json_t *j = run_one(x->server, x->task, u, x->stream ? x : NULL, &x->refusal);
    if (x->streaming && !j)
        stream_event(x, STREAM_EVENT_ERROR,
                     refusal_json(SCHEMA_OBJECT_STREAM_ERROR, &x->refusal, x->trace.id));
    else if (x->streaming)
        json_decref(j);
    else if (j)
        exchange_answer(x, 200, j);
    return j ? 0 : -1;
}

int session_run(struct exchange *x, struct session_user *u)
{
    return run_and_answer(x, u);
}

int work_execute(struct exchange *x, struct backend *b)
{
    (void)b;
    return run_and_answer(x, NULL);
}

/* Results are text from the start: as many bytes as will be sent are held. -1 with a refusal. */
static int add_to_answer(struct exchange *x, json_t *j)
{
    struct buffer *body = &x->answer.body;
    size_t before = body->size;

    buffer_add(body, before ? "," : "[", 1);
    jsontext_add(body, j, JSON_COMPACT);
    json_decref(j);
    return exchange_hold(x, body->size - before);
}

int work_run(struct exchange *x, struct backend *b)
{
    struct request_stdins *all = &x->task->request.stdins;

    if (!all->batch)
        return work_execute(x, b);
    for (all->which = 0; all->which < all->count; all->which++) {
        json_t *j = run_one(x->server, x->task, NULL, NULL, &x->refusal);
        if (!j || add_to_answer(x, j) < 0)
            return -1;
    }
    x->answer.status = 200;
    x->answer.type = "application/json";
    buffer_add(&x->answer.body, "]\n", 2);
    return 0;
}

/* ---- as an operation ----------------------------------------------------------------------------- */

static int run_operation(struct task *t, void *server)
{
    struct request_stdins *all = &t->request.stdins;

    if (!all->batch) {
        t->result = run_one(server, t, NULL, NULL, &t->refusal);
        return t->result ? 0 : -1;
    }
    json_t *results = json_array();
    for (all->which = 0; all->which < all->count; all->which++) {
        json_t *j = run_one(server, t, NULL, NULL, &t->refusal);
        size_t size = j ? json_dumpb(j, NULL, 0, JSON_COMPACT) : 0;
        if (!j || json_array_append_new(results, j) < 0 || task_hold(t, size, &t->refusal) < 0) {
            json_decref(results);
            return -1;
        }
    }
    t->result = results;
    return 0;
}

/* ---- the two paths ------------------------------------------------------------------------------- */

int run_detached(struct exchange *x)
{
    return exchange_detach(x, OPERATION_RUN, LANE_RUN, run_operation);
}

static int prepare(struct exchange *x, int (*work)(struct exchange *, struct backend *))
{
    if (exchange_parse(x, SCHEMA_OBJECT_RUN, NULL) < 0 || parts_check(x, true) < 0)
        return -1;
    if (x->task->request.stdins.batch && (x->stream || work == work_execute))
        return refuse(&x->refusal, REFUSAL_INVALID,
                      "\"stdin\" as a list is for POST /api/v1/run without a stream");
    if (x->task->request.detached && x->stream)
        return refuse(&x->refusal, REFUSAL_INVALID,
                      "\"wait\": false cannot be streamed; ask for application/json");
    if (x->task->request.detached)
        return run_detached(x);
    x->work = work;
    return 0;
}

int handle_execute(struct exchange *x)
{
    return prepare(x, work_execute);
}

int handle_run(struct exchange *x)
{
    return prepare(x, work_run);
}
