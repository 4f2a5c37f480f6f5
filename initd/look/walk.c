#include "walk.h"

#include "tell.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static char below[LOOK_PATH_MAX + 1]; /* where the walk is */

static bool is_self(const char *name)
{
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static bool walk_directory(struct walk *w, int fd, unsigned depth);

static bool walk_node(struct walk *w, int directory, const char *name, unsigned depth)
{
    size_t at = strlen(below), size = strlen(name);
    struct stat st;

    if (at + 1 + size > LOOK_PATH_MAX || fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        w->skipped++;
        return true;
    }
    if (at)
        below[at] = '/';
    memcpy(below + at + (at > 0), name, size + 1);
    bool more = w->visit(w, directory, name, below, &st);
    if (more && S_ISDIR(st.st_mode)) {
        int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        more = walk_directory(w, fd, depth + 1);
    }
    below[at] = '\0';
    return more;
}

/* Takes fd. */
static bool walk_directory(struct walk *w, int fd, unsigned depth)
{
    DIR *d = fd < 0 || depth > LOOK_DEPTH_MAX ? NULL : fdopendir(fd);
    struct dirent *entry;
    bool more = true;

    if (!d) {
        w->skipped++;
        close(fd);
        return true;
    }
    for (errno = 0; more && (entry = readdir(d)); errno = 0)
        if (!is_self(entry->d_name))
            more = walk_node(w, dirfd(d), entry->d_name, depth);
    w->skipped += more && errno;
    closedir(d);
    return more;
}

bool walk_run(struct walk *w, const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0)
        tell_failed(path);
    if (!w->visit(w, AT_FDCWD, path, "", &st))
        return false;
    return !S_ISDIR(st.st_mode) || walk_directory(w, open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), 1);
}

const char *walk_target(int directory, const char *name)
{
    static char target[LOOK_PATH_MAX + 1];
    ssize_t size = readlinkat(directory, name, target, sizeof(target) - 1);

    if (size < 0)
        return NULL;
    target[size] = '\0';
    return target;
}
