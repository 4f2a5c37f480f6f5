/* /api/v1/files and /api/v1/states: what clients upload, and directory states of it. */
#include "api/server.h"

#include "base/cleanup.h"
#include "base/jsontext.h"
#include "service/state_json.h"

#include <string.h>
#include <sys/stat.h>

#define ENTRY_VALUES_MAX 500000 /* members and elements of a list of entries */

/* As exchange_fail(); what was refused is too much, by the bounds of files/files.h. */
static int fail_upload(struct exchange *x, const struct error *e)
{
    return e->kind == ERROR_REFUSED ? refuse(&x->refusal, REFUSAL_TOO_LARGE, "%.600s", e->text)
                                    : exchange_fail(x, e);
}

/* ---- files ----------------------------------------------------------------------------------------- */

static json_t *describe_upload(const struct file_item *i)
{
    return json_pack("{s:s, s:s, s:I}", "uuid", i->uuid, "sha256", i->digest, "size", (json_int_t)i->size);
}

int work_add_file(struct exchange *x, struct backend *b)
{
    struct file_staged staged = {0};
    struct error e = {0};

    (void)b;
    int result = files_stage_bytes(&x->server->files, x->body.data, x->body.size, &staged, &e);
    if (result == 0)
        result = files_keep(&x->server->files, x->task->owner, &staged, 1, &e);
    if (result == 0) {
        snprintf(x->answer.location, sizeof(x->answer.location), "/api/v1/files/%s", staged.item.uuid);
        exchange_answer(x, 201, describe_upload(&staged.item));
    }
    file_staged_done(&staged);
    return result < 0 ? fail_upload(x, &e) : 0;
}

static bool add_item(const struct file_item *i, void *context)
{
    json_t *j = describe_upload(i);

    json_object_set_new(j, "created", json_integer(i->created));
    json_array_append_new(context, j);
    return json_array_size(context) < FILES_LISTED_MAX;
}

int work_list_files(struct exchange *x, struct backend *b)
{
    json_t *list = json_array();
    struct error e = {0};
    uint64_t used = 0;

    (void)b;
    if (files_each(&x->server->files, x->task->owner, add_item, list, &e) < 0 ||
        files_used(&x->server->files, x->task->owner, &used, &e) < 0) {
        json_decref(list);
        return exchange_fail(x, &e);
    }
    exchange_answer(x, 200, json_pack("{s:o, s:I}", "files", list, "used", (json_int_t)used));
    return 0;
}

/* HEAD too. */
int work_read_file(struct exchange *x, struct backend *b)
{
    struct error e = {0};
    struct file_item i;

    (void)b;
    if (files_find(&x->server->files, x->task->owner, x->argument, &i, &e) < 0)
        return exchange_fail(x, &e);
    if (exchange_hold(x, i.size) < 0)
        return -1;
    cleanup_fd int fd = files_open_content(&x->server->files, &i, &e);
    if (fd < 0 || file_read_fd(fd, i.uuid, i.size, &x->answer.body, &e) < 0)
        return exchange_fail(x, &e);
    x->answer.status = 200;
    x->answer.type = "application/octet-stream";
    snprintf(x->answer.etag, sizeof(x->answer.etag), "\"%s\"", i.digest);
    return 0;
}

int work_remove_file(struct exchange *x, struct backend *b)
{
    struct error e = {0};

    (void)b;
    if (files_remove(&x->server->files, x->task->owner, x->argument, &e) < 0)
        return exchange_fail(x, &e);
    x->answer.status = 204;
    return 0;
}

/* ---- states: what is asked for --------------------------------------------------------------------- */

/* A text of an entry, which is in base64 where the entry says so; the caller frees it. NULL: the refusal is set. */
static char *take_text(const json_t *entry, const char *name, struct refusal *r)
{
    cleanup_buffer struct buffer bytes = {0};

    if (schema_take_bytes(name, schema_member(entry, name), schema_member(entry, "encoding"), &bytes, r) < 0)
        return NULL;
    if (bytes.size && memchr(bytes.data, '\0', bytes.size)) {
        refuse(r, REFUSAL_INVALID, "\"%s\" holds a NUL character", name);
        return NULL;
    }
    return text_copy(bytes.size ? bytes.data : "");
}

static int take_mode(const json_t *entry, uint32_t kind, uint32_t *ret, struct refusal *r)
{
    const json_t *mode = schema_member(entry, "mode");
    const char *text = json_string_value(mode);
    unsigned long value = S_ISREG(kind) ? 0644 : 0755;
    char *end = "";

    if (text)
        value = strtoul(text, &end, 8);
    if ((mode && !text) || (text && (text[0] < '0' || text[0] > '7')) || *end || value > 07777)
        return refuse(r, REFUSAL_INVALID, "\"mode\" must be octal digits from 0 to 7777");
    *ret = kind | (S_ISLNK(kind) ? 0777 : (uint32_t)value);
    return 0;
}

/* The digest of the owner's file, by either name; those that he has not go to the list of what is missing. */
static int take_digest(struct exchange *x, const json_t *entry, struct state_entry *one, json_t *missing)
{
    json_t *name = schema_member(entry, "uuid");
    struct error e = {0};
    struct file_item i;

    name = name ? name : schema_member(entry, "sha256");
    const char *text = json_string_value(name);
    if (!text || (strlen(text) != UUID_SIZE - 1 && !digest_is_hex(text)))
        return refuse(&x->refusal, REFUSAL_INVALID, "\"uuid\" or \"sha256\" names no file");
    memset(one->digest, '0', sizeof(one->digest) - 1); /* one that is missing: the state is not made */
    if (files_find(&x->server->files, x->task->owner, text, &i, &e) == 0)
        memcpy(one->digest, i.digest, sizeof(one->digest));
    else if (e.kind == ERROR_NOT_FOUND)
        json_object_set_new(missing, text, json_true());
    else
        return exchange_fail(x, &e);
    return 0;
}

