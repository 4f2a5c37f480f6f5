#include "base/file.h"

#include "base/cleanup.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SEAL_MS 1000
#define GIVEN_DEPTH 2 /* of directories in one that is given away */

int file_read_input(int fd, const char *name, size_t max, const struct cancel *cancel, struct buffer *ret,
                    struct error *e)
{
    char chunk[16384];

    for (;;) {
        if (cancel && deadline_wait_fd(fd, POLLIN, DEADLINE_NEVER, cancel, e) < 0)
            return -1;
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && (errno == EINTR || (cancel && errno == EAGAIN)))
            continue;
        if (n < 0)
            return error_errno(e, "cannot read %s", name);
        if (n == 0)
            break;
        if (ret->size + (size_t)n > max)
            return error_set(e, ERROR_GENERAL, "%s is larger than the limit of %zu bytes", name, max);
        buffer_add(ret, chunk, (size_t)n);
    }
    buffer_add(ret, "", 0);
    return 0;
}

int file_read_fd(int fd, const char *name, size_t max, struct buffer *ret, struct error *e)
{
    return file_read_input(fd, name, max, NULL, ret, e);
}

static const char *kind_of_file(mode_t mode)
{
    return S_ISDIR(mode)    ? "a directory"
           : S_ISFIFO(mode) ? "a FIFO"
           : S_ISSOCK(mode) ? "a socket"
           : S_ISLNK(mode)  ? "a symbolic link"
                            : "a device";
}

/* Always -1, with errno. */
static int refuse_kind(const char *path, mode_t mode, struct error *e)
{
    error_set(e, ERROR_GENERAL, "%s is %s, but must be a file", path, kind_of_file(mode));
    errno = EINVAL;
    return -1;
}

int file_open(const char *path, int flags, struct error *e)
{
    /* A FIFO would be waited for, a terminal become ours. Opening a device may do something already, so look first. */
    const int harmless = O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    bool follow = !(flags & O_NOFOLLOW);
    struct stat st;

    if (fstatat(AT_FDCWD, path, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode))
        return refuse_kind(path, st.st_mode, e);
    cleanup_fd int fd = open(path, flags | harmless, 0600);
    if (fd < 0 || fstat(fd, &st) < 0) {
        int cause = errno;
        error_errno(e, "cannot open %s", path);
        errno = cause;
        return -1;
    }
    return S_ISREG(st.st_mode) ? take_fd(&fd) : refuse_kind(path, st.st_mode, e);
}

int file_read(const char *path, size_t max, struct buffer *ret, struct error *e)
{
    cleanup_fd int fd = file_open(path, O_RDONLY, e);

    return fd < 0 ? -1 : file_read_fd(fd, path, max, ret, e);
}

