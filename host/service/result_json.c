#include "service/result_json.h"

#include "base/cleanup.h"

#include <string.h>

char *result_timeout_message(const struct run_result *r)
{
    return text_format("%s timeout exceeded (%llus)", r->run.end ? "Execution" : "Compilation",
                       (unsigned long long)r->timeout);
}

static void add_line(struct buffer *b, const char *text)
{
    buffer_add_text(b, "%s%s", b->size && b->data[b->size - 1] != '\n' ? "\n" : "", text);
}

/* A cut may have split the last character, which is then left out. */
static void cut_whole(struct buffer *b)
{
    size_t valid = text_utf8_prefix(b->data, b->size);

    if (b->size - valid < 4)
        b->size = valid;
}

static struct result_phase phase_of(const struct run_phase *p, struct run_output *o)
{
    for (int i = 0; i < 2; i++)
        if (o->truncated[i])
            cut_whole(&o->channel[i]);
    return (struct result_phase){.output = {o->channel[0], o->channel[1]},
                                 .exit_code = p->exit_code,
                                 .signal = p->signal,
                                 .end = p->end,
                                 .ns = p->ns,
                                 .truncated = o->truncated[0] || o->truncated[1],
                                 .output_held = p->output_held,
                                 .memory_peak = p->memory_peak};
}

static enum result_status status_of(const struct run_phase *p)
{
    if (p->end == RUN_TIMED_OUT)
        return RESULT_STATUS_TIMEOUT;
    return p->end == RUN_EXITED && p->exit_code == 0 ? RESULT_STATUS_SUCCESS : RESULT_STATUS_ERROR;
}

static json_t *network_json(const struct network_log *log)
{
    json_t *j = json_array();

    for (size_t i = 0; i < log->count; i++)
        json_array_append_new(
            j, schema_json(SCHEMA_OBJECT_CONNECTION, SCHEMA_OF_CONNECTION, &log->entries[i], NULL));
    return j;
}

/* What was not kept, or not asked about, is not known. */
static int changed_of(enum run_kept kept)
{
    if (kept == RUN_KEPT_UNCHANGED)
        return -1;
    return kept == RUN_KEPT_KEPT || kept == RUN_KEPT_TOO_LARGE;
}

json_t *result_json(enum schema_object object, const struct request *q, const struct run_result *r,
                    const char *trace_id, struct run_output outputs[static 2])
{
    const struct run_phase *last = run_last_phase(r);
    struct run_output *output = &outputs[last == &r->run ? 0 : 1];
    bool timed_out = last->end == RUN_TIMED_OUT;
    cleanup_free char *timeout = timed_out ? result_timeout_message(r) : NULL;
    const char *note = r->note[0] ? r->note : NULL;
    enum result_status status = status_of(last);
    json_t *j = json_object(), *network = q->run.net && q->run.network ? network_json(q->run.network) : NULL;

    if (timeout)
        add_line(&output->channel[1], timeout);
    const struct result_phase compile = phase_of(&r->build, &outputs[1]);
    const struct result result = {
        .last = phase_of(last, output),
        .compile = r->build.end ? &compile : NULL,
        .phase = last == &r->run ? RESULT_PHASE_RUN : RESULT_PHASE_COMPILE,
        .load_ns = r->load_ns,
        .primed = r->primed,
        .timed_out = timed_out,
        .kept = r->kept,
        .kept_image = r->kept_image[0] ? r->kept_image : NULL,
        .kept_note = r->kept_note[0] ? r->kept_note : NULL,
        .changed = changed_of(r->kept),
        .note = note,
        .trace_id = trace_id,
        .problem = timeout ? timeout : note,
        .status = status,
        .network = network,
        .network_omitted = network ? q->run.network->omitted : 0,
        .state = status == RESULT_STATUS_SUCCESS ? RESULT_STATE_SUCCESS : RESULT_STATE_FAILED,
    };
    schema_put(j, object, SCHEMA_OF_RESULT, &result, NULL);
    schema_put(j, object, SCHEMA_OF_REQUEST, q, NULL);
    json_decref(network);
    return j;
}

int result_read(enum schema_object object, const json_t *j, struct result *ret)
{
    *ret = (struct result){.last = {.exit_code = -1, .end = RUN_ENDS_COUNT}};
    if (schema_read(object, SCHEMA_OF_RESULT, j, ret) < 0)
        return -1;
    return ret->last.exit_code < 0 || ret->last.end == RUN_ENDS_COUNT ? -1 : 0;
}

void result_trim(json_t *j)
{
    schema_each(SCHEMA_OBJECT_API_RESULT, f)
    {
        if (!(f->objects >> SCHEMA_OBJECT_RESULT & 1))
            json_object_del(j, f->name);
    }
}
