#include "files/sync.h"

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/log.h"
#include "files/ignore.h"
#include "files/seen.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define DEPTH_MAX 200            /* directories within each other; each has an open file */
#define GITIGNORE_MAX (1u << 20) /* bytes of one */
#define BATCH_FILES 1000         /* files that are made the owner's at once */
#define BATCH_BYTES (256ull << 20)

struct scan {
    struct files *files;
    const char *owner, *path;
    const struct sync_options *options;
    struct ignore excludes; /* owned */
    int root;               /* owned */
    struct state_list *list;
    struct stat *stats; /* owned; of each of the list, by the order of finding */
    size_t stats_capacity;
    struct sync_count *count;
};

static int check_cancel(const struct cancel *cancel, struct error *e)
{
    struct pollfd p = {.fd = cancel ? cancel->fd : -1, .events = POLLIN};

    return poll(&p, 1, 0) > 0 ? error_set(e, ERROR_CANCELLED, "interrupted") : 0;
}

/* ---- what there is ---------------------------------------------------------------------------------- */

static void note_stat(struct scan *s, const struct stat *st)
{
    if (s->list->count > s->stats_capacity) {
        struct stat *more = memory_allocate(s->list->capacity * sizeof(*more));
        if (s->stats_capacity)
            memcpy(more, s->stats, s->stats_capacity * sizeof(*more));
        free(s->stats);
        s->stats = more;
        s->stats_capacity = s->list->capacity;
    }
    s->stats[s->list->count - 1] = *st;
}

static int read_target(int dir, const char *name, char **ret, struct error *e)
{
    char target[STATES_PATH_MAX + 1];
    ssize_t n = readlinkat(dir, name, target, sizeof(target) - 1);

    if (n < 0)
        return error_errno(e, "cannot read the symlink %.200s", name);
    target[n] = '\0';
    *ret = text_copy(target);
    return 0;
}

static int add_found(struct scan *s, int dir, const char *name, const char *path, const struct stat *st,
                     struct error *e)
{
    struct state_entry one = {.mode = st->st_mode & (S_IFMT | 07777)};

    if (S_ISLNK(st->st_mode) && read_target(dir, name, &one.target, e) < 0)
        return -1;
    if (S_ISREG(st->st_mode))
        memset(one.digest, '?', 1); /* until it is known */
    if (S_ISLNK(st->st_mode))
        one.mode = S_IFLNK | 0777;
    one.path = text_copy(path);
    if (state_list_add(s->list, &one, e) < 0)
        return -1;
    note_stat(s, st);
    return 0;
}

static int walk(struct scan *s, int dir_fd, const char *base, const struct ignore *above, unsigned depth,
                struct error *e);

static int look_at(struct scan *s, int dir, const char *name, const char *base, const struct ignore *rules,
                   unsigned depth, struct error *e)
{
    cleanup_free char *path = text_format("%s%s", base, name);
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : error_errno(e, "cannot look at %.200s", path);
    int excluded = ignore_match(&s->excludes, path, S_ISDIR(st.st_mode));
    if ((excluded ? excluded : ignore_match(rules, path, S_ISDIR(st.st_mode))) > 0)
        return 0;
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode)) {
        s->count->left_out++;
        return 0;
    }
    if (add_found(s, dir, name, path, &st, e) < 0)
        return -1;
    if (!S_ISDIR(st.st_mode))
        return 0;
    int child = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (child < 0)
        return error_errno(e, "cannot read the directory %.200s", path);
    cleanup_free char *below = text_format("%s/", path);
    return walk(s, child, below, rules, depth + 1, e);
}

/* Fills in what a directory's .gitignore says, if there is one. */
static int read_rules(int dir, const char *base, const struct ignore *above, struct ignore *ret,
                      struct error *e)
{
    cleanup_fd int fd = openat(dir, ".gitignore", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    cleanup_buffer struct buffer text = {0};
    struct stat st;

    *ret = (struct ignore){.base = text_copy(base), .above = above};
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    if (file_read_fd(fd, ".gitignore", GITIGNORE_MAX, &text, e) < 0)
        return error_wrap(e, "in %s", base[0] ? base : "the directory");
    if (text.size)
        ignore_add_lines(ret, text.data, text.size);
    return 0;
}

static int walk_entries(struct scan *s, DIR *dir, const char *base, const struct ignore *rules,
                        unsigned depth, struct error *e)
{
    struct dirent *d;
    int result = 0;

    while (result == 0 && (errno = 0, d = readdir(dir))) {
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 ||
            (s->options->gitignore && strcmp(d->d_name, ".git") == 0))
            continue;
        result = look_at(s, dirfd(dir), d->d_name, base, rules, depth, e);
    }
    return result == 0 && errno ? error_errno(e, "cannot read the directory %s", base) : result;
}

/* Takes dir_fd over. base: its path with a slash at the end, or "". */
static int walk(struct scan *s, int dir_fd, const char *base, const struct ignore *above, unsigned depth,
                struct error *e)
{
    cleanup_dir DIR *dir = fdopendir(dir_fd);
    struct ignore own = {0};
    int result = 0;

    if (!dir) {
        close(dir_fd);
        return error_errno(e, "cannot read the directory %s", base);
    }
    if (depth > DEPTH_MAX)
        return error_set(e, ERROR_USAGE, "directories are more than %d deep at %.200s", DEPTH_MAX, base);
    if (check_cancel(s->options->cancel, e) < 0)
        return -1;
    if (s->options->gitignore)
        result = read_rules(dirfd(dir), base, above, &own, e);
    if (result == 0)
        result = walk_entries(s, dir, base, own.count ? &own : above, depth, e);
    ignore_done(&own);
    return result;
}

