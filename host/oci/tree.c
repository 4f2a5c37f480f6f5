#include "oci/tree.h"

#include "base/cleanup.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int tree_path_parse(struct tree_path *ret, const char *path, struct error *e)
{
    size_t used = 0;

    *ret = (struct tree_path){.depth = 0};
    if (strlen(path) > TREE_PATH_MAX)
        return error_set(e, ERROR_GENERAL, "a path has more than %d bytes", TREE_PATH_MAX);
    while (*path) {
        size_t size = strcspn(path, "/");
        if (size == 2 && memcmp(path, "..", 2) == 0)
            return error_set(e, ERROR_GENERAL, "a path contains \"..\", which could leave the image");
        if (size > TREE_COMPONENT_MAX)
            return error_set(e, ERROR_GENERAL, "a name has more than %d bytes", TREE_COMPONENT_MAX);
        if (size > 0 && !(size == 1 && path[0] == '.')) {
            if (++ret->depth > TREE_DEPTH_MAX)
                return error_set(e, ERROR_GENERAL, "a path is more than %d directories deep", TREE_DEPTH_MAX);
            if (used > 0)
                ret->text[used++] = '/';
            memcpy(ret->text + used, path, size);
            used += size;
        }
        path += size;
        path += *path == '/';
    }
    ret->text[used] = '\0';
    return 0;
}

const char *tree_shown(const char *path, char out[static TREE_SHOWN_MAX + 8])
{
    size_t used = 0;

    for (; *path && used < TREE_SHOWN_MAX; path++) {
        unsigned char c = (unsigned char)*path;
        if (c >= 0x20 && c < 0x7f && c != '\\')
            out[used++] = (char)c;
        else
            used += (size_t)sprintf(out + used, "\\x%02x", c);
    }
    strcpy(out + used, *path ? "..." : "");
    return out;
}

static int open_below(int root, const char *path, uint64_t flags, uint64_t resolve)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = resolve | RESOLVE_NO_MAGICLINKS};
    long fd;

    do
        fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
    while (fd < 0 && (errno == EAGAIN || errno == EINTR));
    return (int)fd;
}

/* The real depth of a directory that was reached over symbolic links. */
static int check_depth(int root, int directory, struct error *e)
{
    struct stat top, here;
    cleanup_fd int fd = open_below(directory, ".", O_PATH | O_DIRECTORY, 0);

    if (fstat(root, &top) < 0)
        return error_errno(e, "stat");
    for (unsigned depth = 0; depth < TREE_DEPTH_MAX; depth++) {
        if (fd < 0 || fstat(fd, &here) < 0)
            return error_errno(e, "its directory");
        if (here.st_ino == top.st_ino && here.st_dev == top.st_dev)
            return 0;
        int up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        close_fd(&fd);
        fd = up;
    }
    return error_set(e, ERROR_GENERAL, "its directory is more than %d directories deep", TREE_DEPTH_MAX);
}

static int open_directory(int root, const char *path, enum tree_links links, struct error *e)
{
    const uint64_t flags = O_PATH | O_DIRECTORY;
    int fd = open_below(root, path, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);

    /* ENOTDIR: O_DIRECTORY on a symbolic link at the end. */
    if (fd < 0 && (errno == ELOOP || errno == ENOTDIR)) {
        fd = open_below(root, path, flags, links == TREE_BENEATH ? RESOLVE_BENEATH : RESOLVE_IN_ROOT);
        if (fd >= 0 && check_depth(root, fd, e) < 0) {
            close_fd(&fd);
            errno = 0;
            return -1;
        }
    }
    if (fd >= 0)
        return fd;
    int code = errno;
    if (code == EXDEV)
        error_set(e, ERROR_GENERAL, "its directory is a symbolic link that is absolute or leaves the image");
    else if (code == ENOTDIR)
        error_set(e, ERROR_GENERAL, "its directory is not a directory");
    else if (code == ELOOP)
        error_set(e, ERROR_GENERAL, "its directory is a loop of symbolic links");
    else if (code == ENOSYS)
        error_set(e, ERROR_GENERAL, "this needs openat2(2), Linux 5.6");
    else
        error_errno(e, "its directory");
    errno = code;
    return -1;
}

