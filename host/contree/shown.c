#include "contree/shown.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/moment.h"
#include "base/text.h"
#include "service/result_json.h"
#include "service/schema.h"
#include "service/stock_json.h"

#include <string.h>

/* ---- what ours says -------------------------------------------------------------------------------- */

#define OPERATION_NAME(member)                                                                               \
    schema_find(SCHEMA_OBJECT_SHOWN_OPERATION, SCHEMA_OF_OPERATION, offsetof(struct operation_view, member)) \
        ->name
#define RESULT_NAME(member)                                                                                  \
    schema_find(SCHEMA_OBJECT_API_RESULT, SCHEMA_OF_RESULT, offsetof(struct result, member))->name
#define PHASE_NAME(member)                                                                                   \
    schema_find(SCHEMA_OBJECT_API_RESULT, SCHEMA_OF_RESULT, offsetof(struct result, last.member))->name
#define ASKED_NAME(member)                                                                                   \
    schema_find(SCHEMA_OBJECT_SHOWN_OPERATION, SCHEMA_OF_REQUEST, offsetof(struct request, member))->name

static const char *json_word(const json_t *j, const char *name)
{
    return json_string_value(json_object_get(j, name));
}

static unsigned choice_of(const json_t *shown, size_t offset)
{
    const struct schema_field *f = schema_find(SCHEMA_OBJECT_SHOWN_OPERATION, SCHEMA_OF_OPERATION, offset);
    const char *text = json_word(shown, f->name);

    return text ? schema_choice(f, text) : 0;
}

static enum operation_status status_of_shown(const json_t *shown)
{
    return choice_of(shown, offsetof(struct operation_view, status));
}

static const json_t *result_of(const json_t *shown)
{
    const json_t *result = json_object_get(shown, OPERATION_NAME(result));

    return json_is_object(result) ? result : NULL;
}

static enum run_end end_of(const json_t *result)
{
    const struct schema_field *f =
        schema_find(SCHEMA_OBJECT_API_RESULT, SCHEMA_OF_RESULT, offsetof(struct result, last.end));
    const char *text = json_word(result, f->name);

    return text ? schema_choice(f, text) : RUN_NONE;
}

static json_t *moment_json(int64_t ns)
{
    char text[MOMENT_TEXT_SIZE];

    moment_print(ns, text);
    return json_string(text);
}

static double seconds_at(const json_t *shown, const char *name)
{
    return json_number_value(json_object_get(shown, name));
}

/* ---- how it is ------------------------------------------------------------------------------------- */

static bool nothing_was_kept(const json_t *result)
{
    return json_object_get(result, RESULT_NAME(kept_note)) != NULL;
}

/* A command that failed, or was too slow, is a success of who ran it; but not one whose changes were to be kept, and are not. */
static const char *status_text(const json_t *shown)
{
    static const char *const words[OPERATION_STATUSES_COUNT] = {[OPERATION_IS_PENDING] = "PENDING",
                                                                [OPERATION_IS_RUNNING] = "EXECUTING",
                                                                [OPERATION_IS_SUCCEEDED] = "SUCCESS",
                                                                [OPERATION_IS_FAILED] = "FAILED",
                                                                [OPERATION_IS_CANCELLED] = "CANCELLED"};
    const json_t *result = result_of(shown);

    return result && (nothing_was_kept(result) || end_of(result) == RUN_VM_LOST)
               ? words[OPERATION_IS_FAILED]
               : words[status_of_shown(shown)];
}

bool contree_is_over(const json_t *shown)
{
    return status_of_shown(shown) > OPERATION_IS_RUNNING;
}

static json_t *error_of(const json_t *shown)
{
    const json_t *result = result_of(shown);
    const char *text = json_word(json_object_get(shown, OPERATION_NAME(error)), "message");

    if (!text)
        text = json_word(result, RESULT_NAME(kept_note));
    if (!text)
        text = json_word(result, RESULT_NAME(note));
    return text ? json_string(text) : json_null();
}

static json_t *duration_of(const json_t *shown)
{
    double from = seconds_at(shown, OPERATION_NAME(started)),
           to = seconds_at(shown, OPERATION_NAME(finished));

    return from > 0 && to > 0 ? json_real(to - from) : json_null();
}

static json_t *result_image_of(const json_t *shown)
{
    const char *uuid = json_word(result_of(shown), RESULT_NAME(kept_image));

    return uuid ? json_string(uuid) : json_null();
}

/* ---- streams --------------------------------------------------------------------------------------- */

static bool is_ascii(const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((data[i] < ' ' && !strchr("\t\n\r", data[i])) || data[i] == '\0' || data[i] > '~')
            return false;
    return true;
}

