#include "handle.h"

#include "directory.h"
#include "file.h"
#include "helper.h"
#include "stats.h"
#include "sys.h"

#include <errno.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void answer_write(struct conn *c, uint32_t stream, uint16_t request, struct fault f,
                         const struct file_progress *p)
{
    if (f.code || p->done)
        handle_answer(c, stream, request, f);
    else
        CONN_SEND(c, window, stream,
                  &((struct msg_window){.channel = 0, .consumed = p->taken, .limit = p->limit}));
}

void handle_write_file(struct conn *c, uint32_t stream, const struct msg_write_file *m)
{
    struct file_progress progress;
    struct fault f = file_write(m, c, stream, &progress);

    answer_write(c, stream, MSG_WRITE_FILE, f, &progress);
}

void handle_unpack(struct conn *c, uint32_t stream, const struct msg_unpack *m)
{
    struct file_progress progress;
    struct fault f = file_unpack(m, c, stream, &progress);

    answer_write(c, stream, MSG_UNPACK, f, &progress);
}

void handle_read_file(struct conn *c, uint32_t stream, const struct msg_read_file *m)
{
    struct msg_file_info info;
    struct fault f = file_read(m, c, stream, &info);

    if (f.code)
        handle_answer_fault(c, stream, MSG_READ_FILE, f);
    else
        CONN_SEND(c, file_info, stream, &info);
}

void handle_stat(struct conn *c, uint32_t stream, const struct msg_stat *m)
{
    struct msg_file_info info;
    struct fault f = m->flags & ~PROTO_PATH_NOFOLLOW
                         ? fault_of(PROTO_ERR_UNSUPPORTED, "unknown flag")
                         : file_stat(m->path, !(m->flags & PROTO_PATH_NOFOLLOW), &info);

    if (f.code)
        handle_answer_fault(c, stream, MSG_STAT, f);
    else
        CONN_SEND(c, file_info, stream, &info);
}

void handle_list(struct conn *c, uint32_t stream, const struct msg_list *m)
{
    uint8_t entries[CONN_ANSWER_MAX - 64]; /* the rest is for header and fields */
    struct msg_listing listing = {.entries.data = entries};
    size_t size = 0;
    struct fault f = directory_list(m, entries, sizeof(entries), &size, &listing.cursor);

    listing.entries.size = (uint32_t)size;
    if (f.code)
        handle_answer_fault(c, stream, MSG_LIST, f);
    else
        CONN_SEND(c, listing, stream, &listing);
}

void handle_disk(struct conn *c, uint32_t stream, const struct msg_disk *m)
{
    struct msg_disk_info info;
    int r = m->path[0] == '/' ? stats_disk(m->path, &info) : 0;

    if (m->path[0] != '/')
        conn_send_error(c, stream, MSG_DISK, PROTO_ERR_INVALID, 0, "path is not absolute");
    else if (r < 0)
        handle_answer_fault(c, stream, MSG_DISK, fault_os(r, "statvfs"));
    else
        CONN_SEND(c, disk_info, stream, &info);
}

static int remove_tree(const void *path)
{
    return directory_remove_tree(path);
}

void handle_remove(struct conn *c, uint32_t stream, const struct msg_remove *m)
{
    if (m->flags & ~PROTO_REMOVE_TREE) {
        conn_send_error(c, stream, MSG_REMOVE, PROTO_ERR_UNSUPPORTED, 0, "unknown flag");
    } else if (m->path[0] != '/') {
        conn_send_error(c, stream, MSG_REMOVE, PROTO_ERR_INVALID, 0, "path is not absolute");
    } else if (m->flags & PROTO_REMOVE_TREE) {
        helper_start(c, stream, MSG_REMOVE, remove_tree, m->path, NULL);
    } else {
        int r = directory_remove(m->path);
        handle_answer(c, stream, MSG_REMOVE, r < 0 ? fault_os(r, "remove") : FAULT_NONE);
    }
}

static int do_mount(const void *argument)
{
    const struct msg_mount *m = argument;
    size_t parents_made;
    int r = sys_make_parents(m->target, 0, 0, &parents_made);

    if (r < 0)
        return r;
    bool made = mkdir(m->target, 0755) == 0;
    if (!made && errno != EEXIST)
        r = -errno;
    else if (mount(m->source, m->target, m->fstype, m->flags, m->options) < 0)
        r = -errno;
    if (r < 0 && made)
        rmdir(m->target);
    if (r < 0)
        sys_remove_parents(m->target, parents_made);
    return r;
}

void handle_mount(struct conn *c, uint32_t stream, const struct msg_mount *m)
{
    if (m->target[0] != '/')
        conn_send_error(c, stream, MSG_MOUNT, PROTO_ERR_INVALID, 0, "target is not absolute");
    else
        helper_start(c, stream, MSG_MOUNT, do_mount, m, NULL);
}

static int do_unmount(const void *argument)
{
    const struct msg_unmount *m = argument;
    struct stat root, target;

    /* umount(2) of the root would make it read-only and say that all is well. */
    if (stat("/", &root) == 0 && stat(m->target, &target) == 0 && target.st_dev == root.st_dev &&
        target.st_ino == root.st_ino)
        return -EBUSY;
    return umount2(m->target, (int)m->flags) < 0 ? -errno : 0;
}

void handle_unmount(struct conn *c, uint32_t stream, const struct msg_unmount *m)
{
    if (m->target[0] != '/')
        conn_send_error(c, stream, MSG_UNMOUNT, PROTO_ERR_INVALID, 0, "target is not absolute");
    else
        helper_start(c, stream, MSG_UNMOUNT, do_unmount, m, NULL);
}
