#include "service/operations.h"

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/log.h"
#include "base/text.h"
#include "service/operation_view.h"
#include "service/refusal_json.h"
#include "service/schema.h"
#include "service/share.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define FIELD(member)                                                                                        \
    schema_find(SCHEMA_OBJECT_SHOWN_OPERATION, SCHEMA_OF_OPERATION, offsetof(struct operation_view, member))

#define ASKED(member)                                                                                        \
    schema_find(SCHEMA_OBJECT_SHOWN_OPERATION, SCHEMA_OF_REQUEST, offsetof(struct request, member))

#define ID_PREFIX "op-"
#define ID_DIGITS 32

#define TABLE "operations"
#define DROP "DELETE FROM " TABLE
#define FORGET "UPDATE " TABLE " SET result = NULL, bytes = 0, forgotten = 1"

static const struct share rows_share = {.number = 0,
                                        .table = TABLE,
                                        .measure = "count(*)",
                                        .worth = "1",
                                        .drop = DROP,
                                        .own_max = OPERATIONS_OWN_MAX,
                                        .all_max = OPERATIONS_ALL_MAX};
static const struct share bytes_share = {.number = 1,
                                         .table = TABLE,
                                         .measure = "sum(bytes)",
                                         .worth = "bytes > 0",
                                         .drop = FORGET,
                                         .own_max = OPERATIONS_OWN_BYTES,
                                         .all_max = OPERATIONS_ALL_BYTES};

struct operation_at_work {
    struct operation_at_work *next;
    char id[OPERATION_ID_MAX];
    char owner[65];
    uint64_t task;
    int64_t number; /* of its record */
    bool late;      /* it has ended, which could not be written down yet */
};

/* ---- ids ----------------------------------------------------------------------------------------- */

void operation_id(const char *text, char ret[static OPERATION_ID_MAX])
{
    const size_t prefix = strlen(ID_PREFIX);
    size_t size = prefix;

    memcpy(ret, ID_PREFIX, prefix);
    for (text += strncmp(text, ID_PREFIX, prefix) == 0 ? prefix : 0; *text && size < OPERATION_ID_MAX - 1;
         text++)
        if (*text != '-')
            ret[size++] = *text >= 'A' && *text <= 'F' ? (char)(*text | 0x20) : *text;
    ret[*text || size != prefix + ID_DIGITS ? 0 : size] = '\0';
}

void operation_uuid(const char *id, char ret[static OPERATION_ID_MAX])
{
    const char *d = id + (strncmp(id, ID_PREFIX, strlen(ID_PREFIX)) == 0 ? strlen(ID_PREFIX) : 0);

    ret[0] = '\0';
    if (strlen(d) == ID_DIGITS)
        snprintf(ret, OPERATION_ID_MAX, "%.8s-%.4s-%.4s-%.4s-%.12s", d, d + 8, d + 12, d + 16, d + 20);
}

/* ---- what is worked on --------------------------------------------------------------------------- */

void operations_open(struct operations *o, struct ledger *ledger)
{
    *o = (struct operations){.ledger = ledger};
    pthread_mutex_init(&o->lock, NULL);
}

static void remove_at_work(struct operations *o, const char *id)
{
    pthread_mutex_lock(&o->lock);
    for (struct operation_at_work **at = &o->first; *at; at = &(*at)->next) {
        struct operation_at_work *w = *at;
        if (strcmp(w->id, id) != 0)
            continue;
        *at = w->next;
        free(w);
        break;
    }
    pthread_mutex_unlock(&o->lock);
}

void operations_close(struct operations *o)
{
    while (o->first)
        remove_at_work(o, o->first->id);
    pthread_mutex_destroy(&o->lock);
}

static void add_at_work(struct operations *o, const char *id, const char *owner, uint64_t task,
                        int64_t number)
{
    struct operation_at_work *w = memory_allocate(sizeof(*w));

    w->task = task;
    w->number = number;
    snprintf(w->id, sizeof(w->id), "%s", id);
    snprintf(w->owner, sizeof(w->owner), "%s", owner);
    pthread_mutex_lock(&o->lock);
    w->next = o->first;
    o->first = w;
    pthread_mutex_unlock(&o->lock);
}

/* Under the lock; NULL: nothing here works on it. */
static struct operation_at_work *find_at_work(struct operations *o, const char *id)
{
    struct operation_at_work *w = o->first;

    while (w && strcmp(w->id, id) != 0)
        w = w->next;
    return w;
}

