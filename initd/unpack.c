#include "unpack.h"

#include "sys.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODE_BITS 07777u
#define WALK (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static const char *last_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int parent_of(const struct unpack *u)
{
    return u->parent >= 0 ? u->parent : u->root;
}

/* What open(2) gives a new file of this mode, whatever umask initd was started with. */
static bool is_plain_mode(uint32_t mode)
{
    return !(mode & 07022);
}

/* Gives what an entry has made its owner, mode and time. The mode after the owner, because chown(2) takes set-user-ID away. Of
 * many files each system call counts: a new file has the right mode mostly. */
static int finish_entry(const struct unpack *u, int fd, bool mode_is_right)
{
    struct timespec times[2] = {
        {.tv_nsec = UTIME_OMIT},
        {.tv_sec = (time_t)(u->mtime_ns / NS_PER_S), .tv_nsec = (long)(u->mtime_ns % NS_PER_S)}};

    if ((u->entry_uid || u->entry_gid || !mode_is_right) && fchown(fd, u->entry_uid, u->entry_gid) < 0)
        return -errno;
    if (!mode_is_right && fchmod(fd, u->mode & MODE_BITS) < 0)
        return -errno;
    return u->mtime_ns && futimens(fd, times) < 0 ? -errno : 0;
}

/* ---- to the directory of an entry ------------------------------------------------------------ */

