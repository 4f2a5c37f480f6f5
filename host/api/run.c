/* POST /api/v1/execute and /api/v1/run. */
#include "api/server.h"

#include "base/cleanup.h"
#include "base/jsontext.h"
#include "service/result_json.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

/* One run of an exchange's program, and what it printed. */
struct one_run {
    struct exchange *exchange;
    struct run_output outputs[2]; /* of the program; of the build */
    struct run_result result;
    struct buffer carry[2]; /* of a stream: the beginning of a character that is not whole yet */
};

static void one_run_done(struct one_run *o)
{
    for (int i = 0; i < 2; i++) {
        run_output_free(&o->outputs[i]);
        buffer_free(&o->carry[i]);
    }
}

/* ---- streams ------------------------------------------------------------------------------------- */

static int send_output(struct exchange *x, int channel, enum result_phase_id phase, const struct buffer *data)
{
    const struct stream_view view = {.data = *data, .phase = phase};
    json_t *j = json_object();

    schema_put(j, SCHEMA_OBJECT_STREAM_OUTPUT, SCHEMA_OF_STREAM, &view, NULL);
    return stream_event(x, channel == 1 ? STREAM_EVENT_STDOUT : STREAM_EVENT_STDERR, j);
}

/*
 * Output as it comes. A character that is cut waits for its rest. The program waits for a client with much to read, but
 * no longer than it may run: the VM is not the client's to keep. What was taken from the guest is sent in any case.
 */
static int on_output(void *context, int channel, const void *data, size_t size, struct error *e)
{
    struct one_run *o = context;
    struct exchange *x = o->exchange;
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
    if (result < 0 || x->cancelled)
        return error_set(e, ERROR_CANCELLED, "the client went away");
    if (!late)
        return 0;
    o->outputs[0].truncated[channel - 1] = true;
    return error_set(e, ERROR_TIMEOUT, "the client did not read the program's output in time");
}

/* What is left of the output: cut characters, a failed compiler's words. */
static void send_rest(struct one_run *o)
{
    const struct run_result *r = &o->result;
    struct exchange *x = o->exchange;

    for (int i = 0; i < 2; i++)
        if (o->carry[i].size)
            send_output(x, i + 1, RESULT_PHASE_RUN, &o->carry[i]);
    for (int i = 0; run_last_phase(r) == &r->build && i < 2; i++)
        if (o->outputs[1].channel[i].size)
            send_output(x, i + 1, RESULT_PHASE_COMPILE, &o->outputs[1].channel[i]);
}

/* ---- one run ------------------------------------------------------------------------------------- */