uint64_t operations_find_task(struct operations *o, const char *owner, const char *id)
{
    pthread_mutex_lock(&o->lock);
    const struct operation_at_work *w = find_at_work(o, id);
    uint64_t task = w && strcmp(w->owner, owner) == 0 ? w->task : 0;
    pthread_mutex_unlock(&o->lock);
    return task;
}

/* ---- changes ------------------------------------------------------------------------------------- */

/* What is told of the request with its operation, as JSON text; the caller frees it. A long command is not. */
static char *told_of(const struct request *q)
{
    json_t *j = schema_json(SCHEMA_OBJECT_SHOWN_OPERATION, SCHEMA_OF_REQUEST, q, NULL);

    if (json_dumpb(j, NULL, 0, JSON_COMPACT) > OPERATION_TOLD_MAX) {
        json_object_del(j, ASKED(run.argv)->name);
        json_object_del(j, ASKED(shell)->name);
    }
    char *text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    return text;
}

static int add_record(struct operations *o, enum operation_kind kind, const char *owner,
                      const struct request *q, const char *id, int64_t now, int64_t *ret_number,
                      struct error *e)
{
    cleanup_free char *request = told_of(q);
    struct records *r = o->ledger->records;

    if (shelf_drop(&o->ledger->shelf, TABLE, DROP " WHERE ended < ?",
                   RECORDS_VALUES(records_number(now - OPERATION_KEPT_S * INT64_C(1000000000))), e) < 0 ||
        records_do(r, "INSERT INTO operations (id, owner, kind, request, created) VALUES (?, ?, ?, ?, ?)",
                   RECORDS_VALUES(records_text(id), records_text(owner),
                                  records_text(FIELD(kind)->names[kind]), records_text(request),
                                  records_number(clock_realtime_ns())),
                   e) < 0)
        return -1;
    *ret_number = records_last_number(r);
    int fits = share_make_room(&o->ledger->shelf, &rows_share, owner, 1, e);
    return fits > 0    ? 0
           : fits == 0 ? error_set(e, ERROR_BUSY, "too many operations that are not finished")
                       : -1;
}

struct ending {
    enum operation_status status;
    json_t *error;
    const char *result; /* JSON text, NULL: none */
    size_t size;
    bool filed; /* the result is on the shelf, or is to be */
    bool forgotten;
};

/* There was a result, and it cannot be kept. */
static void forget_result(struct ending *end)
{
    end->result = NULL;
    end->size = 0;
    end->filed = false;
    end->forgotten = true;
}

static int end_record(struct operations *o, const struct operation_at_work *w, const struct ending *end,
                      int64_t now, struct error *e)
{
    cleanup_free char *error = json_dumps(end->error, JSON_COMPACT);

    if (records_do(o->ledger->records,
                   "UPDATE operations SET status = ?, error = ?, finished = ?, ended = ?, bytes = ?,"
                   " filed = ?, forgotten = ?, result = ? WHERE id = ?",
                   RECORDS_VALUES(records_text(FIELD(status)->names[end->status]), records_text(error),
                                  records_number(clock_realtime_ns()), records_number(now),
                                  records_number((int64_t)end->size), records_number(end->filed),
                                  records_number(end->forgotten),
                                  records_text_of(end->filed ? NULL : end->result, end->size),
                                  records_text(w->id)),
                   e) < 0)
        return -1;
    return share_make_room(&o->ledger->shelf, &bytes_share, w->owner, (int64_t)end->size, e) < 0 ? -1 : 0;
}

static int write_end(struct operations *o, const struct operation_at_work *w, const struct ending *end,
                     struct error *e)
{
    int64_t now;

    if (end->filed && shelf_put(&o->ledger->shelf, TABLE, w->number, end->result, end->size, e) < 0)
        return -1;
    if (ledger_begin(o->ledger, &now, e) < 0)
        return -1;
    return ledger_end(o->ledger, end_record(o, w, end, now, e), e);
}

static bool find_late(struct operations *o, struct operation_at_work *ret)
{
    pthread_mutex_lock(&o->lock);
    const struct operation_at_work *w = o->first;
    while (w && !w->late)
        w = w->next;
    if (w)
        *ret = *w;
    pthread_mutex_unlock(&o->lock);
    return w != NULL;
}

/* Those that ended while the disk was full, for example. */
static void write_late_ends(struct operations *o)
{
    const struct refusal unknown = {
        .kind = REFUSAL_FAILED, .text = "how it ended could not be written down; the server's log says why"};
    struct operation_at_work late;
    struct error ignored = {0};
    int result = 0;

    while (result == 0 && find_late(o, &late)) {
        json_t *error = refusal_reason(&unknown);
        const struct ending end = {.status = OPERATION_IS_FAILED, .error = error, .forgotten = true};
        result = write_end(o, &late, &end, &ignored);
        if (result == 0)
            remove_at_work(o, late.id);
        json_decref(error);
    }
}

