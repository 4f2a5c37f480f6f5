#include "layers.h"

#include "entries.h"
#include "limits.h"
#include "sys.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define OPAQUE "trusted.overlay.opaque"

/* Not on the stack, of which each directory in another takes some. */
static char names[XATTR_LIST_MAX], value[XATTR_SIZE_MAX];

static int open_directory(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

static bool is_opaque(int directory)
{
    char is = 0;

    return fgetxattr(directory, OPAQUE, &is, 1) == 1 && is == 'y';
}

/* ---- whether anything changed ----------------------------------------------------------------- */

struct comparison {
    const int *lower_fds;
    unsigned lower_count;
    unsigned left;       /* how many directories may still be looked at */
    char path[PATH_MAX]; /* of the directory that is looked at, relative */
};

/* Beside those in which overlayfs keeps what is its own. */
static bool has_attributes(int directory)
{
    ssize_t size = flistxattr(directory, names, sizeof(names));

    for (ssize_t i = 0; i < size; i += (ssize_t)strlen(names + i) + 1)
        if (!text_starts(names + i, "trusted.overlay."))
            return true;
    return size < 0 && errno != EOPNOTSUPP;
}

static bool same_directory(int a, int b)
{
    struct stat x, y;

    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_mode == y.st_mode && x.st_uid == y.st_uid &&
           x.st_gid == y.st_gid && !has_attributes(a) && !has_attributes(b);
}

/* The directory of that path in the topmost layer that has one says the same as the one in the upper layer. *lowest is the lowest
 * layer of which anything is seen: at its parent, and then at itself. */
static bool same_below(const struct comparison *c, int upper, unsigned *lowest)
{
    bool found = false, same = false, hides = false;
    unsigned i = c->lower_count;

    while (!hides && i > *lowest) {
        int fd = open_directory(c->lower_fds[--i], c->path);
        if (fd == -ENOENT)
            continue;
        hides = fd < 0 || is_opaque(fd);
        if (!found)
            same = fd >= 0 && same_directory(upper, fd);
        found = true;
        sys_close(&fd);
    }
    *lowest = i;
    return same;
}

static bool is_changed_in(struct comparison *c, int directory, unsigned lowest, unsigned depth);

static bool is_changed_at(struct comparison *c, int at, const char *name, unsigned lowest, unsigned depth)
{
    size_t length = strlen(c->path);

    if (c->left == 0 || text_join(c->path + length, sizeof(c->path) - length, "/", name, NULL) < 0)
        return true;
    c->left--;
    int fd = open_directory(at, name);
    bool changed =
        fd < 0 || is_opaque(fd) || !same_below(c, fd, &lowest) || is_changed_in(c, fd, lowest, depth + 1);
    sys_close(&fd);
    c->path[length] = '\0';
    return changed;
}

static bool is_changed_in(struct comparison *c, int directory, unsigned lowest, unsigned depth)
{
    const struct sys_dirent *d;
    struct entries e;

    if (depth > LAYER_DEPTH_MAX)
        return true;
    entries_start(&e, directory);
    while ((d = entries_next(&e)))
        if (is_changed_at(c, directory, d->name, lowest, depth))
            return true;
    return e.size < 0;
}

bool layers_changed(int upper_fd, const int *lower_fds, unsigned lower_count)
{
    static struct comparison c;
    unsigned lowest = 0;

    c = (struct comparison){
        .lower_fds = lower_fds, .lower_count = lower_count, .left = LAYER_LOOKS_MAX, .path = "."};
    int fd = open_directory(upper_fd, ".");
    bool changed = fd < 0 || !same_below(&c, fd, &lowest) || is_changed_in(&c, fd, lowest, 0);
    sys_close(&fd);
    return changed;
}

/* ---- two in one ------------------------------------------------------------------------------- */

/* What is copied: from one directory to another of the same path. */
struct pair {
    int from, to;
    int links; /* a directory with the files that have several names, by their inode numbers */
};

static int fold_in(const struct pair *p, unsigned depth);

/* lsetxattr(2) takes no directory: so the working directory is it. */
static int copy_attributes(const struct pair *p, const char *name)
{
    if (fchdir(p->from) < 0)
        return -errno;
    ssize_t size = llistxattr(name, names, sizeof(names));
    for (ssize_t i = 0; i < size; i += (ssize_t)strlen(names + i) + 1) {
        if (fchdir(p->from) < 0)
            return -errno;
        ssize_t n = lgetxattr(name, names + i, value, sizeof(value));
        if (n < 0 || fchdir(p->to) < 0 || lsetxattr(name, names + i, value, (size_t)n, 0) < 0)
            return -errno;
    }
    return size < 0 ? -errno : 0;
}

/* Owner before mode: chown(2) takes away the bits that give rights. Times last. */
static int copy_metadata(const struct pair *p, const char *name, const struct stat *st)
{
    const struct timespec times[] = {st->st_atim, st->st_mtim};

    if (fchownat(p->to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        (!S_ISLNK(st->st_mode) && fchmodat(p->to, name, st->st_mode & 07777, 0) < 0))
        return -errno;
    int r = copy_attributes(p, name);
    return r == 0 && utimensat(p->to, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : r;
}

static int copy_extents(int from, int to, off_t size)
{
    for (off_t at = 0; at < size;) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO) /* nothing but a hole follows */
            break;
        off_t end = data < 0 ? -1 : lseek(from, data, SEEK_HOLE);
        if (end < 0 || lseek(to, data, SEEK_SET) < 0)
            return -errno;
        while (data < end) {
            /* Not copy_file_range(2): between two filesystems that is EXDEV. */
            ssize_t n = sendfile(to, from, &data, (size_t)(end - data));
            if (n <= 0)
                return n < 0 ? -errno : -EIO;
        }
        at = end;
    }
    return ftruncate(to, size) < 0 ? -errno : 0;
}

static int copy_content(const struct pair *p, const char *name, const struct stat *st)
{
    int from = openat(p->from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int to = openat(p->to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int r = from < 0 || to < 0 ? -errno : copy_extents(from, to, st->st_size);

    sys_close(&from);
    sys_close(&to);
    return r;
}

static int copy_symlink(const struct pair *p, const char *name)
{
    ssize_t size = readlinkat(p->from, name, value, sizeof(value) - 1);

    if (size < 0)
        return -errno;
    value[size] = '\0';
    return symlinkat(value, p->to, name) < 0 ? -errno : 0;
}

static int copy_directory(const struct pair *p, const char *name, unsigned depth)
{
    if (mkdirat(p->to, name, 0700) < 0)
        return -errno;
    struct pair inside = {open_directory(p->from, name), open_directory(p->to, name), p->links};
    int r = inside.from < 0 ? inside.from : inside.to < 0 ? inside.to : fold_in(&inside, depth + 1);
    sys_close(&inside.from);
    sys_close(&inside.to);
    return r;
}

static int copy_new(const struct pair *p, const char *name, const struct stat *st, unsigned depth)
{
    int r;

    if (S_ISDIR(st->st_mode))
        r = copy_directory(p, name, depth);
    else if (S_ISREG(st->st_mode))
        r = copy_content(p, name, st);
    else if (S_ISLNK(st->st_mode))
        r = copy_symlink(p, name);
    else
        r = mknodat(p->to, name, st->st_mode, st->st_rdev) < 0 ? -errno : 0;
    return r < 0 ? r : copy_metadata(p, name, st);
}

/* A file with several names is copied once. */
static int copy_linked(const struct pair *p, const char *name, const struct stat *st, unsigned depth)
{
    char number[24];
    struct text t = text_of(number, sizeof(number));

    text_add_u64(&t, st->st_ino);
    if (linkat(p->links, number, p->to, name, 0) == 0)
        return 0;
    if (errno != ENOENT)
        return -errno;
    int r = copy_new(p, name, st, depth);
    return r == 0 && linkat(p->to, name, p->links, number, 0) < 0 ? -errno : r;
}

static int make_opaque(int directory)
{
    return fsetxattr(directory, OPAQUE, "y", 1, 0) < 0 ? -errno : 0;
}

static int fold_directories(const struct pair *p, const char *name, unsigned depth)
{
    struct pair inside = {open_directory(p->from, name), open_directory(p->to, name), p->links};
    int r = inside.from < 0 ? inside.from : inside.to < 0 ? inside.to : 0;

    if (r == 0 && !is_opaque(inside.to)) {
        r = fold_in(&inside, depth + 1);
        if (r == 0 && is_opaque(inside.from))
            r = make_opaque(inside.to);
    }
    sys_close(&inside.from);
    sys_close(&inside.to);
    return r;
}

/* What is no directory hides those below it, and a directory that was made above it is still alone then. */
static int fold_hidden(const struct pair *p, const char *name)
{
    int directory = open_directory(p->to, name);
    int r = directory < 0 ? directory : make_opaque(directory);

    sys_close(&directory);
    return r;
}

static int fold_entry(const struct pair *p, const char *name, unsigned depth)
{
    struct stat below, above;

    if (fstatat(p->from, name, &below, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (fstatat(p->to, name, &above, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT)
            return -errno;
        return S_ISDIR(below.st_mode) || below.st_nlink == 1 ? copy_new(p, name, &below, depth)
                                                             : copy_linked(p, name, &below, depth);
    }
    if (!S_ISDIR(above.st_mode))
        return 0;
    return S_ISDIR(below.st_mode) ? fold_directories(p, name, depth) : fold_hidden(p, name);
}

static int fold_entries(const struct pair *p, unsigned depth)
{
    const struct sys_dirent *d;
    struct entries e;
    int r = 0;

    entries_start(&e, p->from);
    while (r == 0 && (d = entries_next(&e)))
        r = fold_entry(p, d->name, depth);
    return r < 0 || e.size >= 0 ? r : (int)e.size;
}

/* What comes in does not change the directory's time. */
static int fold_in(const struct pair *p, unsigned depth)
{
    struct stat st;

    if (depth > LAYER_DEPTH_MAX)
        return -ELOOP;
    if (fstat(p->to, &st) < 0)
        return -errno;
    int r = fold_entries(p, depth);
    const struct timespec times[] = {st.st_atim, st.st_mtim};
    return r == 0 && futimens(p->to, times) < 0 ? -errno : r;
}

/* Beside the upper directory, where nothing of it is a layer. */
#define LINKS "../links"

static void remove_links(int upper_fd, int links)
{
    const struct sys_dirent *d;
    struct entries e;

    entries_start(&e, links);
    while ((d = entries_next(&e)))
        unlinkat(links, d->name, 0);
    sys_close(&links);
    unlinkat(upper_fd, LINKS, AT_REMOVEDIR);
}

int layers_fold(int lower_fd, int upper_fd)
{
    if (mkdirat(upper_fd, LINKS, 0700) < 0)
        return -errno;
    struct pair top = {open_directory(lower_fd, "."), open_directory(upper_fd, "."),
                       open_directory(upper_fd, LINKS)};
    int r = top.from < 0 ? top.from : top.to < 0 ? top.to : top.links < 0 ? top.links : fold_in(&top, 0);

    sys_close(&top.from);
    sys_close(&top.to);
    if (top.links >= 0)
        remove_links(upper_fd, top.links);
    return r;
}
