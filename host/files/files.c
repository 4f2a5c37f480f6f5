#include "files/files.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define COPY_SIZE 65536

static const char *const migrations[] = {
    /* used has a row for each owner, and one with NULL for all: a blob counts there once. */
    "CREATE TABLE blobs (digest TEXT PRIMARY KEY, uuid TEXT NOT NULL, size INTEGER NOT NULL) STRICT;"
    "CREATE INDEX blobs_by_uuid ON blobs (uuid);"
    "CREATE TABLE files (number INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL,"
    " digest TEXT NOT NULL REFERENCES blobs (digest), created INTEGER NOT NULL, UNIQUE (owner, digest)) "
    "STRICT;"
    "CREATE INDEX files_of_blob ON files (digest);"
    "CREATE TABLE states (number INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, digest TEXT NOT "
    "NULL,"
    " files INTEGER NOT NULL, bytes INTEGER NOT NULL, cost INTEGER NOT NULL, created INTEGER NOT NULL,"
    " UNIQUE (owner, digest)) STRICT;"
    "CREATE TABLE entries (state INTEGER NOT NULL REFERENCES states (number), path TEXT NOT NULL,"
    " mode INTEGER NOT NULL, digest TEXT, target TEXT, PRIMARY KEY (state, path)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX entries_of_blob ON entries (digest);"
    "CREATE TABLE used (owner TEXT UNIQUE, bytes INTEGER NOT NULL) STRICT;"
    "INSERT INTO used VALUES (NULL, 0);"
    "CREATE TABLE seen (device INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL,"
    " mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (device, inode))"
    " STRICT, WITHOUT ROWID;",
    NULL};

static const struct records_schema schema = {
    .file = "records.db", .application_id = 0x43417046, .migrations = migrations};

static char *content_path(const struct files *f, const char *digest)
{
    return text_format("%s/blobs/%s", f->directory, digest);
}

int files_open(struct files *ret, const char *directory, const char *scratch,
               const struct files_limits *limits, struct error *e)
{
    cleanup_free char *blobs = text_format("%s/blobs", directory);

    *ret =
        (struct files){.directory = text_copy(directory), .scratch = text_copy(scratch), .limits = *limits};
    if (file_make_directories(blobs, e) == 0 && records_open(&ret->records, directory, &schema, e) == 0)
        return 0;
    files_close(ret);
    return -1;
}

int files_open_home(struct files *ret, const struct home *h, uint64_t max_mib, struct error *e)
{
    cleanup_free char *directory = home_path(h, "files");

    return files_open(ret, directory, h->scratch, &(struct files_limits){.all = max_mib << 20}, e);
}

void files_close(struct files *f)
{
    records_close(f->records);
    free(f->directory);
    free(f->scratch);
    *f = (struct files){0};
}

/* ---- bounds ---------------------------------------------------------------------------------------- */

static int64_t cost_of(uint64_t size)
{
    return size > FILES_COST_MIN ? (int64_t)size : FILES_COST_MIN;
}

/* owner NULL: all. */
static int charge_one(struct files *f, const char *owner, int64_t cost, uint64_t max, struct error *e)
{
    int64_t used = 0;

    if (owner && records_do(f->records, "INSERT OR IGNORE INTO used VALUES (?, 0)",
                            RECORDS_VALUES(records_text(owner)), e) < 0)
        return -1;
    if (records_do(f->records, "UPDATE used SET bytes = bytes + ? WHERE owner IS ?",
                   RECORDS_VALUES(records_number(cost), records_text(owner)), e) < 0 ||
        records_ask_number(f->records, "SELECT bytes FROM used WHERE owner IS ?",
                           RECORDS_VALUES(records_text(owner)), &used, e) < 0)
        return -1;
    if (cost <= 0 || !max || (uint64_t)used <= max)
        return 0;
    return error_set(
        e, ERROR_REFUSED,
        "files and directory states would take %lld MB of the %llu MB that %s may: remove some, or "
        "raise %s in capsid.conf",
        (long long)used / 1000000, (unsigned long long)max / 1000000, owner ? "one owner's" : "all",
        owner ? "files_owner_max" : "files_max");
}