int operations_add(struct operations *o, enum operation_kind kind, const char *owner, const struct request *q,
                   uint64_t task, char ret_id[static OPERATION_ID_MAX], struct error *e)
{
    uint64_t random[2];
    int64_t now, number = 0;

    /* Nobody can guess another owner's. */
    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        return error_errno(e, "getrandom");
    random[0] = (random[0] & ~UINT64_C(0xf000)) | 0x4000; /* as in a UUID (RFC 9562, version 4) */
    random[1] = random[1] >> 2 | UINT64_C(1) << 63;
    snprintf(ret_id, OPERATION_ID_MAX, ID_PREFIX "%016llx%016llx", (unsigned long long)random[0],
             (unsigned long long)random[1]);
    write_late_ends(o);
    if (ledger_begin(o->ledger, &now, e) < 0 ||
        ledger_end(o->ledger, add_record(o, kind, owner, q, ret_id, now, &number, e), e) < 0)
        return -1;
    add_at_work(o, ret_id, owner, task, number);
    return 0;
}

/* What fails is told, and no more: how it stands is not what is asked for. */
static void change(struct operations *o, const char *statement, const struct records_value *values)
{
    struct error e = {0};
    int64_t now;

    if (ledger_begin(o->ledger, &now, &e) < 0 ||
        ledger_end(o->ledger, shelf_drop(&o->ledger->shelf, TABLE, statement, values, &e) < 0 ? -1 : 0, &e) <
            0)
        log_warning("%s", e.text);
}

void operations_begin(struct operations *o, const char *id)
{
    change(o, "UPDATE operations SET status = ?, started = ? WHERE id = ?",
           RECORDS_VALUES(records_text(FIELD(status)->names[OPERATION_IS_RUNNING]),
                          records_number(clock_realtime_ns()), records_text(id)));
}

void operations_forget(struct operations *o, const char *id)
{
    change(o, DROP " WHERE id = ?", RECORDS_VALUES(records_text(id)));
    remove_at_work(o, id);
}

/* A copy. What has ended has no task, and stays listed until that is written down. */
static bool mark_ended(struct operations *o, const char *id, struct operation_at_work *ret)
{
    pthread_mutex_lock(&o->lock);
    struct operation_at_work *w = find_at_work(o, id);
    if (w) {
        w->task = 0;
        *ret = *w;
    }
    pthread_mutex_unlock(&o->lock);
    return w != NULL;
}

static void leave_for_later(struct operations *o, const char *id)
{
    pthread_mutex_lock(&o->lock);
    struct operation_at_work *w = find_at_work(o, id);
    if (w)
        w->late = true;
    pthread_mutex_unlock(&o->lock);
}

static void write_end_somehow(struct operations *o, const struct operation_at_work *w, struct ending *end)
{
    struct error e = {0};
    int result = write_end(o, w, end, &e);

    if (result < 0) {
        log_warning("operation %s: its result cannot be kept: %s", w->id, e.text);
        forget_result(end);
        result = write_end(o, w, end, &e);
    }
    if (result == 0)
        remove_at_work(o, w->id);
    else
        leave_for_later(o, w->id);
}

void operations_end(struct operations *o, const char *id, bool cancelled, json_t *result, json_t *error)
{
    cleanup_free char *text = result ? json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    struct ending end = {.status = !error      ? OPERATION_IS_SUCCEEDED
                                   : cancelled ? OPERATION_IS_CANCELLED
                                               : OPERATION_IS_FAILED,
                         .error = error,
                         .result = text,
                         .size = text ? strlen(text) : 0};
    struct operation_at_work w;

    json_decref(result);
    end.filed = end.size > SHELF_INLINE_MAX;
    if (end.size > OPERATIONS_OWN_BYTES)
        forget_result(&end); /* one that is larger than all may be makes no other one go */
    if (mark_ended(o, id, &w))
        write_end_somehow(o, &w, &end);
    json_decref(error);
}

/* ---- questions ----------------------------------------------------------------------------------- */

#define COLUMNS "id, kind, status, created, started, finished, error, request"
enum {
    ID,
    KIND,
    STATUS,
    CREATED,
    STARTED,
    FINISHED,
    ERROR,
    REQUEST,
    RESULT,
    FORGOTTEN,
    FILED,
    NUMBER,
    BYTES
};

/* null when there is none, or it is damaged. */
static json_t *parse_json(const char *text, size_t size)
{
    json_t *j = text ? json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;

    return j ? j : json_null();
}