/* Opens a directory that an entry's path goes through, and makes it when it is missing. */
static int enter(const struct unpack *u, int above, const char *name)
{
    int fd = openat(above, name, WALK);

    if (fd >= 0 || errno != ENOENT)
        return fd < 0 ? -errno : fd;
    if (mkdirat(above, name, 0755) < 0 || fchownat(above, name, u->uid, u->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    fd = openat(above, name, WALK);
    return fd < 0 ? -errno : fd;
}

/* From root through all but the last name of the path; u->above is changed on the way and is right in the end. */
static int walk(struct unpack *u)
{
    char *name = u->above;
    size_t length = (size_t)(last_name(u->path) - u->path);

    sys_close(&u->parent);
    memcpy(u->above, u->path, length);
    u->above[length] = '\0';
    for (char *slash; (slash = strchr(name, '/')); name = slash + 1) {
        *slash = '\0';
        int fd = enter(u, parent_of(u), name);
        *slash = '/';
        sys_close(&u->parent);
        u->parent = fd;
        if (fd < 0)
            break;
    }
    int r = u->parent;
    if (length > 0 && r < 0) {
        u->above[0] = '\0';
        u->parent = -1;
        return r;
    }
    return 0;
}

/* The files of one directory mostly follow each other. */
static int find_parent(struct unpack *u)
{
    size_t length = (size_t)(last_name(u->path) - u->path);

    return strlen(u->above) == length && memcmp(u->above, u->path, length) == 0 ? 0 : walk(u);
}

/* ---- entries --------------------------------------------------------------------------------- */

static struct fault begin_file(struct unpack *u)
{
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    const char *name = last_name(u->path);
    mode_t mode = is_plain_mode(u->mode) ? u->mode & MODE_BITS : 0600;

    u->file = openat(parent_of(u), name, flags, mode);
    if (u->file < 0 && errno == EEXIST && unlinkat(parent_of(u), name, 0) == 0)
        u->file = openat(parent_of(u), name, flags, mode);
    return u->file < 0 ? fault_os(errno, "open") : FAULT_NONE;
}

static struct fault make_entry_directory(const struct unpack *u)
{
    const char *name = last_name(u->path);

    if (u->left)
        return fault_of(PROTO_ERR_INVALID, "a directory has no content");
    if (mkdirat(parent_of(u), name, 0700) < 0 && errno != EEXIST)
        return fault_os(errno, "mkdir");
    int fd = openat(parent_of(u), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int r = fd < 0 ? -errno : finish_entry(u, fd, false);
    sys_close(&fd);
    return r < 0 ? fault_os(r, "directory") : FAULT_NONE;
}

static struct fault make_entry_symlink(struct unpack *u)
{
    const char *name = last_name(u->path), *target = (const char *)u->head;
    int above = parent_of(u);

    u->head[u->have] = '\0';
    if (strlen(target) != u->have || !u->have)
        return fault_of(PROTO_ERR_INVALID, "the target of a symlink is empty, or has a NUL");
    u->have = 0;
    int r = symlinkat(target, above, name);
    if (r < 0 && errno == EEXIST && unlinkat(above, name, 0) == 0)
        r = symlinkat(target, above, name);
    if (r < 0 || fchownat(above, name, u->entry_uid, u->entry_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return fault_os(errno, "symlink");
    return FAULT_NONE;
}

/* The content of an entry is complete. */
static struct fault end_entry(struct unpack *u)
{
    if (S_ISLNK(u->mode))
        return make_entry_symlink(u);
    int r = finish_entry(u, u->file, is_plain_mode(u->mode));
    sys_close(&u->file);
    return r < 0 ? fault_os(r, "owner, mode or time") : FAULT_NONE;
}

/* Relative, and each of its names one that a directory can have. */
static bool is_path_below(const char *path)
{
    for (const char *name = path, *end;; name = end + 1) {
        end = strchr(name, '/');
        size_t size = end ? (size_t)(end - name) : strlen(name);
        if (size == 0 || (name[0] == '.' && (size == 1 || (size == 2 && name[1] == '.'))))
            return false;
        if (!end)
            return true;
    }
}

static uint32_t owner_of(uint32_t id, uint32_t otherwise)
{
    return id == SYS_NO_ID ? otherwise : id;
}

/* Whoever fills u->head has seen that it holds a path of that size. */
static struct fault take_head(struct unpack *u)
{
    struct wire_reader r = wire_reader_of(u->head, u->have);

    u->mode = wire_get_u32(&r);
    u->entry_uid = owner_of(wire_get_u32(&r), u->uid);
    u->entry_gid = owner_of(wire_get_u32(&r), u->gid);
    u->mtime_ns = wire_get_u64(&r);
    u->left = wire_get_u64(&r);
    const char *path = wire_get_str(&r);
    if (!wire_reader_done(&r) || !is_path_below(path))
        return fault_of(PROTO_ERR_INVALID, "an entry's path leads elsewhere");
    if (u->left > INT64_MAX)
        return fault_of(PROTO_ERR_INVALID, "an entry is larger than any file");
    if ((u->mode & ~(S_IFMT | MODE_BITS)) || (!S_ISREG(u->mode) && !S_ISDIR(u->mode) && !S_ISLNK(u->mode)))
        return fault_of(PROTO_ERR_INVALID, "an entry is no regular file, directory or symlink");
    memcpy(u->path, path, strlen(path) + 1);
    u->have = 0;
    return FAULT_NONE;
}

static struct fault begin_entry(struct unpack *u)
{
    struct fault f = take_head(u);

    if (f.code)
        return f;
    int r = find_parent(u);
    if (r < 0)
        return fault_os(r, "a directory above an entry");
    if (S_ISDIR(u->mode))
        return make_entry_directory(u);
    if (S_ISLNK(u->mode) && u->left >= PATH_MAX)
        return fault_of(PROTO_ERR_INVALID, "the target of a symlink is too long");
    f = S_ISREG(u->mode) ? begin_file(u) : FAULT_NONE;
    return f.code || u->left ? f : end_entry(u);
}

/* ---- bytes ------------------------------------------------------------------------------------ */

/* Adds to u->head until it has size bytes; how many it took. */
static size_t fill(struct unpack *u, size_t size, const uint8_t *data, size_t there)
{
    size_t n = size - u->have < there ? size - u->have : there;

    memcpy(u->head + u->have, data, n);
    u->have += n;
    return n;
}

static struct fault take_head_bytes(struct unpack *u, const uint8_t *data, size_t size, size_t *ret_taken)
{
    *ret_taken = u->have < UNPACK_FIXED ? fill(u, UNPACK_FIXED, data, size) : 0;
    if (u->have < UNPACK_FIXED)
        return FAULT_NONE;
    struct wire_reader r = wire_reader_of(u->head + UNPACK_FIXED - 4, 4);
    uint32_t path = wire_get_u32(&r);
    if (path > PATH_MAX)
        return fault_of(PROTO_ERR_INVALID, "an entry's path is too long");
    *ret_taken += fill(u, UNPACK_FIXED + path, data + *ret_taken, size - *ret_taken);
    return u->have == UNPACK_FIXED + path ? begin_entry(u) : FAULT_NONE;
}

static struct fault take_content(struct unpack *u, const uint8_t *data, size_t size, size_t *ret_taken)
{
    ssize_t n = (ssize_t)(size < u->left ? size : u->left);

    if (S_ISLNK(u->mode))
        n = (ssize_t)fill(u, u->have + (size_t)n, data, (size_t)n);
    else
        n = write(u->file, data, (size_t)n);
    if (n <= 0)
        return n < 0 && errno == EINTR ? FAULT_NONE : fault_os(n < 0 ? errno : EIO, "write");
    *ret_taken = (size_t)n;
    u->left -= (uint64_t)n;
    return u->left ? FAULT_NONE : end_entry(u);
}

struct fault unpack_take(struct unpack *u, const uint8_t *data, size_t size)
{
    struct fault f = FAULT_NONE;

    while (size > 0 && !f.code) {
        size_t taken = 0;
        f = (u->left ? take_content : take_head_bytes)(u, data, size, &taken);
        data += taken;
        size -= taken;
    }
    return f;
}

/* ---- begin and end ----------------------------------------------------------------------------- */

struct fault unpack_begin(struct unpack *u, const char *directory, uint32_t uid, uint32_t gid)
{
    size_t ignored;

    u->root = u->parent = u->file = -1;
    u->uid = uid;
    u->gid = gid;
    u->left = u->have = 0;
    u->above[0] = '\0';
    int r = sys_make_parents(directory, uid, gid, &ignored);
    if (r < 0)
        return fault_os(r, "parent directories");
    if (mkdir(directory, 0755) == 0 && lchown(directory, uid, gid) < 0)
        return fault_os(errno, "owner");
    u->root = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return u->root < 0 ? fault_os(errno, "open") : FAULT_NONE;
}

bool unpack_is_whole(const struct unpack *u)
{
    return u->left == 0 && u->have == 0;
}

void unpack_end(struct unpack *u)
{
    sys_close(&u->file);
    sys_close(&u->parent);
    sys_close(&u->root);
}