/* An fd with the bytes to be read, -1 for none; the caller closes it. */
static int open_stdin(const struct exchange *x, int *ret, struct error *e)
{
    const struct request_stdins *all = &x->request.stdins;

    *ret = x->stdin_fd >= 0 ? fcntl(x->stdin_fd, F_DUPFD_CLOEXEC, 3) : -1;
    if (x->stdin_fd >= 0)
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

static json_t *describe(struct one_run *o)
{
    struct exchange *x = o->exchange;
    enum schema_object as = x->streaming ? SCHEMA_OBJECT_STREAM_END : SCHEMA_OBJECT_API_RESULT;

    if (x->streaming) /* before the result adds words of its own to the output */
        send_rest(o);
    return result_json(as, &x->request, &o->result, x->trace.id, o->outputs);
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
static int session_execute(struct exchange *x, struct session_user *u, struct run_request *request,
                           struct run_result *ret, struct error *e)
{
    const struct run_site site = session_site(u);

    cleanup_free const char **env = words_of(session_env(u->session), request->env);
    request->env = env;
    *ret = (struct run_result){0};
    const struct run_request r = run_with_times(request, backend_timeout(x->server->backend));
    return run_in(&site, &x->call, &r, ret, e);
}

/* Until now the answer could have been that there is no room. */
static void on_turn(void *exchange)
{
    struct exchange *x = exchange;
    const struct stream_view view = {.trace_id = x->trace.id};
    json_t *j = json_object();

    schema_put(j, SCHEMA_OBJECT_STREAM_START, SCHEMA_OF_STREAM, &view, NULL);
    stream_begin(x);
    stream_event(x, STREAM_EVENT_START, j);
}

/* The request was wrong, or came at the wrong time: no program was run. */
static bool is_refusal(const struct error *e)
{
    return e->kind == ERROR_USAGE || e->kind == ERROR_UNKNOWN_LANGUAGE || e->kind == ERROR_NOT_FOUND ||
           e->kind == ERROR_REFUSED || e->kind == ERROR_BUSY;
}

/* NULL: the refusal is set. */
static json_t *run_one(struct exchange *x, struct backend *b, struct session_user *u)
{
    size_t max = x->request.max_output ? x->request.max_output : x->server->max_output;
    struct one_run o = {.exchange = x, .outputs = {{.max = max}, {.max = max}}};
    struct run_request request = x->request.run;
    struct backend_run run = {.request = &request,
                              .call = &x->call,
                              .owner = x->client_name,
                              .on_turn = x->stream ? on_turn : NULL,
                              .context = x};
    struct error e = {0};
    json_t *j = NULL;

    request.sources = &x->request.sources;
    request.on_output = x->stream ? on_output : run_output_add;
    request.context = x->stream ? (void *)&o : (void *)&o.outputs[0];
    request.on_build_output = run_output_add;
    request.build_context = &o.outputs[1];
    int result = open_stdin(x, &request.stdin_fd, &e);
    if (result == 0)
        result = u ? session_execute(x, u, &request, &o.result, &e) : backend_execute(b, &run, &o.result, &e);
    if (run.turn)
        metrics_observe(&x->server->metrics.queue_wait, run.wait_ns);
    if (result == 0)
        j = describe(&o);
    else if (u)
        session_fail(u->session, &e, &x->refusal);
    else
        exchange_fail(x, &e);
    const struct run_phase *last = run_last_phase(&o.result);
    if (result == 0 || !is_refusal(&e))
        metrics_run(&x->server->metrics,
                    result == 0                 ? last->end
                    : e.kind == ERROR_CANCELLED ? RUN_CANCELLED
                                                : RUN_FAILED,
                    o.result.load_ns, last->ns, o.result.primed);
    if (j && x->streaming)
        stream_event(x, STREAM_EVENT_END, json_incref(j));
    close_fd(&request.stdin_fd);
    one_run_done(&o);
    return j;
}

/* ---- the two paths ------------------------------------------------------------------------------- */

static void finish(struct exchange *x, json_t *j)
{
    if (x->operation[0])
        x->result = j;
    else if (x->streaming)
        json_decref(j);
    else
        exchange_answer(x, 200, j);
}

/* With u in its session, otherwise in a VM of its own. */
static int run_and_answer(struct exchange *x, struct backend *b, struct session_user *u)
{
    if (u && x->stream)
        on_turn(x);
    json_t *j = run_one(x, b, u);
    if (j)
        finish(x, j);
    else if (x->streaming)
        stream_event(x, STREAM_EVENT_ERROR,
                     refusal_json(SCHEMA_OBJECT_STREAM_ERROR, &x->refusal, x->trace.id));
    return j ? 0 : -1;
}

int session_run(struct exchange *x, struct session_user *u)
{
    return run_and_answer(x, NULL, u);
}

int work_execute(struct exchange *x, struct backend *b)
{
    return run_and_answer(x, b, NULL);
}

/*
 * Takes a run's result. For a client that waits, results are text from the start: as many bytes as will be sent are
 * held. -1 with a refusal.
 */
static int add_to_batch(struct exchange *x, json_t *all, json_t *j)
{
    struct buffer *body = &x->answer.body;
    size_t before = body->size;

    if (x->operation[0]) {
        size_t size = json_dumpb(j, NULL, 0, JSON_COMPACT);
        json_array_append_new(all, j);
        return exchange_hold(x, size);
    }
    buffer_add(body, before ? "," : "[", 1);
    jsontext_add(body, j, JSON_COMPACT);
    json_decref(j);
    return exchange_hold(x, body->size - before);
}

static void finish_batch(struct exchange *x, json_t *all)
{
    if (x->operation[0]) {
        x->result = all;
        return;
    }
    json_decref(all);
    x->answer.status = 200;
    x->answer.type = "application/json";
    buffer_add(&x->answer.body, "]\n", 2);
}

int work_run(struct exchange *x, struct backend *b)
{
    if (!x->request.stdins.batch)
        return work_execute(x, b);
    json_t *all = json_array();
    for (size_t i = 0; i < x->request.stdins.count; i++) {
        x->request.stdins.which = i;
        json_t *j = run_one(x, b, NULL);
        if (!j || add_to_batch(x, all, j) < 0) {
            json_decref(all);
            return -1;
        }
    }
    finish_batch(x, all);
    return 0;
}

static int prepare(struct exchange *x, int (*work)(struct exchange *, struct backend *))
{
    if (exchange_parse(x, SCHEMA_OBJECT_RUN, NULL) < 0 || parts_check(x, true) < 0)
        return -1;
    if (x->request.stdins.batch && (x->stream || work == work_execute))
        return refuse(&x->refusal, REFUSAL_INVALID,
                      "\"stdin\" as a list is for POST /api/v1/run without a stream");
    if (x->request.detached && x->stream)
        return refuse(&x->refusal, REFUSAL_INVALID,
                      "\"wait\": false cannot be streamed; ask for application/json");
    if (x->request.detached)
        return exchange_detach(x, OPERATION_RUN, LANE_RUN, work);
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