static json_t *stream_json(const char *data, size_t size, bool truncated)
{
    bool plain = is_ascii(data, size);
    cleanup_free char *encoded = plain ? NULL : text_base64(data, size);

    return json_pack("{s:o, s:s, s:b}", "value", plain ? json_stringn(data, size) : json_string(encoded),
                     "encoding", plain ? "ascii" : "base64", "truncated", truncated);
}

/* Output of a result, which is text or in base64. */
static json_t *output_json(const json_t *result, const struct schema_field *f, bool truncated)
{
    const json_t *text = json_object_get(result, f->name);

    if (json_object_get(result, f->also))
        return json_pack("{s:O, s:s, s:b}", "value", text, "encoding", "base64", "truncated", truncated);
    return stream_json(json_string_value(text) ? json_string_value(text) : "", json_string_length(text),
                       truncated);
}

/* ---- results --------------------------------------------------------------------------------------- */

struct ended {
    int code, signal;
    bool timed_out;
    double seconds;
    json_int_t memory; /* KiB */
};

static struct ended ended_of(const json_t *result)
{
    enum run_end end = end_of(result);
    int code = (int)json_integer_value(json_object_get(result, PHASE_NAME(exit_code)));
    struct ended e = {.code = code,
                      .signal = -1,
                      .timed_out = end == RUN_TIMED_OUT,
                      .seconds = seconds_at(result, "executionTime") / 1000,
                      .memory = json_integer_value(json_object_get(result, PHASE_NAME(memory_peak))) / 1024};

    if (end == RUN_EXITED)
        return e;
    e.signal = end == RUN_SIGNALLED ? code - RUN_EXIT_SIGNAL : 9;
    e.code = -1;
    return e;
}

static json_t *state_json(const struct ended *e)
{
    return json_pack("{s:i, s:i, s:i, s:b, s:b, s:b, s:b}", "exit_code", e->code, "pid", 1, "signal",
                     e->signal < 0 ? 0 : e->signal, "timed_out", e->timed_out, "core_dump", 0, "continued", 0,
                     "stopped", 0);
}

json_t *contree_result(const json_t *shown)
{
    const json_t *result = result_of(shown);
    const struct schema_field *streams[2] = {
        schema_find(SCHEMA_OBJECT_API_RESULT, SCHEMA_OF_RESULT, offsetof(struct result, last.output[0])),
        schema_find(SCHEMA_OBJECT_API_RESULT, SCHEMA_OF_RESULT, offsetof(struct result, last.output[1]))};

    if (!result)
        return NULL;
    const struct ended e = ended_of(result);
    bool truncated = json_is_true(json_object_get(result, PHASE_NAME(truncated)));
    return json_pack("{s:o, s:o, s:o, s:{s:f, s:I}}", "stdout", output_json(result, streams[0], truncated),
                     "stderr", output_json(result, streams[1], truncated), "state", state_json(&e),
                     "resources", "elapsed_time", e.seconds, "max_rss", e.memory);
}

/* ---- what was asked for ---------------------------------------------------------------------------- */

/* "UID:GID" */
static void put_ids(json_t *j, const json_t *shown)
{
    const char *user = json_word(shown, ASKED_NAME(run.user));
    unsigned long long uid = 0, gid = 0;

    if (user && sscanf(user, "%llu:%llu", &uid, &gid) == 2) {
        json_object_set_new(j, "uid", json_integer((json_int_t)uid));
        json_object_set_new(j, "gid", json_integer((json_int_t)gid));
    }
}

static json_t *asked_json(const json_t *shown)
{
    const char *image = json_word(shown, ASKED_NAME(run.image)), *shell = json_word(shown, ASKED_NAME(shell)),
               *cwd = json_word(shown, ASKED_NAME(run.cwd));
    const json_t *argv = json_object_get(shown, ASKED_NAME(run.argv)), *v;
    json_t *args = json_array(), *result = contree_result(shown);
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)argv, i, v) if (i > 0 && !shell)
        json_array_append(args, (json_t *)(uintptr_t)v);
    const char *command = shell ? shell : json_string_value(json_array_get(argv, 0));
    json_t *j = json_pack("{s:s, s:s, s:b, s:o, s:b, s:s}", "command", command ? command : "", "image",
                          image ? image : "", "shell", shell != NULL, "args", args, "disposable",
                          !json_object_get(shown, ASKED_NAME(run.keep)), "cwd", cwd ? cwd : "");
    put_ids(j, shown);
    json_object_set(j, "timeout", json_object_get(shown, ASKED_NAME(run.timeout)));
    json_object_set(j, "truncate_output_at", json_object_get(shown, ASKED_NAME(max_output)));
    if (result)
        json_object_set_new(j, "result", result);
    return j;
}

