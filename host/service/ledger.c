#include "service/ledger.h"

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "service/refusal_json.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/file.h>

#define PLACES_MAX 64
#define NOTE_NS 60000000000 /* what a kill may take from the clock */

static const char *const migrations[] = {
    /* ended: by the ledger's clock; NULL: it is worked on. Times of operations are ns since 1970, for people. */
    "CREATE TABLE clock (one INTEGER PRIMARY KEY CHECK (one = 1), noted INTEGER NOT NULL"
    " CHECK (noted BETWEEN 0 AND 1 << 62)) STRICT;"
    "INSERT INTO clock VALUES (1, 0);"
    "CREATE TABLE operations (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT "
    "NOT NULL,"
    " ended INTEGER, bytes INTEGER NOT NULL DEFAULT 0, filed INTEGER NOT NULL DEFAULT 0, kind TEXT NOT NULL,"
    " status TEXT NOT NULL DEFAULT 'pending', created INTEGER NOT NULL, started INTEGER NOT NULL DEFAULT 0,"
    " finished INTEGER NOT NULL DEFAULT 0, forgotten INTEGER NOT NULL DEFAULT 0, error TEXT, result TEXT) "
    "STRICT;"
    "CREATE INDEX operations_of_owner ON operations (owner, ended, bytes);"
    "CREATE INDEX operations_by_end ON operations (ended);"
    "CREATE TABLE keys (number INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, key TEXT NOT NULL,"
    " ended INTEGER, bytes INTEGER NOT NULL DEFAULT 0, filed INTEGER NOT NULL DEFAULT 0, digest TEXT NOT "
    "NULL,"
    " status INTEGER, location TEXT, body TEXT, UNIQUE (owner, key)) STRICT;"
    "CREATE INDEX keys_of_owner ON keys (owner, ended, bytes);"
    "CREATE INDEX keys_by_end ON keys (ended);",
    /* What is told of the request. */
    "ALTER TABLE operations ADD COLUMN request TEXT;",
    /* Those that there are, and, once ended, those whose server has. */
    "CREATE TABLE sessions (id TEXT PRIMARY KEY, owner TEXT NOT NULL, ended INTEGER) STRICT;"
    "CREATE INDEX sessions_by_end ON sessions (ended);",
    NULL};

static const struct records_schema schema = {
    .file = "records.db", .application_id = 0x43417053, .migrations = migrations};

/* ---- its place ----------------------------------------------------------------------------------- */

static char *place_path(const char *home, int number)
{
    return number == 1 ? text_format("%s/service", home) : text_format("%s/service-%d", home, number);
}

