#include "files/states.h"

#include "base/cleanup.h"

#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* ---- lists ----------------------------------------------------------------------------------------- */

/* path as it may be told to people; the caller frees it. */
static char *plain_path(const char *path)
{
    char *plain = text_format("%.200s", path);

    return text_make_plain(plain);
}

static int refuse_path(const char *path, const char *why, struct error *e)
{
    cleanup_free char *plain = plain_path(path);

    return error_set(e, ERROR_USAGE, "\"%s\" %s", plain, why);
}

static int check_path(const char *path, struct error *e)
{
    if (strlen(path) >= STATES_PATH_MAX)
        return refuse_path(path, "is longer than a path may be", e);
    for (const char *name = path;; name++) {
        size_t size = strcspn(name, "/");
        if (size == 0 || strncmp(name, ".", size) == 0 || strncmp(name, "..", size) == 0)
            return refuse_path(path, "must be relative, without empty names, \".\" and \"..\"", e);
        if (size > STATES_NAME_MAX)
            return refuse_path(path, "has a name that is longer than 255 bytes", e);
        name += size;
        if (!*name)
            return 0;
    }
}

static int check_entry(const struct state_entry *i, struct error *e)
{
    bool regular = S_ISREG(i->mode), link = S_ISLNK(i->mode);

    if (check_path(i->path, e) < 0)
        return -1;
    if ((!regular && !link && !S_ISDIR(i->mode)) || (i->mode & ~(uint32_t)(S_IFMT | 07777)))
        return refuse_path(i->path, "is no regular file, directory or symlink", e);
    if (regular != (i->digest[0] != '\0') || link != (i->target != NULL))
        return refuse_path(i->path, "needs content where it is a file, and a target where it is a symlink",
                           e);
    if (link && (!i->target[0] || strlen(i->target) >= STATES_PATH_MAX))
        return refuse_path(i->path, "points to nothing, or to a path that is too long", e);
    return 0;
}

int state_list_add(struct state_list *l, const struct state_entry *entry, struct error *e)
{
    int result =
        l->count == STATES_ENTRIES_MAX
            ? error_set(e, ERROR_USAGE, "a directory state holds at most %d entries", STATES_ENTRIES_MAX)
            : check_entry(entry, e);

    if (result < 0) {
        free(entry->path);
        free(entry->target);
        return -1;
    }
    if (l->count == l->capacity) {
        l->capacity = l->capacity ? 2 * l->capacity : 64;
        struct state_entry *more = memory_allocate(l->capacity * sizeof(*more));
        if (l->count)
            memcpy(more, l->entries, l->count * sizeof(*more));
        free(l->entries);
        l->entries = more;
    }
    l->entries[l->count++] = *entry;
    return 0;
}

void state_list_done(struct state_list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        free(l->entries[i].path);
        free(l->entries[i].target);
    }
    free(l->entries);
    *l = (struct state_list){0};
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct state_entry *)a)->path, ((const struct state_entry *)b)->path);
}

/* All that holds the entry and is listed is a directory. */
static int check_parents(const struct state_list *l, const char *path, struct error *e)
{
    cleanup_free char *above = text_copy(path);

    for (char *slash; (slash = strrchr(above, '/'));) {
        *slash = '\0';
        const struct state_entry wanted = {.path = above};
        const struct state_entry *p = bsearch(&wanted, l->entries, l->count, sizeof(wanted), compare_entries);
        if (p)
            return S_ISDIR(p->mode) ? 0 : refuse_path(path, "is in something that is no directory", e);
    }
    return 0;
}

int state_list_order(struct state_list *l, struct error *e)
{
    if (l->count)
        qsort(l->entries, l->count, sizeof(l->entries[0]), compare_entries);
    for (size_t i = 0; i < l->count; i++) {
        const char *path = l->entries[i].path;
        if (i > 0 && strcmp(l->entries[i - 1].path, path) == 0)
            return refuse_path(path, "is there twice", e);
        if (check_parents(l, path, e) < 0)
            return -1;
    }
    return 0;
}

