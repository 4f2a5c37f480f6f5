#include "store/records.h"

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/text.h"
#include "store/sqlite.h"
#include "store/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#define BUSY_MS 10000 /* how long another process may have it locked */
#define RETRY_MS 5
#define LOG_PAGES_MANY 1000
#define WAL_LEFT_BYTES "4194304" /* what a large transaction leaves of the file beside it */

struct records {
    pthread_mutex_t lock, tidying;
    atomic_int log_pages; /* after the last transaction */
    sqlite3 *db;
    char *path;
    const struct records_schema *schema;
};

/* ---- errors -------------------------------------------------------------------------------------- */

#define REMEDY "capsid doctor --repair puts it aside and makes it anew"

static int fail_records(const struct records *r, struct error *e)
{
    int cause = r->db ? sqlite.errcode(r->db) & 0xff : SQLITE_NOMEM;
    char why[300]; /* which may have words of the file in it */

    snprintf(why, sizeof(why), "%s", r->db ? sqlite.errmsg(r->db) : "out of memory");
    text_make_plain(why);
    if (cause == SQLITE_CORRUPT || cause == SQLITE_NOTADB)
        return error_set(e, ERROR_CORRUPT, "%s is damaged (%s); " REMEDY, r->path, why);
    if (cause == SQLITE_BUSY)
        return error_set(e, ERROR_BUSY, "%s: another process has it locked for %d s", r->path,
                         BUSY_MS / 1000);
    if (cause == SQLITE_IOERR || cause == SQLITE_CANTOPEN)
        return error_set(e, ERROR_GENERAL, "%s: %s (%s)", r->path, why, strerror(sqlite.system_errno(r->db)));
    return error_set(e, ERROR_GENERAL, "%s: %s", r->path, why);
}

static int foreign(const struct records *r, const char *what, struct error *e)
{
    return error_set(e, ERROR_CORRUPT, "%s %s; " REMEDY, r->path, what);
}

/* ---- statements ---------------------------------------------------------------------------------- */

struct records_value records_text(const char *text)
{
    return records_text_of(text, text ? strlen(text) : 0);
}

static int bind_value(sqlite3_stmt *s, int number, const struct records_value *v)
{
    switch (v->kind) {
    case RECORDS_NUMBER:
        return sqlite.bind_int64(s, number, v->number);
    case RECORDS_TEXT:
        return sqlite.bind_text64(s, number, v->text, v->size, SQLITE_STATIC, SQLITE_UTF8);
    default:
        return sqlite.bind_null(s, number);
    }
}

int records_ask(struct records_rows *ret, struct records *r, const char *statement,
                const struct records_value *values, struct error *e)
{
    sqlite3_stmt *s = NULL;
    int count = 0, result = sqlite.prepare_v2(r->db, statement, -1, &s, NULL);

    for (; result == SQLITE_OK && values && values[count].kind != RECORDS_END; count++)
        result = bind_value(s, count + 1, &values[count]);
    *ret = (struct records_rows){.records = r, .statement = s};
    if (result != SQLITE_OK) {
        fail_records(r, e);
        records_done(ret);
        return -1;
    }
    return 0;
}

int records_next(struct records_rows *rows, struct error *e)
{
    int result = sqlite.step(rows->statement);

    if (result == SQLITE_ROW)
        return 1;
    return result == SQLITE_DONE ? 0 : fail_records(rows->records, e);
}

int64_t records_get_number(const struct records_rows *rows, int column)
{
    return sqlite.column_int64(rows->statement, column);
}

const char *records_get_text(const struct records_rows *rows, int column, size_t *ret_size)
{
    const char *text = (const char *)sqlite.column_text(rows->statement, column);

    if (ret_size)
        *ret_size = (size_t)sqlite.column_bytes(rows->statement, column);
    return text;
}

void records_done(struct records_rows *rows)
{
    if (rows->statement)
        sqlite.finalize(rows->statement);
    rows->statement = NULL;
}

int records_do(struct records *r, const char *statement, const struct records_value *values, struct error *e)
{
    cleanup_rows struct records_rows rows = {0};
    int more;

    if (records_ask(&rows, r, statement, values, e) < 0)
        return -1;
    while ((more = records_next(&rows, e)) > 0)
        ;
    return more < 0 ? -1 : sqlite.changes(r->db);
}

