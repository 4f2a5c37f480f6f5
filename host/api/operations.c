#include "api/operations.h"

#include "base/deadline.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct operation {
    char id[OPERATION_ID_MAX]; /* "": the slot is free */
    char client[65];
    const char *kind, *status;
    uint64_t exchange, number;
    int64_t created, started, finished; /* ns since 1970; 0: not yet */
    json_t *result, *error;
    size_t bytes;   /* of the result, as text */
    bool forgotten; /* there was a result */
};

void operations_open(struct operations *o)
{
    pthread_mutex_init(&o->lock, NULL);
    o->slots = memory_allocate(OPERATIONS_MAX * sizeof(o->slots[0]));
}

static void clear_result(struct operations *o, struct operation *p)
{
    json_decref(p->result);
    p->result = NULL;
    o->bytes -= p->bytes;
    p->bytes = 0;
}

static void clear(struct operations *o, struct operation *p)
{
    clear_result(o, p);
    json_decref(p->error);
    *p = (struct operation){0};
}

void operations_close(struct operations *o)
{
    for (size_t i = 0; o->slots && i < OPERATIONS_MAX; i++)
        clear(o, &o->slots[i]);
    free(o->slots);
    pthread_mutex_destroy(&o->lock);
}

/* Under the lock, as all that follows. A free slot, or that of the oldest finished one; NULL: there is none. */
static struct operation *find_slot(struct operations *o, int64_t now)
{
    struct operation *oldest = NULL;

    for (size_t i = 0; i < OPERATIONS_MAX; i++) {
        struct operation *p = &o->slots[i];
        if (p->finished && now - p->finished > OPERATION_KEPT_S * 1000000000LL)
            clear(o, p);
        if (!p->id[0])
            return p;
        if (p->finished && (!oldest || p->finished < oldest->finished))
            oldest = p;
    }
    if (oldest)
        clear(o, oldest);
    return oldest;
}

static struct operation *find(struct operations *o, const char *id)
{
    for (size_t i = 0; i < OPERATIONS_MAX; i++)
        if (o->slots[i].id[0] && strcmp(o->slots[i].id, id) == 0)
            return &o->slots[i];
    return NULL;
}

int operations_add(struct operations *o, const char *kind, const char *client, uint64_t exchange,
                   char ret_id[static OPERATION_ID_MAX])
{
    int64_t now = clock_realtime_ns();
    uint64_t random[2] = {(uint64_t)now, exchange};
    int result = -1;

    /* Nobody can guess another client's. */
    if (getrandom(random, sizeof(random), 0) < 0)
        return -1;
    pthread_mutex_lock(&o->lock);
    struct operation *p = find_slot(o, now);
    if (p) {
        *p = (struct operation){
            .kind = kind, .status = "pending", .exchange = exchange, .number = exchange, .created = now};
        snprintf(p->id, sizeof(p->id), "op-%016llx%016llx", (unsigned long long)random[0],
                 (unsigned long long)random[1]);
        snprintf(p->client, sizeof(p->client), "%s", client);
        strcpy(ret_id, p->id);
        result = 0;
    }
    pthread_mutex_unlock(&o->lock);
    return result;
}

void operations_begin(struct operations *o, const char *id)
{
    pthread_mutex_lock(&o->lock);
    struct operation *p = find(o, id);
    if (p) {
        p->status = "running";
        p->started = clock_realtime_ns();
    }
    pthread_mutex_unlock(&o->lock);
}

/* Under the lock. The result that is kept longest; NULL: there is none. */
static struct operation *oldest_result(struct operations *o)
{
    struct operation *oldest = NULL;

    for (size_t i = 0; i < OPERATIONS_MAX; i++)
        if (o->slots[i].result && (!oldest || o->slots[i].finished < oldest->finished))
            oldest = &o->slots[i];
    return oldest;
}

