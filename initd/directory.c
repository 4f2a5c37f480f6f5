#include "directory.h"

#include "entries.h"
#include "file.h"
#include "limits.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIST_ENTRY_FIXED 24 /* mode, size, mtime and the size of the name */

/* False when the entry does not fit. */
static bool put_entry(struct wire_writer *w, int dir, const char *name)
{
    struct stat st;
    struct msg_file_info info;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return true; /* gone meanwhile */
    if ((size_t)(w->end - w->pos) < LIST_ENTRY_FIXED + strlen(name) + 1)
        return false;
    file_fill_info(&info, &st);
    wire_put_u32(w, info.mode);
    wire_put_u64(w, info.size);
    wire_put_u64(w, info.mtime_ns);
    wire_put_str(w, name);
    return true;
}

/* Puts entries until one does not fit. Returns 1 for the end of the directory, 0 for a full page, or -errno;
 * the cursor is the position after the last entry put. */
static int put_entries(struct wire_writer *w, int dir, uint64_t *cursor)
{
    struct entries entries;
    const struct sys_dirent *e;

    entries_start(&entries, dir);
    while ((e = entries_next(&entries))) {
        if (!put_entry(w, dir, e->name))
            return 0;
        *cursor = (uint64_t)e->offset;
    }
    return entries.size < 0 ? (int)entries.size : 1;
}

struct fault directory_list(const struct msg_list *m, uint8_t *buffer, size_t size, size_t *ret_size,
                            uint64_t *ret_cursor)
{
    struct wire_writer w = wire_writer_of(buffer, size);
    uint64_t cursor = m->cursor;

    if (m->path[0] != '/')
        return fault_of(PROTO_ERR_INVALID, "path is not absolute");
    int dir = open(m->path, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
    if (dir < 0)
        return fault_os(errno, "open");
    int r = cursor && lseek(dir, (off_t)cursor, SEEK_SET) < 0 ? -errno : put_entries(&w, dir, &cursor);
    close(dir);
    if (r < 0)
        return fault_os(r, "directory");
    *ret_size = (size_t)(w.pos - buffer);
    *ret_cursor = r == 1 ? 0 : cursor;
    return FAULT_NONE;
}

static int remove_at(int dir, const char *name)
{
    if (unlinkat(dir, name, 0) == 0)
        return 0;
    /* EISDIR is Linux's answer for a directory, EPERM that of POSIX. */
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    return unlinkat(dir, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

int directory_remove(const char *path)
{
    return remove_at(AT_FDCWD, path);
}

static bool is_full(int r)
{
    return r == -ENOTEMPTY || r == -EEXIST;
}

/* Empties the directory, closing it. Recursion is bounded by depth; a directory is read again from its
 * beginning until nothing is left, since removal moves positions. What is mounted in it is EBUSY for rmdir(2), also when it
 * is not empty, and is not entered. */
static int empty_directory(int dir, unsigned depth)
{
    struct entries entries;
    const struct sys_dirent *e;
    int r = depth > REMOVE_DEPTH_MAX ? -ELOOP : 0;
    bool removed = true;

    while (r == 0 && removed) {
        removed = false;
        lseek(dir, 0, SEEK_SET);
        entries_start(&entries, dir);
        while (r == 0 && (e = entries_next(&entries))) {
            removed = true;
            r = remove_at(dir, e->name);
            if (!is_full(r))
                continue;
            int child = openat(dir, e->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            r = child < 0 ? -errno : empty_directory(child, depth + 1);
            if (r == 0 && unlinkat(dir, e->name, AT_REMOVEDIR) < 0)
                r = -errno;
        }
    }
    close(dir);
    return r;
}

int directory_remove_tree(const char *path)
{
    int r = directory_remove(path);

    if (!is_full(r))
        return r;
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    r = empty_directory(dir, 0);
    return r == 0 && rmdir(path) < 0 ? -errno : r;
}