int files_charge(struct files *f, const char *owner, int64_t cost, struct error *e)
{
    return charge_one(f, owner, cost, f->limits.owner, e) < 0 ||
                   charge_one(f, NULL, cost, f->limits.all, e) < 0
               ? -1
               : 0;
}

int files_used(struct files *f, const char *owner, uint64_t *ret, struct error *e)
{
    int64_t used = 0;

    if (records_begin(f->records, e) < 0)
        return -1;
    int result = records_ask_number(f->records, "SELECT bytes FROM used WHERE owner IS ?",
                                    RECORDS_VALUES(records_text(owner)), &used, e);
    *ret = (uint64_t)used;
    return records_end(f->records, result, e);
}

/* ---- bringing -------------------------------------------------------------------------------------- */

static int copy_content(int from, int to, const char *name, uint64_t *ret_size, struct error *e)
{
    cleanup_free char *bytes = memory_allocate(COPY_SIZE);

    *ret_size = 0;
    for (;;) {
        ssize_t n = read(from, bytes, COPY_SIZE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? error_errno(e, "cannot read %s", name) : 0;
        *ret_size += (uint64_t)n;
        if (*ret_size > FILES_SIZE_MAX)
            return error_set(e, ERROR_USAGE, "%s is larger than %llu MiB", name, FILES_SIZE_MAX >> 20);
        if (file_write_fd(to, bytes, (size_t)n) < 0)
            return error_errno(e, "cannot write %s", name);
    }
}

/* The fd of a new file of the scratch directory. */
static int begin_staged(struct files *f, struct file_staged *ret, struct error *e)
{
    *ret = (struct file_staged){.path = text_format("%s/file-XXXXXX", f->scratch)};
    int fd = mkostemp(ret->path, O_CLOEXEC);

    return fd < 0 ? error_errno(e, "cannot create %s", ret->path) : fd;
}

static void finish_staged(struct file_staged *s)
{
    digest_uuid(s->item.digest, s->item.uuid);
    s->item.created = time(NULL);
}

int files_stage(struct files *f, int fd, const char *name, struct file_staged *ret, struct error *e)
{
    cleanup_fd int to = begin_staged(f, ret, e);

    if (to < 0 || copy_content(fd, to, name, &ret->item.size, e) < 0)
        return -1;
    if (lseek(to, 0, SEEK_SET) < 0 || digest_fd(to, NULL, ret->item.digest, e) < 0)
        return -1;
    finish_staged(ret);
    return 0;
}

int files_stage_bytes(struct files *f, const void *data, size_t size, struct file_staged *ret,
                      struct error *e)
{
    cleanup_fd int to = begin_staged(f, ret, e);

    if (to < 0 || (size && file_write_fd(to, data, size) < 0))
        return to < 0 ? -1 : error_errno(e, "cannot write %s", ret->path);
    ret->item.size = size;
    digest_bytes(data ? data : "", size, ret->item.digest);
    finish_staged(ret);
    return 0;
}

void file_staged_done(struct file_staged *s)
{
    if (s->path)
        unlink(s->path);
    free(s->path);
    *s = (struct file_staged){0};
}

static int keep_record(struct files *f, const char *owner, const struct file_item *i, struct error *e)
{
    int fresh = records_do(
        f->records, "INSERT OR IGNORE INTO blobs VALUES (?, ?, ?)",
        RECORDS_VALUES(records_text(i->digest), records_text(i->uuid), records_number((int64_t)i->size)), e);

    if (fresh < 0 || (fresh > 0 && charge_one(f, NULL, cost_of(i->size), f->limits.all, e) < 0))
        return -1;
    int own = records_do(
        f->records, "INSERT OR IGNORE INTO files (owner, digest, created) VALUES (?, ?, ?)",
        RECORDS_VALUES(records_text(owner), records_text(i->digest), records_number(i->created)), e);
    return own < 0 || (own > 0 && charge_one(f, owner, cost_of(i->size), f->limits.owner, e) < 0) ? -1 : 0;
}

/* The content first, so that no record is without: what a crash leaves is content without a record. */
static int keep_content(struct files *f, const struct file_item *i, const char *staged, struct error *e)
{
    cleanup_free char *path = content_path(f, i->digest);

    return rename(staged, path) < 0 ? error_errno(e, "cannot create %s", path) : 0;
}

/* All of a disk is synced once for many files, which is faster than each of them. */
static int sync_staged(const struct files *f, const struct file_staged *list, size_t count, struct error *e)
{
    cleanup_fd int fd = open(count == 1 ? list[0].path : f->scratch, O_RDONLY | O_CLOEXEC);

    return fd < 0 || (count == 1 ? fdatasync(fd) : syncfs(fd)) < 0
               ? error_errno(e, "cannot sync %s", f->scratch)
               : 0;
}

static int keep_all(struct files *f, const char *owner, struct file_staged *list, size_t count,
                    struct error *e)
{
    for (size_t i = 0; i < count; i++)
        if (keep_record(f, owner, &list[i].item, e) < 0)
            return -1;
    for (size_t i = 0; i < count; i++)
        if (keep_content(f, &list[i].item, list[i].path, e) < 0)
            return -1;
    return 0;
}

int files_keep(struct files *f, const char *owner, struct file_staged *list, size_t count, struct error *e)
{
    if (count == 0)
        return 0;
    if (sync_staged(f, list, count, e) < 0 || records_begin(f->records, e) < 0)
        return -1;
    int result = records_end(f->records, keep_all(f, owner, list, count, e), e);
    records_tidy(f->records);
    return result;
}

/* ---- looking --------------------------------------------------------------------------------------- */

static void read_item(const struct records_rows *rows, struct file_item *ret)
{
    snprintf(ret->digest, sizeof(ret->digest), "%s", records_get_text(rows, 0, NULL));
    digest_uuid(ret->digest, ret->uuid);
    ret->size = (uint64_t)records_get_number(rows, 1);
    ret->created = records_get_number(rows, 2);
}

int files_look_up(struct files *f, const char *owner, const char *name, struct file_item *ret,
                  struct error *e)
{
    cleanup_rows struct records_rows rows = {0};
    /* SQLite keeps the order of a CROSS JOIN, and would go through all files of the owner for a UUID. */
    cleanup_free char *question =
        text_format("SELECT digest, size, created FROM blobs CROSS JOIN files USING (digest)"
                    " WHERE owner = ? AND %s = ?",
                    strlen(name) == UUID_SIZE - 1 ? "uuid" : "digest");

    if (records_ask(&rows, f->records, question, RECORDS_VALUES(records_text(owner), records_text(name)), e) <
        0)
        return -1;
    int there = records_next(&rows, e);
    if (there > 0)
        read_item(&rows, ret);
    return there == 0 ? error_set(e, ERROR_NOT_FOUND, "there is no file %.80s", name) : there < 0 ? -1 : 0;
}

int files_find(struct files *f, const char *owner, const char *name, struct file_item *ret, struct error *e)
{
    if (records_begin(f->records, e) < 0)
        return -1;
    return records_end(f->records, files_look_up(f, owner, name, ret, e), e);
}

int files_open_content(const struct files *f, const struct file_item *item, struct error *e)
{
    cleanup_free char *path = content_path(f, item->digest);
    cleanup_fd int fd = file_open(path, O_RDONLY | O_NOFOLLOW, e);
    struct stat st;

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != item->size)
        return error_set(e, ERROR_CORRUPT, "%s is not what it was; upload the file again", path);
    return take_fd(&fd);
}

