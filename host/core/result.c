#include "core/result.h"

#include "base/cleanup.h"

#include <stdio.h>
#include <string.h>

json_t *result_duration(int64_t ns)
{
    char text[32];
    double ms = (double)ns / 1e6;

    snprintf(text, sizeof(text), ms < 10 ? "%.1fms" : "%.0fms", ms);
    return json_string(text);
}

/* Text as it is, anything else in base64; a cut may have split the last character, which is then left out. */
static void set_text(json_t *j, const char *key, struct buffer *b, bool truncated)
{
    size_t valid = text_utf8_prefix(b->data, b->size);

    if (truncated && b->size - valid < 4)
        b->size = valid;
    if (valid == b->size) {
        json_object_set_new(j, key, json_stringn(b->data ? b->data : "", b->size));
        return;
    }
    cleanup_free char *encoded = text_base64(b->data, b->size);
    cleanup_free char *encoding_key = text_format("%s_encoding", key);
    json_object_set_new(j, key, json_string(encoded));
    json_object_set_new(j, encoding_key, json_string("base64"));
}

char *result_timeout_message(const struct run_result *r)
{
    return text_format("%s timeout exceeded (%llus)", r->run.end ? "Execution" : "Compilation",
                       (unsigned long long)r->timeout);
}

static void add_timeout_message(struct buffer *b, const struct run_result *r)
{
    cleanup_free char *message = result_timeout_message(r);

    buffer_add_text(b, "%s%s", b->size && b->data[b->size - 1] != '\n' ? "\n" : "", message);
}

/* What a phase printed and how it ended: the same keys for the whole result and for the compile phase. */
static void set_phase(json_t *j, const struct run_phase *p, struct run_output *o, const char *time_key)
{
    set_text(j, "stdout", &o->channel[0], o->truncated[0]);
    set_text(j, "stderr", &o->channel[1], o->truncated[1]);
    json_object_set_new(j, "exit_code", json_integer(p->exit_code));
    json_object_set_new(j, time_key, result_duration(p->ns));
    json_object_set_new(j, "end", json_string(run_end_name(p->end)));
    if (p->signal)
        json_object_set_new(j, "signal",
                            json_sprintf("SIG%s", sigabbrev_np(p->signal) ? sigabbrev_np(p->signal) : "?"));
    json_object_set_new(j, "truncated", json_boolean(o->truncated[0] || o->truncated[1]));
    json_object_set_new(j, "output_held", json_boolean(p->output_held));
    if (p->memory_peak)
        json_object_set_new(j, "memory_peak", json_integer((json_int_t)p->memory_peak));
}

json_t *result_json(const struct run_result *r, const char *trace_id, struct run_output outputs[static 2])
{
    const struct run_phase *last = run_last_phase(r);
    struct run_output *output = &outputs[last == &r->run ? 0 : 1];
    json_t *j = json_object(), *compile = r->build.end ? json_object() : json_null();

    if (last->end == RUN_TIMED_OUT)
        add_timeout_message(&output->channel[1], r);
    set_phase(j, last, output, "exec_time");
    json_object_set_new(j, "load_time", result_duration(r->load_ns));
    json_object_set_new(j, "phase", json_string(last == &r->run ? "run" : "compile"));
    if (r->build.end)
        set_phase(compile, &r->build, &outputs[1], "time");
    json_object_set_new(j, "compile", compile);
    json_object_set_new(j, "primed", json_boolean(r->primed));
    if (r->note[0])
        json_object_set_new(j, "note", json_string(r->note));
    json_object_set_new(j, "trace_id", json_string(trace_id));
    return j;
}
