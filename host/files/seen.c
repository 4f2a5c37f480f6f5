#include "files/seen.h"

#include <stdio.h>

/* Times of files are as coarse as the kernel's clock ticks, 10 ms at most; whole seconds are a filesystem's that knows no
 * finer ones. */
#define TICK_NS 20000000
#define COARSE_NS 2000000000

static int64_t time_of(const struct timespec *t)
{
    return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

int seen_find(struct files *f, const struct stat *st, char ret[static DIGEST_HEX_SIZE], struct error *e)
{
    cleanup_rows struct records_rows rows = {0};

    if (records_ask(
            &rows, f->records,
            "SELECT digest FROM seen WHERE device = ? AND inode = ? AND size = ? AND mtime = ? AND ctime = ?",
            RECORDS_VALUES(records_number((int64_t)st->st_dev), records_number((int64_t)st->st_ino),
                           records_number(st->st_size), records_number(time_of(&st->st_mtim)),
                           records_number(time_of(&st->st_ctim))),
            e) < 0)
        return -1;
    int there = records_next(&rows, e);
    if (there > 0)
        snprintf(ret, DIGEST_HEX_SIZE, "%s", records_get_text(&rows, 0, NULL));
    return there;
}

int seen_put(struct files *f, const struct stat *st, int64_t now, const char *digest, struct error *e)
{
    int64_t changed = time_of(&st->st_ctim);

    if (now - changed < (st->st_ctim.tv_nsec ? TICK_NS : COARSE_NS))
        return 0;
    return records_do(f->records, "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?, ?)",
                      RECORDS_VALUES(records_number((int64_t)st->st_dev), records_number((int64_t)st->st_ino),
                                     records_number(st->st_size), records_number(time_of(&st->st_mtim)),
                                     records_number(changed), records_text(digest)),
                      e) < 0
               ? -1
               : 0;
}