int files_each(struct files *f, const char *owner, bool (*visit)(const struct file_item *item, void *context),
               void *context, struct error *e)
{
    cleanup_rows struct records_rows rows = {0};
    struct file_item item;

    if (records_begin(f->records, e) < 0)
        return -1;
    int more = records_ask(&rows, f->records,
                           "SELECT digest, size, created FROM files JOIN blobs USING (digest) WHERE owner = ?"
                           " ORDER BY number DESC",
                           RECORDS_VALUES(records_text(owner)), e);
    bool go_on = true;
    while (more >= 0 && go_on && (more = records_next(&rows, e)) > 0) {
        read_item(&rows, &item);
        go_on = visit(&item, context);
    }
    records_done(&rows);
    return records_end(f->records, more < 0 ? -1 : 0, e);
}

/* ---- removing -------------------------------------------------------------------------------------- */

static int drop_blob(struct files *f, const struct file_item *i, struct error *e)
{
    cleanup_free char *path = content_path(f, i->digest);
    int gone = records_do(f->records,
                          "DELETE FROM blobs WHERE digest = ?1 AND NOT EXISTS"
                          " (SELECT 1 FROM files WHERE digest = ?1)",
                          RECORDS_VALUES(records_text(i->digest)), e);

    if (gone <= 0)
        return gone;
    if (unlink(path) < 0 && errno != ENOENT)
        return error_errno(e, "cannot remove %s", path);
    return charge_one(f, NULL, -cost_of(i->size), 0, e);
}