/* ---- what it holds ---------------------------------------------------------------------------------- */

static bool is_unknown(const struct state_entry *i)
{
    return i->digest[0] == '?';
}

/* The digests that are known from an earlier time, of content that is there where it has to be. */
static int recall(struct scan *s, struct error *e)
{
    struct error missing = {0};
    struct file_item item;
    int result = 0;

    if (records_begin(s->files->records, e) < 0)
        return -1;
    for (size_t i = 0; result == 0 && i < s->list->count; i++) {
        struct state_entry *one = &s->list->entries[i];
        char digest[DIGEST_HEX_SIZE];
        if (!is_unknown(one))
            continue;
        int known = seen_find(s->files, &s->stats[i], digest, e);
        if (known < 0)
            result = -1;
        else if (known > 0 &&
                 (!s->options->keep || files_look_up(s->files, s->owner, digest, &item, &missing) == 0))
            memcpy(one->digest, digest, sizeof(digest));
    }
    return records_end(s->files->records, result, e);
}

int sync_open(int root, const char *path, struct error *e)
{
    const struct open_how how = {.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                                 .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH};
    cleanup_free char *plain = text_format("%.300s", path);
    cleanup_fd int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
    struct stat st;

    text_make_plain(plain);
    if (fd < 0)
        return error_errno(e, "cannot read %s", plain);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return error_set(e, ERROR_GENERAL, "%s has become something else meanwhile", plain);
    return take_fd(&fd);
}

/* Files of which the content is read, and that are remembered together. */
struct batch {
    struct file_staged staged[BATCH_FILES];
    size_t which[BATCH_FILES];
    size_t count;
    uint64_t bytes;
    int64_t now; /* before the first was read */
};

static int keep_batch(struct scan *s, struct batch *b, struct error *e)
{
    int result = s->options->keep ? files_keep(s->files, s->owner, b->staged, b->count, e) : 0;

    if (result == 0)
        result = records_begin(s->files->records, e);
    if (result == 0) {
        for (size_t i = 0; result == 0 && i < b->count; i++)
            result = seen_put(s->files, &s->stats[b->which[i]], b->now, b->staged[i].item.digest, e);
        result = records_end(s->files->records, result, e);
    }
    for (size_t i = 0; i < b->count; i++)
        file_staged_done(&b->staged[i]);
    b->count = 0;
    b->bytes = 0;
    return result;
}

/* Before the first byte is read: who writes to it meanwhile changes its time. */
static int read_content(struct scan *s, size_t i, struct file_staged *ret, struct error *e)
{
    struct state_entry *one = &s->list->entries[i];
    cleanup_fd int fd = sync_open(s->root, one->path, e);

    if (fd < 0)
        return -1;
    fstat(fd, &s->stats[i]);
    s->count->read++;
    int result = s->options->keep ? files_stage(s->files, fd, one->path, ret, e)
                                  : digest_fd(fd, s->options->cancel, ret->item.digest, e);
    if (result < 0)
        return -1;
    memcpy(one->digest, ret->item.digest, sizeof(one->digest));
    return check_cancel(s->options->cancel, e);
}

static int read_unknown(struct scan *s, struct error *e)
{
    cleanup_free struct batch *b = memory_allocate(sizeof(*b));
    int result = 0;

    b->now = clock_realtime_ns();
    for (size_t i = 0; result == 0 && i < s->list->count; i++) {
        if (!is_unknown(&s->list->entries[i]))
            continue;
        b->which[b->count] = i;
        result = read_content(s, i, &b->staged[b->count++], e);
        b->bytes += (uint64_t)s->stats[i].st_size;
        if (result == 0 && (b->count == BATCH_FILES || b->bytes > BATCH_BYTES)) {
            result = keep_batch(s, b, e);
            b->now = clock_realtime_ns();
        }
    }
    if (result == 0)
        result = keep_batch(s, b, e);
    for (size_t i = 0; i < b->count; i++)
        file_staged_done(&b->staged[i]);
    return result;
}

static int scan_all(struct scan *s, struct error *e)
{
    int dir = fcntl(s->root, F_DUPFD_CLOEXEC, 3);

    if (dir < 0)
        return error_errno(e, "cannot open %s", s->path);
    if (walk(s, dir, "", NULL, 0, e) < 0 || recall(s, e) < 0 || read_unknown(s, e) < 0)
        return -1;
    for (size_t i = 0; i < s->list->count; i++) {
        struct state_entry *one = &s->list->entries[i];
        if (!S_ISREG(one->mode))
            continue;
        one->size = (uint64_t)s->stats[i].st_size;
        s->count->files++;
        s->count->bytes += one->size;
    }
    return state_list_order(s->list, e);
}

int sync_directory(struct files *f, const char *owner, const char *path, const struct sync_options *o,
                   struct state_list *ret, struct sync_count *ret_count, struct error *e)
{
    struct scan s = {.files = f, .owner = owner, .path = path, .options = o, .list = ret, .count = ret_count};

    *ret_count = (struct sync_count){0};
    for (const char *const *x = o->exclude; x && *x; x++)
        ignore_add(&s.excludes, *x, strlen(*x));
    s.root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = s.root < 0 ? error_errno(e, "cannot read the directory %s", path) : scan_all(&s, e);
    if (result < 0)
        state_list_done(ret);
    ignore_done(&s.excludes);
    free(s.stats);
    close_fd(&s.root);
    return result;
}
