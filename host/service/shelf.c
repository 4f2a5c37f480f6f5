#include "service/shelf.h"

#include "base/cleanup.h"
#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static char *file_path(const struct shelf *s, const char *table, int64_t number)
{
    return text_format("%s/%s-%lld", s->directory, table, (long long)number);
}

int shelf_put(const struct shelf *s, const char *table, int64_t number, const char *text, size_t size,
              struct error *e)
{
    cleanup_free char *path = file_path(s, table, number);
    cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

    /* Not synced: the record is not, either, and a power cut takes what is worked on with it. */
    if (fd >= 0 && file_write_fd(fd, text, size) == 0)
        return 0;
    error_errno(e, "cannot write %s", path);
    unlink(path);
    return -1;
}

int shelf_get(const struct shelf *s, const char *table, int64_t number, size_t size, struct buffer *ret,
              struct error *e)
{
    cleanup_free char *path = file_path(s, table, number);

    if (file_read(path, size, ret, e) < 0)
        return -1;
    return ret->size == size ? 0 : error_set(e, ERROR_CORRUPT, "%s is shorter than it was", path);
}

int shelf_drop(const struct shelf *s, const char *table, const char *statement,
               const struct records_value *values, struct error *e)
{
    cleanup_rows struct records_rows rows = {0};
    cleanup_free char *returning = text_format("%s RETURNING number, filed", statement);
    int more = records_ask(&rows, s->records, returning, values, e), count = 0;

    for (; more >= 0 && (more = records_next(&rows, e)) > 0; count++) {
        cleanup_free char *path = file_path(s, table, records_get_number(&rows, 0));
        if (records_get_number(&rows, 1))
            unlink(path);
    }
    return more < 0 ? -1 : count;
}

static bool has_record(const struct shelf *s, const char *table, uint64_t number)
{
    cleanup_free char *question = text_format("SELECT count(*) FROM %s WHERE number = ? AND filed", table);
    struct error ignored = {0};
    int64_t count;

    return records_ask_number(s->records, question, RECORDS_VALUES(records_number((int64_t)number)), &count,
                              &ignored) < 0 ||
           count > 0;
}

/* Whether the name is that of a file on the shelf whose record is not there. */
static bool is_stray(const struct shelf *s, const char *name)
{
    static const char *const tables[] = {"operations", "keys"};

    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        size_t size = strlen(tables[i]);
        uint64_t number;
        if (strncmp(name, tables[i], size) == 0 && name[size] == '-' &&
            text_to_u64(name + size + 1, 1, INT64_MAX, &number))
            return !has_record(s, tables[i], number);
    }
    return false;
}

int shelf_clean(const struct shelf *s, struct error *e)
{
    if (records_begin(s->records, e) < 0)
        return -1;
    cleanup_dir DIR *dir = opendir(s->directory);
    for (struct dirent *d; dir && (d = readdir(dir));)
        if (is_stray(s, d->d_name))
            unlinkat(dirfd(dir), d->d_name, 0);
    return records_end(s->records, 0, e);
}