/* ---- operations ------------------------------------------------------------------------------------ */

static json_t *uuid_of_operation(const json_t *shown)
{
    const char *id = json_word(shown, OPERATION_NAME(id));
    char uuid[OPERATION_ID_MAX];

    operation_uuid(id ? id : "", uuid);
    return json_string(uuid);
}

/* The image that was named by its UUID. */
static json_t *image_of(const json_t *shown)
{
    const char *image = json_word(shown, ASKED_NAME(run.image));

    return image && strncmp(image, "tag:", 4) != 0 ? json_string(image) : json_null();
}

json_t *contree_summary(const json_t *shown)
{
    enum operation_kind kind = choice_of(shown, offsetof(struct operation_view, kind));
    const json_t *result = result_of(shown);
    json_int_t memory = result ? ended_of(result).memory : 0;

    if (kind == OPERATION_SNAPSHOT)
        return NULL;
    return json_pack("{s:o, s:s, s:s, s:o, s:o, s:o, s:n, s:n, s:o, s:o, s:o}", "uuid",
                     uuid_of_operation(shown), "kind", kind == OPERATION_RUN ? "instance" : "image_import",
                     "status", status_text(shown), "error", error_of(shown), "created_at",
                     moment_json((int64_t)(seconds_at(shown, OPERATION_NAME(created)) * 1e9)), "duration",
                     duration_of(shown), "image_size", "consumed_cpu", "consumed_memory",
                     memory ? json_integer(memory) : json_null(), "image_uuid", image_of(shown),
                     "result_image_uuid", result_image_of(shown));
}

json_t *contree_operation(const json_t *shown)
{
    json_t *j = contree_summary(shown);

    if (!j)
        return NULL;
    if (choice_of(shown, offsetof(struct operation_view, kind)) == OPERATION_RUN)
        json_object_set_new(j, "metadata", asked_json(shown));
    json_object_set_new(j, "result", json_pack("{s:o, s:n}", "image", result_image_of(shown), "tag"));
    return j;
}

/* ---- events ---------------------------------------------------------------------------------------- */

static json_t *spawned_json(const json_t *shown)
{
    json_t *asked = asked_json(shown), *timeout = json_object_get(asked, "timeout"),
           *cut = json_object_get(asked, "truncate_output_at");
    json_t *j = json_pack("{s:i, s:O, s:O, s:O, s:O, s:I, s:I, s:I, s:I}", "pid", 1, "command",
                          json_object_get(asked, "command"), "args", json_object_get(asked, "args"), "shell",
                          json_object_get(asked, "shell"), "cwd", json_object_get(asked, "cwd"), "uid",
                          json_integer_value(json_object_get(asked, "uid")), "gid",
                          json_integer_value(json_object_get(asked, "gid")), "timeout",
                          json_integer_value(timeout), "truncate_at", json_integer_value(cut));

    json_decref(asked);
    return j;
}

struct contree_event contree_event_of(const struct journal_event *e, const json_t *shown)
{
    switch (e->event) {
    case STREAM_EVENT_START:
        return (struct contree_event){"spawn", spawned_json(shown)};
    case STREAM_EVENT_STDOUT:
    case STREAM_EVENT_STDERR:
        return (struct contree_event){e->event == STREAM_EVENT_STDOUT ? "stdout" : "stderr",
                                      stream_json(e->data.data, e->data.size, false)};
    default:
        return (struct contree_event){0};
    }
}

/* All of these have to be there; what is not measured is 0. */
static json_t *resources_json(const struct ended *e)
{
    static const char *const names[] = {"user_time_us",
                                        "sys_time_us",
                                        "shared_memory",
                                        "unshared_memory",
                                        "swaps",
                                        "minor_faults",
                                        "major_faults",
                                        "voluntary_ctx_switches",
                                        "involuntary_ctx_switches",
                                        "block_input_ops",
                                        "block_output_ops",
                                        "ipc_msgs_sent",
                                        "ipc_msgs_received",
                                        "signals_received"};
    json_t *j = json_pack("{s:I}", "max_rss_kb", e->memory);

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        json_object_set_new(j, names[i], json_integer(0));
    return j;
}

struct contree_event contree_exit(const json_t *shown)
{
    const json_t *result = result_of(shown);