/* What is equal has this in common. */
static void digest_list(const struct state_list *l, char ret[static DIGEST_HEX_SIZE])
{
    cleanup_buffer struct buffer all = {0};

    for (size_t i = 0; i < l->count; i++) {
        const struct state_entry *one = &l->entries[i];
        buffer_add(&all, one->path, strlen(one->path) + 1);
        buffer_add_text(&all, "%o %s", one->mode, one->digest);
        if (one->target)
            buffer_add(&all, one->target, strlen(one->target));
        buffer_add(&all, "", 1);
    }
    digest_bytes(all.data ? all.data : "", all.size, ret);
}

/* ---- in a transaction ------------------------------------------------------------------------------ */

static struct records_value records_bytes(const char *text)
{
    return records_text_of(text, text ? strlen(text) : 0);
}

static int insert_entry(struct files *f, int64_t state, const struct state_entry *i, struct error *e)
{
    return records_do(f->records, "INSERT INTO entries VALUES (?, ?, ?, ?, ?)",
                      RECORDS_VALUES(records_number(state), records_bytes(i->path), records_number(i->mode),
                                     records_text(i->digest[0] ? i->digest : NULL), records_bytes(i->target)),
                      e);
}

/* Sizes of the files, and what the state costs. */
static int measure(struct files *f, const char *owner, struct state_list *l, struct state *s,
                   int64_t *ret_cost, struct error *e)
{
    struct file_item item;

    *ret_cost = 0;
    for (size_t i = 0; i < l->count; i++) {
        struct state_entry *one = &l->entries[i];
        *ret_cost +=
            STATES_ENTRY_COST + (int64_t)strlen(one->path) + (one->target ? (int64_t)strlen(one->target) : 0);
        if (!one->digest[0])
            continue;
        if (files_look_up(f, owner, one->digest, &item, e) < 0)
            return -1;
        one->size = item.size;
        s->files++;
        s->bytes += item.size;
    }
    return 0;
}

static int insert_state(struct files *f, const char *owner, const char *digest, const struct state_list *l,
                        int64_t cost, struct state *s, struct error *e)
{
    s->created = time(NULL);
    if (records_do(
            f->records,
            "INSERT INTO states (owner, digest, files, bytes, cost, created) VALUES (?, ?, ?, ?, ?, ?)",
            RECORDS_VALUES(records_text(owner), records_text(digest), records_number((int64_t)s->files),
                           records_number((int64_t)s->bytes), records_number(cost),
                           records_number(s->created)),
            e) < 0)
        return -1;
    s->number = records_last_number(f->records);
    for (size_t i = 0; i < l->count; i++)
        if (insert_entry(f, s->number, &l->entries[i], e) < 0)
            return -1;
    return files_charge(f, owner, cost, e);
}

#define STATE_COLUMNS "number, files, bytes, created"

static void read_state(const struct records_rows *rows, struct state *ret)
{
    *ret = (struct state){.number = records_get_number(rows, 0),
                          .files = (uint64_t)records_get_number(rows, 1),
                          .bytes = (uint64_t)records_get_number(rows, 2),
                          .created = records_get_number(rows, 3)};
}

/* 1: there is one. */
static int look_for_state(struct files *f, const char *question, const struct records_value *values,
                          struct state *ret, struct error *e)
{
    cleanup_rows struct records_rows rows = {0};

    if (records_ask(&rows, f->records, question, values, e) < 0)
        return -1;
    int there = records_next(&rows, e);
    if (there > 0)
        read_state(&rows, ret);
    return there;
}

static int make_state(struct files *f, const char *owner, struct state_list *l, struct state *ret,
                      struct error *e)
{
    char digest[DIGEST_HEX_SIZE];
    struct state s = {0};
    int64_t cost;

    digest_list(l, digest);
    if (measure(f, owner, l, &s, &cost, e) < 0)
        return -1;
    int there = look_for_state(f, "SELECT " STATE_COLUMNS " FROM states WHERE owner = ? AND digest = ?",
                               RECORDS_VALUES(records_text(owner), records_text(digest)), ret, e);
    if (there != 0)
        return there < 0 ? -1 : 0;
    if (insert_state(f, owner, digest, l, cost, &s, e) < 0)
        return -1;
    *ret = s;
    return 0;
}