/* ERROR_BUSY: another server has it. */
static int take_directory(const char *path, struct error *e)
{
    if (file_make_directories(path, e) < 0)
        return -1;
    cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_errno(e, "cannot open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? error_set(e, ERROR_BUSY, "%s is in use", path)
                                    : error_errno(e, "cannot lock %s", path);
    /* A server that was killed could not take back what it had given to its front's user. */
    if (geteuid() == 0 && file_give_to(path, 0, getegid()) < 0)
        return error_errno(e, "cannot make %s this user's", path);
    return take_fd(&fd);
}

int ledger_take_place(const char *home, char **ret_path, struct error *e)
{
    struct error why = {0};

    for (int i = 1; i <= PLACES_MAX; i++) {
        cleanup_free char *path = place_path(home, i);
        cleanup_fd int fd = take_directory(path, &why);
        if (fd >= 0 && (*ret_path = realpath(path, NULL)))
            return take_fd(&fd);
        if (fd >= 0)
            return error_errno(e, "cannot look at %s", path);
        if (why.kind != ERROR_BUSY)
            break;
    }
    *e = why;
    return -1;
}

/* ---- the clock ----------------------------------------------------------------------------------- */

static int set_clock(struct ledger *l, struct error *e)
{
    if (records_ask_number(l->records, "SELECT noted FROM clock", NULL, &l->noted, e) < 0)
        return -1;
    l->base = l->noted - clock_monotonic_ns();
    return 0;
}

static int note_time(struct ledger *l, int64_t now, struct error *e)
{
    l->noted = now;
    return records_do(l->records, "UPDATE clock SET noted = ?", RECORDS_VALUES(records_number(now)), e) < 0
               ? -1
               : 0;
}

int ledger_begin(struct ledger *l, int64_t *ret_now, struct error *e)
{
    if (records_begin(l->records, e) < 0)
        return -1;
    *ret_now = clock_monotonic_ns() + l->base;
    if (*ret_now - l->noted >= NOTE_NS && note_time(l, *ret_now, e) < 0)
        return records_end(l->records, -1, e);
    return 0;
}

int ledger_end(struct ledger *l, int result, struct error *e)
{
    return records_end(l->records, result, e);
}

/* ---- its life ------------------------------------------------------------------------------------ */

/* What the server before this one worked on when it died. */
static int end_lost(struct ledger *l, struct error *e)
{
    const struct refusal lost = {.kind = REFUSAL_LOST,
                                 .text = "the server ended before this was done; begin it anew"};
    json_t *j = refusal_reason(&lost);
    cleanup_free char *error = json_dumps(j, JSON_COMPACT);
    int count = records_do(
        l->records,
        "UPDATE operations SET status = 'failed', error = ?, finished = ?, ended = ?"
        " WHERE ended IS NULL",
        RECORDS_VALUES(records_text(error), records_number(clock_realtime_ns()), records_number(l->noted)),
        e);

    json_decref(j);
    if (count > 0)
        log_warning("the server before this one died while it worked on %d operations", count);
    return count < 0 || records_do(l->records, "DELETE FROM keys WHERE ended IS NULL", NULL, e) < 0 ||
                   records_do(l->records, "UPDATE sessions SET ended = ? WHERE ended IS NULL",
                              RECORDS_VALUES(records_number(l->noted)), e) < 0
               ? -1
               : 0;
}

int ledger_open(struct ledger *ret, const char *directory, struct error *e)
{
    *ret = (struct ledger){.directory = text_copy(directory)};
    int result = records_open(&ret->records, directory, &schema, e);
    if (result == 0)
        result = records_begin(ret->records, e);
    if (result == 0)
        result = records_end(ret->records, set_clock(ret, e) < 0 || end_lost(ret, e) < 0 ? -1 : 0, e);
    ret->shelf = (struct shelf){.records = ret->records, .directory = ret->directory, .room = ret->room};
    if (result == 0)
        result = shelf_clean(&ret->shelf, e);
    if (result < 0)
        ledger_close(ret);
    return result;
}

void ledger_close(struct ledger *l)
{
    struct error ignored = {0};
    int64_t now;

    if (l->records && ledger_begin(l, &now, &ignored) == 0)
        ledger_end(l, note_time(l, now, &ignored), &ignored);
    records_close(l->records);
    free(l->directory);
    *l = (struct ledger){0};
}

struct ledger_use ledger_measure(struct ledger *l, const char *table)
{
    cleanup_free char *question =
        text_format("SELECT count(*) - count(ended), count(ended), sum(bytes) FROM %s", table);
    cleanup_rows struct records_rows rows = {0};
    struct ledger_use use = {0};
    struct error ignored = {0};
    int64_t now;

    if (ledger_begin(l, &now, &ignored) < 0)
        return use;
    if (records_ask(&rows, l->records, question, NULL, &ignored) == 0 && records_next(&rows, &ignored) > 0)
        use = (struct ledger_use){.unfinished = (uint64_t)records_get_number(&rows, 0),
                                  .finished = (uint64_t)records_get_number(&rows, 1),
                                  .bytes = (uint64_t)records_get_number(&rows, 2)};
    records_done(&rows);
    ledger_end(l, 0, &ignored);
    return use;
}

static int check(const char *directory, struct error *e)
{
    struct records *r = NULL;
    int result = records_open(&r, directory, &schema, e);

    if (result == 0)
        result = records_check(r, e);
    records_close(r);
    return result;
}

static enum ledger_state examine_one(const char *directory, bool repair, char **ret_why)
{
    cleanup_fd int fd = -1;
    cleanup_free char *aside = NULL;
    struct error e = {0}, failed = {0};

    *ret_why = NULL;
    fd = take_directory(directory, &e);
    if (fd < 0 && e.kind == ERROR_BUSY)
        return LEDGER_IN_USE;
    if (fd >= 0 && check(directory, &e) == 0)
        return LEDGER_SOUND;
    *ret_why = text_copy(e.text);
    if (fd < 0 || !repair || e.kind != ERROR_CORRUPT)
        return LEDGER_DAMAGED;
    if (records_put_aside(directory, &schema, &aside, &failed) < 0 || check(directory, &failed) < 0) {
        free(*ret_why);
        *ret_why = text_copy(failed.text);
        return LEDGER_DAMAGED;
    }
    free(*ret_why);
    *ret_why = text_format("it was damaged; what it was is %s, and operations are forgotten", aside);
    return LEDGER_REPAIRED;
}

void ledger_examine(const char *home, bool repair,
                    void (*tell)(void *context, enum ledger_state state, const char *path, const char *why),
                    void *context)
{
    for (int i = 1; i <= PLACES_MAX; i++) {
        cleanup_free char *path = place_path(home, i);
        cleanup_free char *why = NULL;
        if (!file_exists(path))
            continue;
        enum ledger_state state = examine_one(path, repair, &why);
        tell(context, state, path, why ? why : "");
    }
}