    if (!result)
        return (struct contree_event){0};
    const struct ended e = ended_of(result);
    return (struct contree_event){"exit", json_pack("{s:i, s:i, s:i, s:b, s:I, s:o, s:b}", "pid", 1, "code",
                                                    e.code, "signal", e.signal, "timed_out", e.timed_out,
                                                    "duration_ms", (json_int_t)(e.seconds * 1000),
                                                    "resources", resources_json(&e), "core_dump", 0)};
}

struct contree_event contree_completion(const json_t *shown)
{
    json_t *duration = duration_of(shown);
    json_int_t ms = (json_int_t)(json_number_value(duration) * 1000);

    json_decref(duration);
    return (struct contree_event){"completion",
                                  json_pack("{s:s, s:I, s:o, s:o, s:i}", "status", status_text(shown),
                                            "duration_ms", ms, "result_image_uuid", result_image_of(shown),
                                            "error", error_of(shown), "image_size_bytes", 0)};
}

json_t *contree_event_json(const struct contree_event *e, uint64_t number, int64_t at_ns)
{
    json_t *j = json_pack("{s:I, s:o, s:s, s:o}", "id", (json_int_t)number, "ts", moment_json(at_ns), "type",
                          e->type, "data", e->data);

    if (strcmp(e->type, "completion") != 0)
        json_object_set_new(j, "spid", json_integer(1));
    return j;
}

/* ---- images ---------------------------------------------------------------------------------------- */

#define RECORD_NAME(member)                                                                                  \
    schema_find(SCHEMA_OBJECT_IMAGE_RECORD, SCHEMA_OF_RECORD, offsetof(struct stock_record, member))->name

static json_t *image_json(const json_t *record, json_t *tag)
{
    int64_t created = json_integer_value(json_object_get(record, RECORD_NAME(created)));

    return json_pack("{s:O, s:o, s:o, s:n}", "uuid", json_object_get(record, RECORD_NAME(uuid)), "tag", tag,
                     "created_at", moment_json(created * 1000000000), "operation_uuid");
}

/* Tags, and the names of languages and others as they are named as tags. */
static json_t *tags_of(const json_t *record)
{
    json_t *all = json_deep_copy(json_object_get(record, RECORD_NAME(tags))), *name;
    size_t i;

    json_array_foreach(json_object_get(record, RECORD_NAME(names)), i, name)
        json_array_append_new(all, json_sprintf("lang/%s", json_string_value(name)));
    return all;
}

json_t *contree_image(const json_t *record, const char *tag)
{
    json_t *all = tags_of(record), *first = json_array_get(all, 0);
    json_t *j = image_json(record, tag ? json_string(tag) : first ? json_incref(first) : json_null());

    json_decref(all);
    return j;
}

static void add_image(json_t *list, const json_t *record, const char *prefix)
{
    json_t *all = tags_of(record), *tag;
    size_t i;

    json_array_foreach(all, i, tag)
    {
        if (strncmp(json_string_value(tag), prefix, strlen(prefix)) == 0)
            json_array_append_new(list, image_json(record, json_incref(tag)));
    }
    if (json_array_size(all) == 0)
        json_array_append_new(list, image_json(record, json_null()));
    json_decref(all);
}

json_t *contree_images(const json_t *records, const char *prefix)
{
    json_t *list = json_array(), *record;
    size_t i;

    json_array_foreach(json_object_get(records, "images"), i, record) add_image(list, record, prefix);
    return json_pack("{s:o}", "images", list);
}

/* ---- the rest -------------------------------------------------------------------------------------- */

json_t *contree_error(const struct refusal *r)
{
    cleanup_free char *message =
        text_format("%.*s", (int)text_utf8_prefix(r->text, strlen(r->text)), r->text);

    return json_pack("{s:s, s:i}", "error", message, "status", refusal_status(r->kind));
}

json_t *contree_whoami(const char *owner, uint64_t timeout, uint64_t places)
{
    static const char *const may[] = {"import", "spawn",  "spawn_disposable",
                                      "list",   "cancel", "set_image_tag"};
    char digest[DIGEST_HEX_SIZE], uuid[UUID_SIZE];
    json_t *permissions = json_object();

    digest_bytes(owner, strlen(owner), digest);
    digest_uuid(digest, uuid);
    for (size_t i = 0; i < sizeof(may) / sizeof(may[0]); i++)
        json_object_set_new(permissions, may[i], json_true());
    return json_pack("{s:s, s:n, s:o, s:{}, s:{s:I, s:I}}", "token_uuid", uuid, "token_expiration",
                     "permissions", permissions, "operations_stat", "limits", "instance_max_timeout",
                     (json_int_t)timeout, "instance_max_concurrency", (json_int_t)places);
}