int records_ask_number(struct records *r, const char *statement, const struct records_value *values,
                       int64_t *ret, struct error *e)
{
    cleanup_rows struct records_rows rows = {0};

    *ret = 0;
    if (records_ask(&rows, r, statement, values, e) < 0)
        return -1;
    int there = records_next(&rows, e);
    if (there > 0)
        *ret = records_get_number(&rows, 0);
    return there < 0 ? -1 : 0;
}

int64_t records_last_number(const struct records *r)
{
    return sqlite.last_insert_rowid(r->db);
}

int records_begin(struct records *r, struct error *e)
{
    pthread_mutex_lock(&r->lock);
    /* From the start as one that writes: a transaction that becomes so later can find itself overtaken. */
    if (records_do(r, "BEGIN IMMEDIATE", NULL, e) >= 0)
        return 0;
    pthread_mutex_unlock(&r->lock);
    return -1;
}

int records_end(struct records *r, int result, struct error *e)
{
    struct error ignored = {0};

    if (result == 0 && records_do(r, "COMMIT", NULL, e) < 0)
        result = -1;
    /* Some errors have taken it back already (sqlite.org/lang_transaction.html). */
    if (result != 0 && !sqlite.get_autocommit(r->db))
        records_do(r, "ROLLBACK", NULL, &ignored);
    pthread_mutex_unlock(&r->lock);
    return result;
}

/* ---- opening ------------------------------------------------------------------------------------- */

/* Never opened here: closing it again would take the locks of this process's other connections (fcntl(2)). */
static int make_file_records(const struct records *r, struct error *e)
{
    struct stat st;

    cleanup_fd int fd = open(r->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno != EEXIST)
        return error_errno(e, "cannot create %s", r->path);
    if (lstat(r->path, &st) < 0)
        return error_errno(e, "cannot look at %s", r->path);
    if (!S_ISREG(st.st_mode))
        return error_set(e, ERROR_CORRUPT, "%s is no file; remove it", r->path);
    if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
        return error_set(e, ERROR_CORRUPT, "%s is not this user's alone; run: chmod 600 %s, as its owner",
                         r->path, r->path);
    return 0;
}

static int count_pages(void *records, sqlite3 *db, const char *name, int pages)
{
    struct records *r = records;

    (void)db, (void)name;
    r->log_pages = pages;
    return SQLITE_OK;
}

/* Close-on-exec it opens everything by itself, and what lies beside the file with the file's mode. */
static int open_connection(const char *path, sqlite3 **ret)
{
    return sqlite.open_v2(
        path, ret,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
}

/* What a file that somebody made up could do otherwise. */
static int connect_file(struct records *r, struct error *e)
{
    const int off[] = {SQLITE_DBCONFIG_TRUSTED_SCHEMA, SQLITE_DBCONFIG_ENABLE_TRIGGER,
                       SQLITE_DBCONFIG_ENABLE_VIEW, SQLITE_DBCONFIG_DQS_DML, SQLITE_DBCONFIG_DQS_DDL};
    /* Closing waits for no disk: the log stays, for records_tidy() and for whoever opens it next. */
    const int on[] = {SQLITE_DBCONFIG_DEFENSIVE, SQLITE_DBCONFIG_ENABLE_FKEY,
                      SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE};

    if (open_connection(r->path, &r->db) != SQLITE_OK)
        return fail_records(r, e);
    for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++)
        sqlite.db_config(r->db, off[i], 0, NULL);
    for (size_t i = 0; i < sizeof(on) / sizeof(on[0]); i++)
        sqlite.db_config(r->db, on[i], 1, NULL);
    sqlite.limit(r->db, SQLITE_LIMIT_ATTACHED, 0);
    sqlite.busy_timeout(r->db, BUSY_MS);
    sqlite.wal_hook(r->db, count_pages, r);
    return records_do(r, "PRAGMA cell_size_check = ON", NULL, e) < 0 ? -1 : 0;
}

static int newest_version(const struct records_schema *schema)
{
    int count = 0;

    while (schema->migrations[count])
        count++;
    return count;
}