static json_t *parse_column(const struct records_rows *rows, int column)
{
    size_t size;
    const char *text = records_get_text(rows, column, &size);

    return parse_json(text, size);
}

static unsigned choice_in(const struct records_rows *r, int column, const struct schema_field *f)
{
    const char *text = records_get_text(r, column, NULL);

    return text ? schema_choice(f, text) : 0;
}

static json_t *describe_operations(const struct records_rows *r)
{
    json_t *j = json_object(), *error = parse_column(r, ERROR), *request = parse_column(r, REQUEST);
    const struct operation_view view = {
        .id = records_get_text(r, ID, NULL),
        .kind = choice_in(r, KIND, FIELD(kind)),
        .status = choice_in(r, STATUS, FIELD(status)),
        .created = records_get_number(r, CREATED),
        .started = records_get_number(r, STARTED),
        .finished = records_get_number(r, FINISHED),
        .error = error,
    };

    schema_put(j, SCHEMA_OBJECT_SHOWN_OPERATION, SCHEMA_OF_OPERATION, &view, NULL);
    json_object_update(j, request);
    json_decref(error);
    json_decref(request);
    return j;
}

/* What is read behind the lock. */
struct reading {
    json_t *j, *result;
    bool forgotten, filed;
    int64_t number, bytes;
};

static int read_one(struct operations *o, const char *owner, const char *id, struct reading *ret,
                    struct error *e)
{
    cleanup_rows struct records_rows rows = {0};

    if (records_ask(&rows, o->ledger->records,
                    "SELECT " COLUMNS
                    ", result, forgotten, filed, number, bytes FROM operations WHERE id = ? AND"
                    " owner = ?",
                    RECORDS_VALUES(records_text(id), records_text(owner)), e) < 0)
        return -1;
    int there = records_next(&rows, e);
    if (there == 0)
        error_set(e, ERROR_NOT_FOUND, "there is no such operation, or it was forgotten");
    if (there <= 0)
        return -1;
    *ret = (struct reading){.j = describe_operations(&rows),
                            .result = parse_column(&rows, RESULT),
                            .forgotten = records_get_number(&rows, FORGOTTEN) != 0,
                            .filed = records_get_number(&rows, FILED) != 0,
                            .number = records_get_number(&rows, NUMBER),
                            .bytes = records_get_number(&rows, BYTES)};
    return 0;
}

/* The result that is on the shelf; it may have been forgotten since. */
static void read_result(struct operations *o, struct reading *r)
{
    cleanup_buffer struct buffer text = {0};
    struct error ignored = {0};

    if (!r->filed || r->forgotten)
        return;
    r->forgotten = shelf_get(&o->ledger->shelf, TABLE, r->number, (size_t)r->bytes, &text, &ignored) < 0;
    if (r->forgotten)
        return;
    json_decref(r->result);
    r->result = parse_json(text.data, text.size);
}

static json_t *read_all(struct operations *o, const char *owner, struct error *e)
{
    cleanup_rows struct records_rows rows = {0};
    json_t *all = json_array();
    int more = records_ask(&rows, o->ledger->records,
                           "SELECT " COLUMNS " FROM operations WHERE owner = ? ORDER BY number DESC",
                           RECORDS_VALUES(records_text(owner)), e);

    while (more >= 0 && (more = records_next(&rows, e)) > 0)
        json_array_append_new(all, describe_operations(&rows));
    if (more < 0) {
        json_decref(all);
        return NULL;
    }
    return schema_list(SCHEMA_OBJECT_OPERATIONS, all);
}

json_t *operations_show(struct operations *o, const char *owner, const char *id, struct error *e)
{
    struct reading r = {0};
    int64_t now;

    write_late_ends(o);
    if (ledger_begin(o->ledger, &now, e) < 0)
        return NULL;
    int result = read_one(o, owner, id, &r, e);
    ledger_end(o->ledger, 0, &(struct error){0});
    if (result < 0)
        return NULL;
    read_result(o, &r);
    const struct operation_view view = {.result = r.result, .result_forgotten = r.forgotten};
    schema_put(r.j, SCHEMA_OBJECT_OPERATION_RESULT, SCHEMA_OF_OPERATION, &view, NULL);
    json_decref(r.result);
    return r.j;
}

json_t *operations_list(struct operations *o, const char *owner, struct error *e)
{
    int64_t now;

    write_late_ends(o);
    if (ledger_begin(o->ledger, &now, e) < 0)
        return NULL;
    json_t *j = read_all(o, owner, e);
    ledger_end(o->ledger, 0, &(struct error){0});
    return j;
}