/* Makes the directories of path, one after the other. */
static int make_directories(int root, const char *path, enum tree_links links, struct error *e)
{
    char prefix[TREE_PATH_MAX + 1];
    int at = -1;

    for (const char *end = path;; end++) {
        if (*end && *end != '/')
            continue;
        size_t size = (size_t)(end - path);
        memcpy(prefix, path, size);
        prefix[size] = '\0';
        int next = open_directory(root, prefix, links, e);
        if (next < 0 && errno == ENOENT) {
            const char *name = strrchr(prefix, '/');
            if (mkdirat(at < 0 ? root : at, name ? name + 1 : prefix, 0755) < 0) {
                error_errno(e, "its directory cannot be made");
            } else {
                next = open_directory(root, prefix, links, e);
            }
        }
        close_fd(&at);
        if (next < 0 || !*end)
            return next;
        at = next;
    }
}

int tree_open_parent(int root, const struct tree_path *p, enum tree_links links, bool make,
                     const char **ret_name, struct error *e)
{
    char directory[TREE_PATH_MAX + 1] = ".";
    const char *slash = strrchr(p->text, '/');

    *ret_name = slash ? slash + 1 : p->text;
    if (slash) {
        memcpy(directory, p->text, (size_t)(slash - p->text));
        directory[slash - p->text] = '\0';
    }
    int fd = open_directory(root, directory, links, e);
    if (fd < 0 && errno == ENOENT && make)
        return make_directories(root, directory, links, e);
    return fd;
}

int tree_remove(int parent, const char *name, struct error *e)
{
    return file_remove_tree_at(parent, name) < 0 ? error_errno(e, "cannot be replaced") : 0;
}

int tree_make_directory(int parent, const char *name, struct error *e)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    struct stat st;

    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode)) {
        int fd = openat(parent, name, flags);
        return fd < 0 ? error_errno(e, "directory cannot be opened") : fd;
    }
    if (tree_remove(parent, name, e) < 0)
        return -1;
    int fd = mkdirat(parent, name, 0755) < 0 ? -1 : openat(parent, name, flags);
    return fd < 0 ? error_errno(e, "directory cannot be made") : fd;
}

int tree_make_file(int parent, const char *name, struct error *e)
{
    if (tree_remove(parent, name, e) < 0)
        return -1;
    int fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? error_errno(e, "file cannot be made") : fd;
}

int tree_write(int root, const char *path, mode_t mode, const void *data, size_t size, struct error *e)
{
    struct tree_path p;
    const char *name;

    if (tree_path_parse(&p, path, e) < 0)
        return -1;
    cleanup_fd int parent = tree_open_parent(root, &p, TREE_IN_ROOT, true, &name, e);
    cleanup_fd int fd = parent < 0 ? -1 : tree_make_file(parent, name, e);
    if (fd < 0)
        return error_wrap(e, "/%s in the image", path);
    if (file_write_fd(fd, data, size) < 0 || fchown(fd, 0, 0) < 0 || fchmod(fd, mode) < 0)
        return error_errno(e, "/%s in the image cannot be written", path);
    return 0;
}

/* Opens what the path names, which the last component may not lead away from; -1 with errno. */
static int open_at(int root, const char *path, int flags, struct error *e)
{
    struct tree_path p;
    const char *name;

    if (tree_path_parse(&p, path, e) < 0) {
        errno = EINVAL;
        return -1;
    }
    cleanup_fd int parent = tree_open_parent(root, &p, TREE_IN_ROOT, false, &name, e);
    int fd = parent < 0 ? -1 : openat(parent, name, flags | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        return fd;
    int code = errno;
    if (parent >= 0)
        error_errno(e, "cannot be opened");
    error_wrap(e, "/%s in the image", path);
    errno = code;
    return -1;
}

int tree_open_directory(int root, const char *path, struct error *e)
{
    return open_at(root, path, O_DIRECTORY, e);
}

int tree_read(int root, const char *path, size_t max, struct buffer *ret, struct error *e)
{
    cleanup_fd int fd = open_at(root, path, O_NONBLOCK, e);
    struct stat st;

    if (fd < 0)
        return errno == ENOENT || errno == ELOOP ? 0 : -1;
    if (fstat(fd, &st) < 0)
        return error_errno(e, "/%s in the image", path);
    return S_ISREG(st.st_mode) ? file_read_fd(fd, path, max, ret, e) : 0;
}
