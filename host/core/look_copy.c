#include "core/look_copy.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "core/look_tar.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

struct copy {
    const char *path; /* that was asked for */
    char *scratch;    /* where all is made, beside the destination */
    bool recursive;
    bool is_directory;
    int root;   /* of a directory that is copied */
    int parent; /* the directory of the last node below it, whose path is parent_path */
    char *parent_path;
    int file; /* that gets content; -1: none */
    uint64_t left_out;
};

static int open_place(int at, const char *name)
{
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* A component at a time: no symbolic link leads anywhere. -1 with errno. */
static int open_below(int root, const char *path, size_t size)
{
    cleanup_free char *rest = text_format("%.*s", (int)size, path);
    char *state = NULL;
    int at = open_place(root, ".");

    for (char *part = strtok_r(rest, "/", &state); part && at >= 0; part = strtok_r(NULL, "/", &state)) {
        int next = open_place(at, part);
        close_fd(&at);
        at = next;
    }
    return at;
}

/* The directory that the node is in. */
static int enter_parent(struct copy *c, const char *path, const char **ret_name, struct error *e)
{
    const char *slash = strrchr(path, '/');
    size_t size = slash ? (size_t)(slash - path) : 0;

    *ret_name = slash ? slash + 1 : path;
    if (c->parent_path && strlen(c->parent_path) == size && memcmp(c->parent_path, path, size) == 0)
        return 0;
    close_fd(&c->parent);
    free(c->parent_path);
    c->parent_path = NULL;
    c->parent = open_below(c->root, path, size);
    if (c->parent < 0)
        return error_errno(e, "cannot open the directory of the copy of %s", path);
    c->parent_path = text_format("%.*s", (int)size, path);
    return 0;
}

static int make_node(struct copy *c, int at, const char *name, const struct look_file *f)
{
    const mode_t mode = f->mode & 0777;

    if (S_ISDIR(f->mode))
        return mkdirat(at, name, mode | 0700);
    if (S_ISLNK(f->mode))
        return symlinkat(f->target, at, name);
    c->file = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    return c->file < 0 ? -1 : 0;
}

static int make_top(struct copy *c, const struct look_file *f, struct error *e)
{
    c->is_directory = S_ISDIR(f->mode);
    if (c->is_directory && !c->recursive)
        return error_set(e, ERROR_USAGE, "%s is a directory; -r copies it with all below it", c->path);
    if (!c->is_directory && !S_ISREG(f->mode))
        return error_set(e, ERROR_USAGE, "%s is a %s, which cannot be copied", c->path,
                         look_type_name(f->mode));
    if (make_node(c, AT_FDCWD, c->scratch, f) < 0)
        return error_errno(e, "cannot make %s", c->scratch);
    if (c->is_directory && (c->root = open_place(AT_FDCWD, c->scratch)) < 0)
        return error_errno(e, "cannot open %s", c->scratch);
    return 0;
}

static int copy_file(void *copy, const struct look_file *f, struct error *e)
{
    struct copy *c = copy;
    const char *name;

    close_fd(&c->file);
    if (!f->name[0])
        return make_top(c, f, e);
    if (!S_ISREG(f->mode) && !S_ISDIR(f->mode) && !S_ISLNK(f->mode)) {
        c->left_out++;
        return 0;
    }
    if (enter_parent(c, f->name, &name, e) < 0)
        return -1;
    return make_node(c, c->parent, name, f) < 0 ? error_errno(e, "cannot make the copy of %s", f->name) : 0;
}

static int copy_data(void *copy, const void *data, size_t size, struct error *e)
{
    struct copy *c = copy;

    return file_write_fd(c->file, data, size) < 0 ? error_errno(e, "cannot write the copy of %s", c->path)
                                                  : 0;
}

static bool is_directory(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Where the copy goes; NULL with an error. The caller frees it. */
static char *place_of(const char *path, const char *destination, struct error *e)
{
    if (!is_directory(destination))
        return text_copy(destination);
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (!name[0] || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        error_set(e, ERROR_USAGE, "%s is there already; name what \"%s\" is to be called", destination, path);
        return NULL;
    }
    return text_format("%s/%s", destination, name);
}

static char *scratch_beside(const char *place)
{
    const char *slash = strrchr(place, '/');
    uint64_t number = 0;

    if (getrandom(&number, sizeof(number), 0) < 0)
        number = (uint64_t)clock_monotonic_ns();
    return text_format("%.*s.capsid-%016llx", slash ? (int)(slash - place) + 1 : 0, place,
                       (unsigned long long)number);
}

static int put_in_place(const struct copy *c, const char *place, struct error *e)
{
    unsigned flags = c->is_directory ? RENAME_NOREPLACE : 0;

    return renameat2(AT_FDCWD, c->scratch, AT_FDCWD, place, flags) < 0
               ? error_errno(e, "cannot make %s", place)
               : 0;
}

static void close_all(struct copy *c)
{
    close_fd(&c->file);
    close_fd(&c->parent);
    close_fd(&c->root);
    free(c->parent_path);
}

int look_copy(struct look *l, const char *path, const char *destination, bool recursive, uint64_t bytes,
              struct look_end *ret, struct error *e)
{
    cleanup_free char *place = place_of(path, destination, e);
    cleanup_free char *scratch = place ? scratch_beside(place) : NULL;
    struct copy c = {
        .path = path, .scratch = scratch, .recursive = recursive, .root = -1, .parent = -1, .file = -1};
    const struct look_visitor visitor = {.on_file = copy_file, .on_data = copy_data, .context = &c};
    struct error ignored = {0};

    if (!place)
        return -1;
    int result = look_walk(l, path, bytes, &visitor, ret, e);
    close_all(&c);
    if (result == 0)
        result = put_in_place(&c, place, e);
    if (result < 0)
        file_remove_tree(scratch, &ignored);
    else
        ret->skipped += c.left_out;
    return result;
}
