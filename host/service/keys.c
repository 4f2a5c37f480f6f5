#include "service/keys.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "service/share.h"

#include <string.h>

#define TABLE "keys"
#define DROP "DELETE FROM " TABLE
#define OF_ONE " WHERE owner = ? AND key = ?"

static const struct share rows_share = {.number = 2,
                                        .table = TABLE,
                                        .measure = "count(*)",
                                        .worth = "1",
                                        .drop = DROP,
                                        .own_max = KEYS_OWN_MAX,
                                        .all_max = KEYS_ALL_MAX};
static const struct share bytes_share = {.number = 3,
                                         .table = TABLE,
                                         .measure = "sum(bytes)",
                                         .worth = "bytes > 0",
                                         .drop = DROP,
                                         .own_max = KEYS_OWN_BYTES,
                                         .all_max = KEYS_ALL_BYTES};

/* How a key stands, as it is read behind the lock. */
struct reading {
    enum key_state state;
    struct key_answer answer; /* owned */
    bool filed;
    int64_t number, bytes;
};

enum { SAME, STATUS, LOCATION, BODY, FILED, NUMBER, BYTES };

static void read_row(const struct records_rows *rows, struct reading *ret)
{
    size_t size = 0;
    const char *location = records_get_text(rows, LOCATION, NULL),
               *body = records_get_text(rows, BODY, &size);

    ret->answer.status = (int)records_get_number(rows, STATUS);
    ret->state = !records_get_number(rows, SAME) ? KEY_OTHERS
                 : ret->answer.status            ? KEY_ANSWERED
                                                 : KEY_AT_WORK;
    ret->filed = records_get_number(rows, FILED) != 0;
    ret->number = records_get_number(rows, NUMBER);
    ret->bytes = records_get_number(rows, BYTES);
    if (ret->state != KEY_ANSWERED)
        return;
    snprintf(ret->answer.location, sizeof(ret->answer.location), "%s", location ? location : "");
    buffer_add(&ret->answer.body, body ? body : "", size);
}

/* 1: there is such a key. */
static int find_key(struct ledger *l, const char *owner, const char *key, const char *digest,
                    struct reading *ret, struct error *e)
{
    cleanup_rows struct records_rows rows = {0};

    if (records_ask(&rows, l->records,
                    "SELECT digest = ?, status, location, body, filed, number, bytes FROM " TABLE OF_ONE,
                    RECORDS_VALUES(records_text(digest), records_text(owner), records_text(key)), e) < 0)
        return -1;
    int there = records_next(&rows, e);
    if (there > 0)
        read_row(&rows, ret);
    return there;
}

static int add_key(struct ledger *l, const char *owner, const char *key, const char *digest, struct error *e)
{
    if (records_do(l->records, "INSERT INTO " TABLE " (owner, key, digest) VALUES (?, ?, ?)",
                   RECORDS_VALUES(records_text(owner), records_text(key), records_text(digest)), e) < 0)
        return -1;
    int fits = share_make_room(&l->shelf, &rows_share, owner, 1, e);
    if (fits == 0)
        error_set(e, ERROR_BUSY, "too many requests with an Idempotency-Key are being worked on");
    return fits > 0 ? 0 : -1;
}

static int begin_keys(struct ledger *l, const char *owner, const char *key, const char *digest, int64_t now,
                      struct reading *ret, struct error *e)
{
    if (shelf_drop(&l->shelf, TABLE, DROP " WHERE ended < ?",
                   RECORDS_VALUES(records_number(now - KEY_KEPT_S * INT64_C(1000000000))), e) < 0)
        return -1;
    int found = find_key(l, owner, key, digest, ret, e);
    if (found == 0)
        ret->state = KEY_FIRST;
    return found < 0 || (found == 0 && add_key(l, owner, key, digest, e) < 0) ? -1 : 0;
}

int keys_begin(struct ledger *l, const char *owner, const char *key,
               const char digest[static DIGEST_HEX_SIZE], enum key_state *ret_state, struct key_answer *ret,
               struct error *e)
{
    struct reading r = {0};
    int64_t now;

    if (ledger_begin(l, &now, e) < 0)
        return -1;
    int result = ledger_end(l, begin_keys(l, owner, key, digest, now, &r, e), e);
    if (result == 0 && r.state == KEY_ANSWERED && r.filed) {
        buffer_free(&r.answer.body);
        result = shelf_get(&l->shelf, TABLE, r.number, (size_t)r.bytes, &r.answer.body, e);
    }
    if (result < 0)
        buffer_free(&r.answer.body);
    *ret = r.answer;
    *ret_state = r.state;
    return result;
}

/* The number of a key that is worked on; 0: there is none. */
static int find_number(struct ledger *l, const char *owner, const char *key, int64_t *ret, struct error *e)
{
    int64_t now;

    if (ledger_begin(l, &now, e) < 0)
        return -1;
    return ledger_end(l,
                      records_ask_number(l->records, "SELECT number FROM " TABLE OF_ONE,
                                         RECORDS_VALUES(records_text(owner), records_text(key)), ret, e),
                      e);
}

static int write_answer(struct ledger *l, const char *owner, const char *key, const struct key_answer *answer,
                        int64_t now, struct error *e)
{
    bool filed = answer->body.size > SHELF_INLINE_MAX;

    if (records_do(l->records,
                   "UPDATE " TABLE
                   " SET ended = ?, bytes = ?, filed = ?, status = ?, location = ?, body = ?" OF_ONE,
                   RECORDS_VALUES(records_number(now), records_number((int64_t)answer->body.size),
                                  records_number(filed), records_number(answer->status),
                                  records_text(answer->location),
                                  records_text_of(filed ? NULL : answer->body.data, answer->body.size),
                                  records_text(owner), records_text(key)),
                   e) < 0)
        return -1;
    return share_make_room(&l->shelf, &bytes_share, owner, (int64_t)answer->body.size, e) < 0 ? -1 : 0;
}

static int keep_answer(struct ledger *l, const char *owner, const char *key, const struct key_answer *answer,
                       struct error *e)
{
    int64_t now, number = 0;

    if (answer->body.size > SHELF_INLINE_MAX &&
        (find_number(l, owner, key, &number, e) < 0 ||
         shelf_put(&l->shelf, TABLE, number, answer->body.data, answer->body.size, e) < 0))
        return -1;
    if (ledger_begin(l, &now, e) < 0)
        return -1;
    return ledger_end(l, write_answer(l, owner, key, answer, now, e), e);
}

static int free_key(struct ledger *l, const char *owner, const char *key, struct error *e)
{
    int64_t now;

    if (ledger_begin(l, &now, e) < 0)
        return -1;
    int result =
        shelf_drop(&l->shelf, TABLE, DROP OF_ONE, RECORDS_VALUES(records_text(owner), records_text(key)), e);
    return ledger_end(l, result < 0 ? -1 : 0, e);
}

void keys_end(struct ledger *l, const char *owner, const char *key, const struct key_answer *answer)
{
    struct error e = {0};
    bool kept = answer && answer->body.size <= KEYS_OWN_BYTES / 4;

    if (kept && keep_answer(l, owner, key, answer, &e) < 0) {
        log_warning("an answer cannot be kept for its Idempotency-Key: %s", e.text);
        kept = false;
    }
    /* Who comes again has it done again. */
    if (!kept && free_key(l, owner, key, &e) < 0)
        log_warning("an Idempotency-Key cannot be freed: %s", e.text);
}