/* Its version, 0 for a new file; -1: it is not ours to touch. */
static int read_version(struct records *r, struct error *e)
{
    int64_t id, version, objects;

    if (records_ask_number(r, "PRAGMA application_id", NULL, &id, e) < 0 ||
        records_ask_number(r, "PRAGMA user_version", NULL, &version, e) < 0 ||
        records_ask_number(r, "SELECT count(*) FROM sqlite_schema", NULL, &objects, e) < 0)
        return -1;
    if (id == 0 && version == 0 && objects == 0)
        return 0;
    if (id != r->schema->application_id || version < 1)
        return foreign(r, "is the database of another program", e);
    int newest = newest_version(r->schema);
    if (version > newest)
        return error_set(
            e, ERROR_GENERAL,
            "%s is of a newer capsid (version %lld of its tables, this one knows %d); use that one", r->path,
            (long long)version, newest);
    return (int)version;
}

/* As it is at one moment, when another process may be making it. */
static int look_at_version(struct records *r, struct error *e)
{
    if (records_do(r, "BEGIN", NULL, e) < 0)
        return -1;
    int version = read_version(r, e);
    return records_do(r, "COMMIT", NULL, version < 0 ? &(struct error){0} : e) < 0 ? -1 : version;
}

/* A change of the mode is refused, not waited for, while another connection looks. */
static int use_write_ahead_log(struct records *r, struct error *e)
{
    int64_t deadline = deadline_in_ms(BUSY_MS);

    for (;;) {
        struct error why = {0};
        if (records_do(r, "PRAGMA journal_mode = WAL", NULL, &why) >= 0)
            break;
        if (why.kind != ERROR_BUSY || deadline_passed(deadline)) {
            *e = why;
            return -1;
        }
        deadline_pause(RETRY_MS);
    }
    return records_do(r, "PRAGMA synchronous = NORMAL", NULL, e) < 0 ||
                   records_do(r, "PRAGMA journal_size_limit = " WAL_LEFT_BYTES, NULL, e) < 0
               ? -1
               : 0;
}

static int run_script(struct records *r, const char *script, struct error *e)
{
    return sqlite.exec(r->db, script, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail_records(r, e);
}

/* In a transaction: another process may have done it meanwhile. */
static int migrate(struct records *r, struct error *e)
{
    int newest = newest_version(r->schema), version = read_version(r, e);

    if (version < 0 || version == newest)
        return version < 0 ? -1 : 0;
    for (; version < newest; version++)
        if (run_script(r, r->schema->migrations[version], e) < 0)
            return -1;
    cleanup_free char *marks = text_format("PRAGMA application_id = %d; PRAGMA user_version = %d",
                                           r->schema->application_id, version);
    return run_script(r, marks, e);
}

/* All that the file says it holds, as text for the caller to free. */
static int describe_tables(struct records *r, struct buffer *ret, struct error *e)
{
    cleanup_rows struct records_rows rows = {0};
    int more;

    if (records_ask(&rows, r, "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name", NULL,
                    e) < 0)
        return -1;
    while ((more = records_next(&rows, e)) > 0) {
        for (int i = 0; i < 4; i++) {
            const char *text = records_get_text(&rows, i, NULL);
            buffer_add_text(ret, "%s\n", text ? text : "");
        }
    }
    return more;
}

/* Triggers, views, columns that compute: nothing is in there that the migrations did not make. */
static int check_tables(struct records *r, struct error *e)
{
    struct records fresh = {.path = r->path, .schema = r->schema};
    cleanup_buffer struct buffer wanted = {0};
    cleanup_buffer struct buffer there = {0};
    int result =
        sqlite.open_v2(":memory:", &fresh.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY, NULL) == SQLITE_OK
            ? 0
            : fail_records(&fresh, e);

    for (int i = 0; result == 0 && r->schema->migrations[i]; i++)
        result = run_script(&fresh, r->schema->migrations[i], e);
    if (result == 0)
        result = describe_tables(&fresh, &wanted, e);
    if (result == 0)
        result = describe_tables(r, &there, e);
    sqlite.close(fresh.db);
    if (result == 0 && (wanted.size != there.size || memcmp(wanted.data, there.data, there.size) != 0))
        return foreign(r, "has other tables than it should", e);
    return result;
}

static int prepare_file(struct records *r, struct error *e)
{
    if (make_file_records(r, e) < 0 || connect_file(r, e) < 0 || look_at_version(r, e) < 0 ||
        use_write_ahead_log(r, e) < 0 || records_begin(r, e) < 0)
        return -1;
    return records_end(r, migrate(r, e), e) < 0 ? -1 : check_tables(r, e);
}

static char *find_place(const char *directory, const struct records_schema *schema, struct error *e)
{
    cleanup_free char *place = realpath(directory, NULL);

    if (!place) {
        error_errno(e, "cannot look at %s", directory);
        return NULL;
    }
    return trust_parents(place, e) < 0 || trust_directory(place, e) < 0
               ? NULL
               : text_format("%s/%s", place, schema->file);
}

int records_open(struct records **ret, const char *directory, const struct records_schema *schema,
                 struct error *e)
{
    struct records *r = memory_allocate(sizeof(*r));

    r->schema = schema;
    r->path = find_place(directory, schema, e);
    pthread_mutex_init(&r->lock, NULL);
    pthread_mutex_init(&r->tidying, NULL);
    if (!r->path || sqlite_open(e) < 0 || prepare_file(r, e) < 0) {
        records_close(r);
        return -1;
    }
    *ret = r;
    return 0;
}

void records_close(struct records *r)
{
    if (!r)
        return;
    if (r->db)
        sqlite.close(r->db);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->tidying);
    free(r->path);
    free(r);
}

