#include "file.h"

#include "limits.h"
#include "sys.h"
#include "text.h"
#include "unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODE_BITS 07777u
#define SMALL_MESSAGE 64 /* header and fields of DATA, or an END */

enum transfer_kind { TRANSFER_FREE, TRANSFER_WRITE, TRANSFER_UNPACK, TRANSFER_READ };

/* How a written file is to look in the end. */
struct finish {
    uint32_t mode, uid, gid;
    uint64_t mtime_ns;
    bool atomic; /* it has a temporary name until then */
};

struct transfer {
    enum transfer_kind kind;
    int fd; /* owned; not of UNPACK */
    const struct conn *conn;
    uint32_t stream;
    uint64_t base;    /* offset in the file of the channel's first byte */
    uint64_t done;    /* bytes of the channel so far */
    uint64_t size;    /* bytes of the channel in all; for reading at most */
    uint64_t granted; /* bytes that may be sent: by the host when writing, by us when reading */
    union {
        struct {
            size_t parents_made; /* for sys_remove_parents() */
            struct finish finish;
            char path[PATH_MAX];      /* the final name */
            char temporary[PATH_MAX]; /* atomic */
        };
        struct unpack unpack;
    };
};

static struct transfer transfers[FILES_MAX];

void file_init(void)
{
    for (unsigned i = 0; i < FILES_MAX; i++)
        transfers[i].fd = -1;
}

static struct transfer *find_transfer(enum transfer_kind kind, const struct conn *c, uint32_t stream)
{
    for (unsigned i = 0; i < FILES_MAX; i++)
        if (transfers[i].kind == kind &&
            (kind == TRANSFER_FREE || (transfers[i].conn == c && transfers[i].stream == stream)))
            return &transfers[i];
    return NULL;
}

static struct transfer *find_incoming(const struct conn *c, uint32_t stream)
{
    struct transfer *t = find_transfer(TRANSFER_WRITE, c, stream);

    return t ? t : find_transfer(TRANSFER_UNPACK, c, stream);
}

bool file_has_stream(const struct conn *c, uint32_t stream)
{
    return find_incoming(c, stream) || find_transfer(TRANSFER_READ, c, stream);
}

bool file_any_write(void)
{
    for (unsigned i = 0; i < FILES_MAX; i++)
        if (transfers[i].kind == TRANSFER_WRITE || transfers[i].kind == TRANSFER_UNPACK)
            return true;
    return false;
}

static void forget_transfer(struct transfer *t)
{
    sys_close(&t->fd);
    t->kind = TRANSFER_FREE;
}

static void drop(struct transfer *t)
{
    if (t->kind == TRANSFER_WRITE && t->finish.atomic)
        unlink(t->temporary);
    if (t->kind == TRANSFER_WRITE)
        sys_remove_parents(t->path, t->parents_made);
    if (t->kind == TRANSFER_UNPACK)
        unpack_end(&t->unpack);
    forget_transfer(t);
}

void file_drop_conn(const struct conn *c)
{
    for (unsigned i = 0; i < FILES_MAX; i++)
        if (transfers[i].kind != TRANSFER_FREE && transfers[i].conn == c)
            drop(&transfers[i]);
}

/* ---- writing --------------------------------------------------------------------------------- */

static struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

/* A name in the same directory that nothing else has. */
static int temporary_name(char *ret, const char *path)
{
    static uint64_t counter;
    struct text t = text_of(ret, PATH_MAX);
    const char *slash = strrchr(path, '/');

    memcpy(ret, path, (size_t)(slash - path));
    t.length = (size_t)(slash - path);
    ret[t.length] = '\0';
    text_add(&t, "/.initd-");
    text_add_u64(&t, sys_now());
    text_add(&t, "-");
    text_add_u64(&t, ++counter);
    return t.truncated ? -ENAMETOOLONG : 0;
}

/* Gives an open file its owner, mode and time. What is right already is not touched: files of /proc refuse
 * it. */
static int finish_open(int fd, const struct finish *f)
{
    struct stat st;
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, timespec_of(f->mtime_ns)};

    if (fstat(fd, &st) < 0)
        return -errno;
    if ((st.st_uid != f->uid || st.st_gid != f->gid) && fchown(fd, f->uid, f->gid) < 0)
        return -errno;
    /* After the owner, because chown(2) takes set-user-ID away. */
    if (fstat(fd, &st) == 0 && (st.st_mode & MODE_BITS) != (f->mode & MODE_BITS) &&
        fchmod(fd, f->mode & MODE_BITS) < 0)
        return -errno;
    if (f->mtime_ns && futimens(fd, times) < 0)
        return -errno;
    return 0;
}