static int find_state(struct files *f, const char *owner, int64_t number, struct state *ret, struct error *e)
{
    int there = look_for_state(f, "SELECT " STATE_COLUMNS " FROM states WHERE owner = ? AND number = ?",
                               RECORDS_VALUES(records_text(owner), records_number(number)), ret, e);

    return there == 0  ? error_set(e, ERROR_NOT_FOUND, "there is no directory state %lld", (long long)number)
           : there < 0 ? -1
                       : 0;
}

static int read_entries(struct files *f, int64_t number, struct state_list *l, struct error *e)
{
    cleanup_rows struct records_rows rows = {0};
    int more =
        records_ask(&rows, f->records,
                    "SELECT path, mode, digest, target, size FROM entries LEFT JOIN blobs USING (digest)"
                    " WHERE state = ? ORDER BY path",
                    RECORDS_VALUES(records_number(number)), e);

    while (more >= 0 && (more = records_next(&rows, e)) > 0) {
        const char *digest = records_get_text(&rows, 2, NULL);
        struct state_entry one = {.path = text_copy(records_get_text(&rows, 0, NULL)),
                                  .mode = (uint32_t)records_get_number(&rows, 1),
                                  .target = text_copy(records_get_text(&rows, 3, NULL)),
                                  .size = (uint64_t)records_get_number(&rows, 4)};
        snprintf(one.digest, sizeof(one.digest), "%s", digest ? digest : "");
        if (state_list_add(l, &one, e) < 0)
            return -1;
    }
    return more;
}

/* ---- states ---------------------------------------------------------------------------------------- */

int states_make(struct files *f, const char *owner, struct state_list *l, struct state *ret, struct error *e)
{
    if (records_begin(f->records, e) < 0)
        return -1;
    int result = records_end(f->records, make_state(f, owner, l, ret, e), e);
    records_tidy(f->records);
    return result;
}

int states_find(struct files *f, const char *owner, int64_t number, struct state *ret, struct state_list *l,
                struct error *e)
{
    if (records_begin(f->records, e) < 0)
        return -1;
    int result = find_state(f, owner, number, ret, e);
    if (result == 0 && l)
        result = read_entries(f, number, l, e);
    if (result < 0 && l)
        state_list_done(l);
    return records_end(f->records, result, e);
}

int states_each(struct files *f, const char *owner, void (*visit)(const struct state *s, void *context),
                void *context, struct error *e)
{
    cleanup_rows struct records_rows rows = {0};
    struct state s;

    if (records_begin(f->records, e) < 0)
        return -1;
    int more = records_ask(&rows, f->records,
                           "SELECT " STATE_COLUMNS " FROM states WHERE owner = ? ORDER BY number DESC",
                           RECORDS_VALUES(records_text(owner)), e);
    while (more >= 0 && (more = records_next(&rows, e)) > 0) {
        read_state(&rows, &s);
        visit(&s, context);
    }
    records_done(&rows);
    return records_end(f->records, more, e);
}

static int remove_state(struct files *f, const char *owner, int64_t number, struct error *e)
{
    const struct records_value *values = RECORDS_VALUES(records_number(number));
    struct state s;
    int64_t cost = 0;

    if (find_state(f, owner, number, &s, e) < 0 ||
        records_ask_number(f->records, "SELECT cost FROM states WHERE number = ?", values, &cost, e) < 0 ||
        records_do(f->records, "DELETE FROM entries WHERE state = ?", values, e) < 0 ||
        records_do(f->records, "DELETE FROM states WHERE number = ?", values, e) < 0)
        return -1;
    return files_charge(f, owner, -cost, e);
}

int states_remove(struct files *f, const char *owner, int64_t number, struct error *e)
{
    if (records_begin(f->records, e) < 0)
        return -1;
    return records_end(f->records, remove_state(f, owner, number, e), e);
}