/* Under the lock. Takes a result of that size over. One that is larger than all may be makes no other one go. */
static void keep_result(struct operations *o, struct operation *p, json_t *result, size_t bytes)
{
    struct operation *oldest = bytes > OPERATIONS_BYTES_MAX ? p : NULL;

    p->result = result;
    p->bytes = bytes;
    o->bytes += bytes;
    while (o->bytes > OPERATIONS_BYTES_MAX && (oldest || (oldest = oldest_result(o)))) {
        clear_result(o, oldest);
        oldest->forgotten = true;
        oldest = NULL;
    }
}

void operations_end(struct operations *o, const char *id, bool cancelled, json_t *result,
                    const struct refusal *refusal, const char *trace_id)
{
    size_t bytes = result ? json_dumpb(result, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY) : 0;

    pthread_mutex_lock(&o->lock);
    struct operation *p = find(o, id);
    if (p) {
        p->status = !refusal ? "succeeded" : cancelled ? "cancelled" : "failed";
        p->finished = clock_realtime_ns();
        p->exchange = 0;
        p->error = refusal ? refusal_json(refusal, trace_id) : NULL;
        keep_result(o, p, result, bytes);
    }
    pthread_mutex_unlock(&o->lock);
    if (!p)
        json_decref(result);
}

void operations_forget(struct operations *o, const char *id)
{
    pthread_mutex_lock(&o->lock);
    struct operation *p = find(o, id);
    if (p)
        clear(o, p);
    pthread_mutex_unlock(&o->lock);
}

/* Seconds since 1970 with their fraction, null for 0. */
static json_t *moment(int64_t ns)
{
    return ns ? json_real((double)(ns / 1000000) / 1000) : json_null();
}

static json_t *describe(const struct operation *p, bool whole)
{
    json_t *error = p->error ? json_object_get(p->error, "error") : NULL;
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:O?}", "id", p->id, "operation_id", p->id,
                          "kind", p->kind, "status", p->status, "created", moment(p->created), "started",
                          moment(p->started), "finished", moment(p->finished), "error", error);

    if (whole)
        json_object_set(j, "result", p->result ? p->result : json_null());
    if (whole && p->forgotten)
        json_object_set_new(j, "result_forgotten", json_true());
    return j;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = (*(struct operation *const *)a)->number, y = (*(struct operation *const *)b)->number;

    return x < y ? 1 : x > y ? -1 : 0;
}

json_t *operations_show(struct operations *o, const char *client, const char *id)
{
    struct operation *list[OPERATIONS_MAX];
    size_t count = 0;
    json_t *j = NULL;

    pthread_mutex_lock(&o->lock);
    for (size_t i = 0; i < OPERATIONS_MAX; i++) {
        struct operation *p = &o->slots[i];
        if (p->id[0] && strcmp(p->client, client) == 0 && (!id || strcmp(p->id, id) == 0))
            list[count++] = p;
    }
    if (id && count)
        j = describe(list[0], true);
    if (!id) {
        qsort(list, count, sizeof(list[0]), by_number);
        json_t *all = json_array();
        for (size_t i = 0; i < count; i++)
            json_array_append_new(all, describe(list[i], false));
        j = json_pack("{s:o, s:I}", "operations", all, "count", (json_int_t)count);
    }
    pthread_mutex_unlock(&o->lock);
    return j;
}

int operations_find(struct operations *o, const char *client, const char *id, uint64_t *ret_exchange)
{
    pthread_mutex_lock(&o->lock);
    struct operation *p = find(o, id);
    int result = p && strcmp(p->client, client) == 0 ? 0 : -1;
    if (result == 0)
        *ret_exchange = p->exchange;
    pthread_mutex_unlock(&o->lock);
    return result;
}

void operations_count(struct operations *o, unsigned *ret_pending, unsigned *ret_finished)
{
    *ret_pending = *ret_finished = 0;
    pthread_mutex_lock(&o->lock);
    for (size_t i = 0; i < OPERATIONS_MAX; i++)
        if (o->slots[i].id[0])
            ++*(o->slots[i].finished ? ret_finished : ret_pending);
    pthread_mutex_unlock(&o->lock);
}