/* ---- care ---------------------------------------------------------------------------------------- */

void records_tidy(struct records *r)
{
    sqlite3 *own = NULL; /* the other connection is wanted meanwhile */

    if (r->log_pages < LOG_PAGES_MANY || pthread_mutex_trylock(&r->tidying) != 0)
        return;
    r->log_pages = 0; /* what cannot be done now is done after another transaction */
    /* Only with the first look at the file a connection finds its log. */
    if (open_connection(r->path, &own) == SQLITE_OK &&
        sqlite.exec(own, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL) == SQLITE_OK)
        sqlite.wal_checkpoint_v2(own, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    sqlite.close(own);
    pthread_mutex_unlock(&r->tidying);
}

static int find_faults(struct records *r, struct error *e)
{
    cleanup_rows struct records_rows rows = {0};

    if (records_ask(&rows, r, "PRAGMA integrity_check(1)", NULL, e) < 0 || records_next(&rows, e) < 0)
        return -1;
    const char *said = records_get_text(&rows, 0, NULL);
    if (said && strcmp(said, "ok") == 0)
        return 0;
    cleanup_free char *plain = text_make_plain(text_format("is damaged (%.200s)", said ? said : "unknown"));
    return foreign(r, plain, e);
}

int records_check(struct records *r, struct error *e)
{
    return records_begin(r, e) < 0 ? -1 : records_end(r, find_faults(r, e), e);
}

int records_put_aside(const char *directory, const struct records_schema *schema, char **ret_path,
                      struct error *e)
{
    static const char *const beside[] = {"-wal", "-shm"};
    cleanup_free char *path = find_place(directory, schema, e);

    *ret_path = NULL;
    if (!path)
        return -1;
    cleanup_free char *aside = text_format("%s.damaged-XXXXXX", path);
    cleanup_fd int fd = mkostemp(aside, O_CLOEXEC);
    if (fd < 0)
        return error_errno(e, "cannot create a file beside %s", path);
    /* Without the file what lies beside it has no meaning, and would be taken for the next one's. */
    for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++) {
        cleanup_free char *from = text_format("%s%s", path, beside[i]);
        cleanup_free char *to = text_format("%s%s", aside, beside[i]);
        if (rename(from, to) < 0 && errno != ENOENT)
            return error_errno(e, "cannot rename %s", from);
    }
    if (rename(path, aside) < 0) {
        int cause = errno;
        unlink(aside);
        errno = cause;
        return cause == ENOENT ? 0 : error_errno(e, "cannot rename %s", path);
    }
    *ret_path = text_copy(aside);
    return 0;
}