static int remove_item(struct files *f, const char *owner, const char *name, struct error *e)
{
    const struct records_value *values;
    struct file_item i;
    int64_t state = 0;

    if (files_look_up(f, owner, name, &i, e) < 0)
        return -1;
    values = RECORDS_VALUES(records_text(owner), records_text(i.digest));
    if (records_ask_number(f->records,
                           "SELECT number FROM states JOIN entries ON state = number"
                           " WHERE owner = ? AND entries.digest = ? LIMIT 1",
                           values, &state, e) < 0)
        return -1;
    if (state)
        return error_set(e, ERROR_REFUSED, "the directory state %lld has the file %s: remove that first",
                         (long long)state, i.uuid);
    if (records_do(f->records, "DELETE FROM files WHERE owner = ? AND digest = ?", values, e) < 0 ||
        charge_one(f, owner, -cost_of(i.size), 0, e) < 0)
        return -1;
    return drop_blob(f, &i, e);
}

int files_remove(struct files *f, const char *owner, const char *name, struct error *e)
{
    if (records_begin(f->records, e) < 0)
        return -1;
    return records_end(f->records, remove_item(f, owner, name, e), e);
}

static int sweep_one(struct files *f, int directory, const char *name, struct error *e)
{
    int64_t there = 0;

    if (records_ask_number(f->records, "SELECT count(*) FROM blobs WHERE digest = ?",
                           RECORDS_VALUES(records_text(name)), &there, e) < 0)
        return -1;
    return there == 0 && unlinkat(directory, name, 0) < 0 ? error_errno(e, "cannot remove %s", name) : 0;
}

int files_sweep(struct files *f, struct error *e)
{
    cleanup_free char *blobs = text_format("%s/blobs", f->directory);
    cleanup_dir DIR *dir = opendir(blobs);
    int result = 0;

    if (!dir)
        return error_errno(e, "cannot read %s", blobs);
    if (records_begin(f->records, e) < 0)
        return -1;
    for (struct dirent *d; result == 0 && (d = readdir(dir));)
        if (digest_is_hex(d->d_name))
            result = sweep_one(f, dirfd(dir), d->d_name, e);
    return records_end(f->records, result, e);
}

/* ---- doctor ---------------------------------------------------------------------------------------- */

static int check_records(const char *directory, bool sweep, struct error *e)
{
    struct files f;

    if (files_open(&f, directory, directory, &(struct files_limits){0}, e) < 0)
        return -1;
    int result = records_check(f.records, e);
    if (result == 0 && sweep)
        result = files_sweep(&f, e);
    files_close(&f);
    return result;
}

int files_examine(const char *directory, bool repair, char **ret_aside, struct error *e)
{
    *ret_aside = NULL;
    if (check_records(directory, false, e) == 0)
        return 0;
    if (!repair || e->kind != ERROR_CORRUPT)
        return -1;
    *e = (struct error){0};
    return records_put_aside(directory, &schema, ret_aside, e) < 0 ? -1 : check_records(directory, true, e);
}