static int write_all(int fd, const uint8_t *data, size_t size, uint64_t offset)
{
    while (size > 0) {
        ssize_t n = pwrite(fd, data, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        data += n;
        size -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

static int open_regular(const char *path, int flags)
{
    struct stat st;
    int fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return -EINVAL;
    }
    return fd;
}

/* Opens what the content goes to, and takes the first of it. */
static struct fault begin_regular(const struct msg_write_file *m, struct transfer *t)
{
    int r = 0;

    t->finish = (struct finish){.mode = m->mode, .uid = m->uid, .gid = m->gid, .mtime_ns = m->mtime_ns};
    t->finish.atomic = m->flags & PROTO_WRITE_ATOMIC;
    t->base = m->offset;
    t->size = m->size;
    r = text_join(t->path, sizeof(t->path), m->path, NULL);
    if (r == 0 && t->finish.atomic)
        r = temporary_name(t->temporary, m->path);
    if (r < 0)
        return fault_os(r, "path");
    t->fd = t->finish.atomic
                ? open_regular(t->temporary, O_WRONLY | O_CREAT | O_EXCL)
                : open_regular(t->path, O_WRONLY | O_CREAT | (m->flags & PROTO_WRITE_KEEP ? 0 : O_TRUNC));
    if (t->fd < 0) {
        r = t->fd;
        t->fd = -1;
        return fault_os(r, "open");
    }
    t->kind = TRANSFER_WRITE;
    r = write_all(t->fd, m->data.data, m->data.size, t->base);
    t->done = t->granted = m->data.size;
    return r < 0 ? fault_os(r, "write") : FAULT_NONE;
}

static struct fault end_regular(struct transfer *t)
{
    int r = finish_open(t->fd, &t->finish);

    if (r == 0 && t->finish.atomic)
        r = sys_rename(t->temporary, t->path);
    if (r < 0) {
        drop(t);
        return fault_os(r, "owner, mode, time or name");
    }
    forget_transfer(t);
    return FAULT_NONE;
}

/* More may be sent than before, unless it is done. */
static void tell_progress(struct transfer *t, struct file_progress *ret)
{
    uint64_t limit = t->size - t->done > FILE_WINDOW ? t->done + FILE_WINDOW : t->size;

    *ret = (struct file_progress){.done = t->done == t->size, .taken = t->done, .limit = limit};
    ret->request = t->kind == TRANSFER_UNPACK ? MSG_UNPACK : MSG_WRITE_FILE;
    ret->window = limit - t->granted >= FILE_WINDOW / 2 || (limit == t->size && limit > t->granted);
    if (ret->window)
        t->granted = limit;
}

static struct transfer *new_transfer(struct conn *c, uint32_t stream)
{
    struct transfer *t = find_transfer(TRANSFER_FREE, NULL, 0);

    if (t) {
        t->conn = c;
        t->stream = stream;
        t->base = t->done = t->granted = 0;
    }
    return t;
}

static struct fault write_regular(const struct msg_write_file *m, struct conn *c, uint32_t stream,
                                  size_t parents_made, struct file_progress *ret)
{
    struct transfer *t = new_transfer(c, stream);

    if (!t)
        return fault_of(PROTO_ERR_LIMIT, "too many transfers");
    t->parents_made = parents_made;
    struct fault f = begin_regular(m, t);
    if (f.code) {
        drop(t);
        return f;
    }
    tell_progress(t, ret);
    return ret->done ? end_regular(t) : FAULT_NONE;
}

static struct fault make_directory(const struct msg_write_file *m)
{
    struct finish f = {.mode = m->mode, .uid = m->uid, .gid = m->gid, .mtime_ns = m->mtime_ns};

    if (m->size)
        return fault_of(PROTO_ERR_INVALID, "a directory has no content");
    bool made = mkdir(m->path, 0700) == 0;
    if (!made && errno != EEXIST)
        return fault_os(errno, "mkdir");
    /* A symlink could give anything to the new owner, also one that a job puts there right now. */
    int fd = open(m->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fault_os(errno, "open");
    int r = finish_open(fd, &f);
    close(fd);
    if (r < 0 && made)
        rmdir(m->path);
    return r < 0 ? fault_os(r, "owner, mode or time") : FAULT_NONE;
}

static struct fault make_symlink(const struct msg_write_file *m)
{
    char target[PATH_MAX], temporary[PATH_MAX];
    bool atomic = m->flags & PROTO_WRITE_ATOMIC;
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, timespec_of(m->mtime_ns)};

    if (m->size != m->data.size || m->size >= sizeof(target) || m->size == 0 ||
        memchr(m->data.data, '\0', m->data.size))
        return fault_of(PROTO_ERR_INVALID, "the target of a symlink is its data, without a NUL");
    memcpy(target, m->data.data, m->data.size);
    target[m->data.size] = '\0';
    int r = atomic ? temporary_name(temporary, m->path) : 0;
    const char *name = atomic ? temporary : m->path;
    if (r == 0 && symlink(target, name) < 0)
        return fault_os(errno, "symlink");
    if (r == 0 && (lchown(name, m->uid, m->gid) < 0 ||
                   (m->mtime_ns && utimensat(AT_FDCWD, name, times, AT_SYMLINK_NOFOLLOW) < 0)))
        r = -errno;
    if (r == 0 && atomic)
        r = sys_rename(temporary, m->path);
    if (r < 0)
        unlink(name);
    return r < 0 ? fault_os(r, "owner, time or name") : FAULT_NONE;
}

static struct fault check_write(const struct msg_write_file *m)
{
    if (m->flags & ~(PROTO_WRITE_PARENTS | PROTO_WRITE_ATOMIC | PROTO_WRITE_KEEP))
        return fault_of(PROTO_ERR_UNSUPPORTED, "unknown flag");
    if (m->path[0] != '/')
        return fault_of(PROTO_ERR_INVALID, "path is not absolute");
    if ((m->flags & PROTO_WRITE_ATOMIC) && (m->offset || (m->flags & PROTO_WRITE_KEEP)))
        return fault_of(PROTO_ERR_INVALID, "WRITE_ATOMIC begins with an empty file");
    if (m->uid == SYS_NO_ID || m->gid == SYS_NO_ID)
        return fault_of(PROTO_ERR_INVALID, "no such user or group id");
    if (m->mode & ~(S_IFMT | MODE_BITS))
        return fault_of(PROTO_ERR_INVALID, "mode has bits that no file has");
    if (!S_ISREG(m->mode) && !S_ISDIR(m->mode) && !S_ISLNK(m->mode))
        return fault_of(PROTO_ERR_INVALID, "mode is not that of a regular file, directory or symlink");
    if (m->data.size > m->size || m->size > INT64_MAX || m->offset > INT64_MAX - m->size)
        return fault_of(PROTO_ERR_INVALID, "size or offset");
    return FAULT_NONE;
}

struct fault file_write(const struct msg_write_file *m, struct conn *c, uint32_t stream,
                        struct file_progress *ret)
{
    struct fault f = check_write(m);
    size_t made = 0;

    if (f.code)
        return f;
    if (m->flags & PROTO_WRITE_PARENTS) {
        int r = sys_make_parents(m->path, m->uid, m->gid, &made);
        if (r < 0)
            return fault_os(r, "parent directories");
    }
    ret->done = true;
    if (S_ISREG(m->mode))
        f = write_regular(m, c, stream, made, ret);
    else
        f = S_ISDIR(m->mode) ? make_directory(m) : make_symlink(m);
    if (f.code)
        sys_remove_parents(m->path, made);
    return f;
}

/* ---- trees ----------------------------------------------------------------------------------- */

static struct fault end_unpack(struct transfer *t)
{
    bool whole = unpack_is_whole(&t->unpack);

    drop(t);
    return whole ? FAULT_NONE : fault_of(PROTO_ERR_INVALID, "the last entry is not whole");
}

static struct fault take_tree(struct transfer *t, const struct wire_bytes *data)
{
    struct fault f = unpack_take(&t->unpack, data->data, data->size);

    t->done += data->size;
    return f;
}

struct fault file_unpack(const struct msg_unpack *m, struct conn *c, uint32_t stream,
                         struct file_progress *ret)
{
    struct transfer *t = new_transfer(c, stream);

    if (m->path[0] != '/' || m->uid == SYS_NO_ID || m->gid == SYS_NO_ID)
        return fault_of(PROTO_ERR_INVALID, "path is not absolute, or no such user or group id");
    if (m->data.size > m->size || m->size > INT64_MAX)
        return fault_of(PROTO_ERR_INVALID, "size");
    if (!t)
        return fault_of(PROTO_ERR_LIMIT, "too many transfers");
    t->kind = TRANSFER_UNPACK;
    t->size = m->size;
    t->granted = m->data.size;
    struct fault f = unpack_begin(&t->unpack, m->path, m->uid, m->gid);
    if (!f.code)
        f = take_tree(t, &m->data);
    if (f.code) {
        drop(t);
        return f;
    }
    tell_progress(t, ret);
    return ret->done ? end_unpack(t) : FAULT_NONE;
}

/* ---- what comes on a stream ------------------------------------------------------------------ */

static struct fault take_bytes(struct transfer *t, const struct wire_bytes *data)
{
    if (t->kind == TRANSFER_UNPACK)
        return take_tree(t, data);
    int r = write_all(t->fd, data->data, data->size, t->base + t->done);
    t->done += data->size;
    return r < 0 ? fault_os(r, "write") : FAULT_NONE;
}

struct fault file_take(const struct conn *c, uint32_t stream, const struct msg_data *m,
                       struct file_progress *ret)
{
    struct transfer *t = find_incoming(c, stream);

    if (!t || m->channel != 0 || m->offset != t->done || m->data.size > t->granted - t->done)
        return fault_of(PROTO_ERR_FLOW, "DATA outside of the window");
    struct fault f = take_bytes(t, &m->data);
    tell_progress(t, ret);
    if (f.code)
        drop(t);
    else if (ret->done)
        f = t->kind == TRANSFER_UNPACK ? end_unpack(t) : end_regular(t);
    return f;
}

struct fault file_take_end(const struct conn *c, uint32_t stream, uint16_t *ret_request)
{
    struct transfer *t = find_incoming(c, stream);

    if (!t)
        return fault_of(PROTO_ERR_FLOW, "END of a file that is read");
    *ret_request = t->kind == TRANSFER_UNPACK ? MSG_UNPACK : MSG_WRITE_FILE;
    drop(t);
    return fault_of(PROTO_ERR_INVALID, "END before all of the content");
}

/* ---- reading --------------------------------------------------------------------------------- */

void file_fill_info(struct msg_file_info *ret, const struct stat *st)
{
    *ret = (struct msg_file_info){
        .mode = st->st_mode,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .size = (uint64_t)st->st_size,
        .mtime_ns = (uint64_t)st->st_mtim.tv_sec * NS_PER_S + (uint64_t)st->st_mtim.tv_nsec,
        .target = "",
    };
}

struct fault file_read(const struct msg_read_file *m, struct conn *c, uint32_t stream,
                       struct msg_file_info *ret)
{
    struct transfer *t = find_transfer(TRANSFER_FREE, NULL, 0);
    struct stat st;

    if (m->path[0] != '/' || m->offset > INT64_MAX)
        return fault_of(PROTO_ERR_INVALID, "path is not absolute, or offset too large");
    if (!t)
        return fault_of(PROTO_ERR_LIMIT, "too many transfers");
    int fd = open_regular(m->path, O_RDONLY);
    if (fd == -EINVAL)
        return fault_of(PROTO_ERR_INVALID, "not a regular file");
    if (fd < 0 || fstat(fd, &st) < 0)
        return fault_os(fd < 0 ? fd : errno, "open");
    file_fill_info(ret, &st);
    t->kind = TRANSFER_READ;
    t->fd = fd;
    t->conn = c;
    t->stream = stream;
    t->base = m->offset;
    t->done = 0;
    t->size = m->length < (uint64_t)INT64_MAX - m->offset ? m->length : (uint64_t)INT64_MAX - m->offset;
    t->granted = m->window;
    return FAULT_NONE;
}

int file_take_window(const struct conn *c, uint32_t stream, const struct msg_window *m)
{
    struct transfer *t = find_transfer(TRANSFER_READ, c, stream);

    if (!t)
        return 0;
    if (m->channel != 1 || m->consumed > t->done)
        return PROTO_ERR_FLOW;
    if (m->limit > t->granted)
        t->granted = m->limit;
    return 0;
}

static bool emit_transfer(struct conn *c, struct transfer *t)
{
    struct msg_data m = {.channel = 1, .offset = t->done};
    uint64_t may = t->size < t->granted ? t->size : t->granted;
    size_t room;

    if (conn_stream_room(c) <= 2 * SMALL_MESSAGE || (t->done >= may && t->done < t->size))
        return false;
    uint8_t *at = conn_data_space(c, &room);
    size_t want = may - t->done < room ? (size_t)(may - t->done) : room;
    ssize_t n = want ? pread(t->fd, at, want, (off_t)(t->base + t->done)) : 0;
    if (n < 0) {
        conn_send_error(c, t->stream, MSG_READ_FILE, PROTO_ERR_OS, errno, "read");
        forget_transfer(t);
    } else if (n == 0) {
        CONN_SEND(c, end, t->stream, &((struct msg_end){.channel = 1, .offset = t->done}));
        forget_transfer(t);
    } else {
        m.data.size = (uint32_t)n;
        conn_send_data(c, t->stream, &m);
        t->done += (uint64_t)n;
    }
    return true;
}

bool file_emit(struct conn *c)
{
    bool any = false;

    for (unsigned i = 0; i < FILES_MAX; i++)
        if (transfers[i].kind == TRANSFER_READ && transfers[i].conn == c)
            any = emit_transfer(c, &transfers[i]) || any;
    return any;
}

struct fault file_stat(const char *path, bool follow, struct msg_file_info *ret)
{
    static char target[PATH_MAX];
    struct stat st;

    if (path[0] != '/')
        return fault_of(PROTO_ERR_INVALID, "path is not absolute");
    if (fstatat(AT_FDCWD, path, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
        return fault_os(errno, "stat");
    file_fill_info(ret, &st);
    if (S_ISLNK(st.st_mode)) {
        ssize_t n = readlink(path, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';
        ret->target = target;
    }
    return FAULT_NONE;
}