static int take_entry(struct exchange *x, const json_t *entry, struct state_list *list, json_t *missing)
{
    bool link = schema_member(entry, "link"), directory = json_is_true(schema_member(entry, "directory"));
    struct state_entry one = {0};
    struct error e = {0};

    if (!json_is_object(entry) || (link && directory))
        return refuse(
            &x->refusal, REFUSAL_INVALID,
            "each of \"entries\" is an object with \"path\", and \"uuid\" or \"sha256\", \"link\" or "
            "\"directory\"");
    if (take_mode(entry,
                  link        ? S_IFLNK
                  : directory ? S_IFDIR
                              : S_IFREG,
                  &one.mode, &x->refusal) < 0 ||
        (S_ISREG(one.mode) && take_digest(x, entry, &one, missing) < 0))
        return -1;
    one.path = take_text(entry, "path", &x->refusal);
    if (one.path && link)
        one.target = take_text(entry, "link", &x->refusal);
    if (!one.path || (link && !one.target)) {
        free(one.path);
        return -1;
    }
    return state_list_add(list, &one, &e) < 0 ? exchange_fail(x, &e) : 0;
}

/* ---- states ---------------------------------------------------------------------------------------- */

static json_t *describe_state(const struct state *s)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "id", (json_int_t)s->number, "files", (json_int_t)s->files,
                     "bytes", (json_int_t)s->bytes, "created", (json_int_t)s->created);
}

static int answer_missing(struct exchange *x, json_t *missing)
{
    json_t *names = json_array(), *unused;
    const char *name;

    json_object_foreach(missing, name, unused) json_array_append_new(names, json_string(name));
    return exchange_answer(x, 200, json_pack("{s:n, s:o}", "id", "missing", names));
}

static int answer_state(struct exchange *x, struct state_list *list)
{
    struct error e = {0};
    struct state s;

    if (state_list_order(list, &e) < 0 || states_make(&x->server->files, x->task->owner, list, &s, &e) < 0)
        return fail_upload(x, &e);
    snprintf(x->answer.location, sizeof(x->answer.location), "/api/v1/states/%lld", (long long)s.number);
    exchange_answer(x, 201, describe_state(&s));
    return 0;
}

static json_t *parse_entries(struct exchange *x)
{
    const size_t size = x->body.size;

    if (size == 0 || exchange_hold(x, 4 * size) < 0) { /* what jansson needs for it */
        if (size == 0)
            refuse(&x->refusal, REFUSAL_INVALID, "the body is empty, but must be a JSON object");
        return NULL;
    }
    json_t *j = jsontext_parse(x->body.data, size, ENTRY_VALUES_MAX, 0);
    if (json_is_array(json_object_get(j, "entries")) && json_object_size(j) == 1)
        return j;
    json_decref(j);
    refuse(&x->refusal, REFUSAL_INVALID,
           "the body must be a JSON object with a list \"entries\" and nothing else, of at most "
           "%d values",
           ENTRY_VALUES_MAX);
    return NULL;
}

int work_make_state(struct exchange *x, struct backend *b)
{
    json_t *j = parse_entries(x), *missing = json_object(), *entry;
    struct state_list list = {0};
    int result = j ? 0 : -1;
    size_t i;

    (void)b;
    json_array_foreach(json_object_get(j, "entries"), i, entry)
    {
        if ((result = take_entry(x, entry, &list, missing)) < 0)
            break;
    }
    if (result == 0)
        result = json_object_size(missing) ? answer_missing(x, missing) : answer_state(x, &list);
    state_list_done(&list);
    json_decref(missing);
    json_decref(j);
    return result;
}

static int find_state(struct exchange *x, struct state *ret, struct state_list *list)
{
    struct error e = {0};
    uint64_t number;

    if (!text_to_u64(x->argument, 1, INT64_MAX, &number))
        return refuse(&x->refusal, REFUSAL_NOT_FOUND, "there is no directory state \"%.32s\"", x->argument);
    return states_find(&x->server->files, x->task->owner, (int64_t)number, ret, list, &e) < 0
               ? exchange_fail(x, &e)
               : 0;
}

int work_show_state(struct exchange *x, struct backend *b)
{
    struct state_list list = {0};
    json_t *entries;
    struct state s;

    (void)b;
    if (find_state(x, &s, &list) < 0)
        return -1;
    entries = json_array();
    for (size_t i = 0; i < list.count; i++)
        json_array_append_new(entries, state_entry_json(&list.entries[i]));
    state_list_done(&list);
    json_t *j = describe_state(&s);
    json_object_set_new(j, "entries", entries);
    exchange_answer(x, 200, j);
    return 0;
}

static void add_state(const struct state *s, void *context)
{
    json_array_append_new(context, describe_state(s));
}

int work_list_states(struct exchange *x, struct backend *b)
{
    json_t *list = json_array();
    struct error e = {0};

    (void)b;
    if (states_each(&x->server->files, x->task->owner, add_state, list, &e) < 0) {
        json_decref(list);
        return exchange_fail(x, &e);
    }
    exchange_answer(x, 200, json_pack("{s:o}", "states", list));
    return 0;
}

int work_remove_state(struct exchange *x, struct backend *b)
{
    struct error e = {0};
    struct state s;

    (void)b;
    if (find_state(x, &s, NULL) < 0)
        return -1;
    if (states_remove(&x->server->files, x->task->owner, s.number, &e) < 0)
        return exchange_fail(x, &e);
    x->answer.status = 204;
    return 0;
}