int file_write_fd(int fd, const void *data, size_t size)
{
    const char *p = data;

    while (size > 0) {
        ssize_t n = write(fd, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

int file_replace(const char *path, const char *scratch, const void *data, size_t size, mode_t mode,
                 struct error *e)
{
    cleanup_free char *temporary = text_format("%s/new.XXXXXX", scratch);
    cleanup_fd int fd = mkostemp(temporary, O_CLOEXEC);

    if (fd < 0)
        return error_errno(e, "cannot write %s", path);
    if (file_write_fd(fd, data, size) < 0 || fchmod(fd, mode) < 0 || fsync(fd) < 0 ||
        rename(temporary, path) < 0) {
        error_errno(e, "cannot write %s", path);
        unlink(temporary);
        return -1;
    }
    return 0;
}

int file_make_directories(const char *path, struct error *e)
{
    cleanup_free char *copy = text_copy(path);

    for (char *p = copy + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char kept = *p;
        *p = '\0';
        if (mkdir(copy, 0700) < 0 && errno != EEXIST)
            return error_errno(e, "cannot create directory %s", copy);
        *p = kept;
        if (kept == '\0')
            return 0;
    }
}

/* A mount that an open file is in; the filesystem where the kernel cannot tell. */
struct mount {
    uint64_t id;
    uint32_t major, minor;
};

/* path "" is the open file itself. */
static int mount_of(int fd, const char *path, struct mount *ret)
{
    struct statx x;

    if (statx(fd, path, path[0] ? 0 : AT_EMPTY_PATH, STATX_MNT_ID, &x) < 0)
        return -1;
    *ret = (struct mount){.id = x.stx_mask & STATX_MNT_ID ? x.stx_mnt_id : 0,
                          .major = x.stx_dev_major,
                          .minor = x.stx_dev_minor};
    return 0;
}

static bool same_mount(const struct mount *a, const struct mount *b)
{
    return a->id == b->id && a->major == b->major && a->minor == b->minor;
}

/* Of two failures the one to be told: that something is mounted explains all others. */
static int worse(int a, int b)
{
    return a == EXDEV || b == 0 ? a : b;
}

static int remove_at(int parent, const char *name, const struct mount *mount);

/* Takes fd over. One fd for each level of the tree: who is out of them must still be able to clean up. 0 or an errno. */
static int remove_entries(int fd, const struct mount *mount)
{
    DIR *dir = fdopendir(fd);
    int cause = 0;

    if (!dir) {
        cause = errno;
        close(fd);
        return cause;
    }
    for (struct dirent *d; (d = readdir(dir));)
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            cause = worse(cause, remove_at(dirfd(dir), d->d_name, mount));
    closedir(dir);
    return cause;
}

/* 0 or an errno; gone meanwhile is as good as removed. */
static int remove_at(int parent, const char *name, const struct mount *mount)
{
    struct mount here;

    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return errno == EBUSY ? EXDEV : errno; /* a file can be mounted on, too (unlink(2)) */
    if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT) /* an empty one needs no fd */
        return 0;
    cleanup_fd int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : errno;
    if (mount_of(fd, "", &here) < 0)
        return errno;
    if (!same_mount(&here, mount))
        return EXDEV;
    int cause = remove_entries(take_fd(&fd), mount);
    if (cause)
        return cause;
    return unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? errno : 0;
}

int file_remove_tree_at(int parent, const char *name)
{
    struct mount mount;

    if (mount_of(parent, "", &mount) < 0)
        return -1;
    errno = remove_at(parent, name, &mount);
    return errno ? -1 : 0;
}

int file_remove_tree(const char *path, struct error *e)
{
    /* The mount that counts is its parent's: what is mounted on the top of the tree is not seen from within. */
    cleanup_free char *copy = text_copy(path);
    size_t size = strlen(copy);
    struct mount mount;

    while (size > 1 && copy[size - 1] == '/')
        copy[--size] = '\0';
    const char *slash = strrchr(copy, '/');
    cleanup_free char *above = slash ? text_format("%.*s", (int)(slash + 1 - copy), copy) : text_copy(".");
    int cause = mount_of(AT_FDCWD, above, &mount) < 0 ? errno : remove_at(AT_FDCWD, copy, &mount);
    if (cause == 0 || cause == ENOENT)
        return 0;
    errno = cause;
    if (cause == EXDEV)
        error_set(e, ERROR_GENERAL, "cannot remove %s: something is mounted there; unmount it first", path);
    else
        error_errno(e, "cannot remove %s", path);
    errno = cause;
    return -1;
}

/* Takes dir over. */
static int give_entries(int dir, uid_t uid, gid_t gid, unsigned depth)
{
    cleanup_dir DIR *d = fdopendir(dir);
    int result = 0;

    if (!d)
        return close(dir), -1;
    for (struct dirent *entry; (entry = readdir(d));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (fchownat(dirfd(d), entry->d_name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
            result = -1;
        int below = depth < GIVEN_DEPTH && entry->d_type == DT_DIR
                        ? openat(dirfd(d), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                        : -1;
        if (below >= 0 && give_entries(below, uid, gid, depth + 1) < 0)
            result = -1;
    }
    return result;
}

int file_give_to(const char *path, uid_t uid, gid_t gid)
{
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = dir < 0 ? 0 : give_entries(dir, uid, gid, 0);

    return chown(path, uid, gid) < 0 ? -1 : result;
}

int file_seal(int fd)
{
    int64_t deadline = deadline_in_ms(SEAL_MS);

    while (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        if (errno != EBUSY || deadline_passed(deadline))
            return -1;
        deadline_pause(1);
    }
    return 0;
}

int file_sealed(const char *name, const void *data, size_t size)
{
    cleanup_fd int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    return fd < 0 || file_write_fd(fd, data, size) < 0 || file_seal(fd) < 0 ? -1 : take_fd(&fd);
}

bool file_exists(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

int file_require_space(const char *path, uint64_t bytes, struct error *e)
{
    char needed[24], available[24];
    struct statvfs v;

    if (statvfs(path, &v) < 0)
        return error_errno(e, "cannot use %s", path);
    uint64_t left = (uint64_t)v.f_bavail * v.f_frsize;
    if (left < bytes)
        return error_set(e, ERROR_GENERAL, "not enough disk space in %s: %s needed, %s free", path,
                         text_bytes(bytes, needed), text_bytes(left, available));
    return 0;
}

uint64_t file_allocated(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

int file_sync(const char *path, struct error *e)
{
    cleanup_fd int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    return fd < 0 || fsync(fd) < 0 ? error_errno(e, "cannot sync %s", path) : 0;
}

enum { PUNCH_PAGE = 4096, PUNCH_CHUNK = 1 << 20 };

static bool is_zero(const uint64_t *words)
{
    uint64_t any = 0;

    for (size_t i = 0; i < PUNCH_PAGE / sizeof(*words) && any == 0; i += 8)
        for (size_t k = 0; k < 8; k++)
            any |= words[i + k];
    return any == 0;
}

/* fallocate(2): 0, 1 when the filesystem cannot, -1 with errno. */
static int punch(int fd, off_t start, off_t end)
{
    if (start == end)
        return 0;
    while (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, end - start) < 0) {
        if (errno == EOPNOTSUPP)
            return 1;
        if (errno != EINTR)
            return -1;
    }
    return 0;
}

/* One range of data; both ends are multiples of the page, or the end of the file, whose last part stays. */
static int punch_range(int fd, off_t at, off_t end, uint64_t *chunk)
{
    off_t zeros = at; /* from there to at, all pages are zero */

    while (at < end) {
        size_t wanted = end - at < PUNCH_CHUNK ? (size_t)(end - at) : PUNCH_CHUNK;
        ssize_t n = pread(fd, chunk, wanted, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n < PUNCH_PAGE) /* a last part, or a file that became shorter */
            break;
        for (ssize_t i = 0; i + PUNCH_PAGE <= n; i += PUNCH_PAGE, at += PUNCH_PAGE) {
            if (is_zero(chunk + (size_t)i / sizeof(*chunk)))
                continue;
            int result = punch(fd, zeros, at);
            if (result != 0)
                return result;
            zeros = at + PUNCH_PAGE;
        }
    }
    return punch(fd, zeros, at);
}

int file_punch_zeros(int fd, const char *name, struct error *e)
{
    cleanup_free uint64_t *chunk = memory_allocate(PUNCH_CHUNK);

    for (off_t at = 0;;) {
        off_t data = lseek(fd, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO) /* nothing but a hole is left */
            return 0;
        off_t end = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
        int result = end < 0 ? -1 : punch_range(fd, data - data % PUNCH_PAGE, end, chunk);
        if (result < 0)
            return error_errno(e, "cannot make holes in %s", name);
        if (result > 0)
            return 0;
        at = end;
    }
}

void digest_uuid(const char digest[static DIGEST_HEX_SIZE], char ret[static UUID_SIZE])
{
    static const char variants[] = "89ab"; /* two bits of the digest stay */

    snprintf(ret, UUID_SIZE, "%.8s-%.4s-8%.3s-%c%.3s-%.12s", digest, digest + 8, digest + 13,
             variants[digest[16] & 3], digest + 17, digest + 20);
}

bool digest_is_hex(const char *s)
{
    return strlen(s) == DIGEST_HEX_SIZE - 1 && strspn(s, "0123456789abcdef") == DIGEST_HEX_SIZE - 1;
}

void digest_bytes(const void *data, size_t size, char ret[static DIGEST_HEX_SIZE])
{
    unsigned char raw[32] = {0};

    EVP_Digest(data, size, raw, NULL, EVP_sha256(), NULL);
    text_hex(raw, sizeof(raw), ret);
}

static bool is_cancelled(const struct cancel *cancel, struct error *e)
{
    return deadline_poll(NULL, 0, 0, cancel, e) < 0;
}

static int digest_rest(int fd, const struct cancel *cancel, EVP_MD_CTX *ctx, struct error *e)
{
    enum { CHUNK = 1 << 18 };
    cleanup_free char *chunk = memory_allocate(CHUNK);

    for (;;) {
        if (is_cancelled(cancel, e))
            return -1;
        ssize_t n = read(fd, chunk, CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(e, "cannot read");
        if (n == 0)
            return 0;
        EVP_DigestUpdate(ctx, chunk, (size_t)n);
    }
}

int digest_fd(int fd, const struct cancel *cancel, char ret[static DIGEST_HEX_SIZE], struct error *e)
{
    unsigned char raw[32] = {0};
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
    int result = digest_rest(fd, cancel, ctx, e);
    EVP_DigestFinal_ex(ctx, raw, NULL);
    EVP_MD_CTX_free(ctx);
    text_hex(raw, sizeof(raw), ret);
    return result;
}

#define SPARSE_PAGE 4096
#define SPARSE_CHUNK (1 << 18)

struct sparse {
    int fd;
    const struct cancel *cancel;
    char *chunk;
    EVP_MD_CTX *ctx;
};

/* Adds the pages of [from, to) that are not zeros, each behind its offset. */
static int digest_pages(const struct sparse *s, off_t from, off_t to, struct error *e)
{
    static const char zeros[SPARSE_PAGE];

    while (from < to) {
        if (is_cancelled(s->cancel, e))
            return -1;
        ssize_t n =
            pread(s->fd, s->chunk, to - from < SPARSE_CHUNK ? (size_t)(to - from) : SPARSE_CHUNK, from);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? error_errno(e, "cannot read") : 0;
        for (ssize_t at = 0; at < n; at += SPARSE_PAGE) {
            size_t size = n - at < SPARSE_PAGE ? (size_t)(n - at) : SPARSE_PAGE;
            uint64_t offset = htole64((uint64_t)(from + at));
            if (memcmp(s->chunk + at, zeros, size) == 0)
                continue;
            EVP_DigestUpdate(s->ctx, &offset, sizeof(offset));
            EVP_DigestUpdate(s->ctx, s->chunk + at, size);
        }
        from += n;
    }
    return 0;
}

/* Only data is looked for; whether zeros are stored or a hole makes no difference. */
static int digest_extents(const struct sparse *s, off_t size, struct error *e)
{
    for (off_t at = 0; at < size;) {
        off_t data = lseek(s->fd, at, SEEK_DATA);
        if (data < 0) /* ENXIO: nothing but a hole is left */
            return errno == ENXIO ? 0 : error_errno(e, "cannot read");
        off_t end = lseek(s->fd, data, SEEK_HOLE);
        if (end < 0)
            return error_errno(e, "cannot read");
        data -= data % SPARSE_PAGE;
        end += (SPARSE_PAGE - end % SPARSE_PAGE) % SPARSE_PAGE;
        if (digest_pages(s, data, end, e) < 0)
            return -1;
        at = end;
    }
    return 0;
}

int digest_sparse_fd(int fd, const struct cancel *cancel, char ret[static DIGEST_HEX_SIZE], struct error *e)
{
    cleanup_free char *chunk = memory_allocate(SPARSE_CHUNK);
    unsigned char raw[32] = {0};
    struct stat st;

    if (fstat(fd, &st) < 0)
        return error_errno(e, "cannot read");
    struct sparse s = {.fd = fd, .cancel = cancel, .chunk = chunk, .ctx = EVP_MD_CTX_new()};
    uint64_t size = htole64((uint64_t)st.st_size);
    EVP_DigestInit_ex(s.ctx, EVP_sha256(), NULL);
    EVP_DigestUpdate(s.ctx, &size, sizeof(size));
    int result = digest_extents(&s, st.st_size, e);
    EVP_DigestFinal_ex(s.ctx, raw, NULL);
    EVP_MD_CTX_free(s.ctx);
    text_hex(raw, sizeof(raw), ret);
    return result;
}
