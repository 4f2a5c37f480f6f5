#include "oci/layer.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "oci/tree.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_SIZE (1u << 18)
#define WHITEOUT ".wh."
#define OPAQUE ".wh..wh..opq"
#define ID_MAX 0xfffffffell

static void reader_free(struct archive **a)
{
    archive_read_free(*a);
}
#define cleanup_reader __attribute__((cleanup(reader_free)))

static int reader_error(struct archive *a, struct error *e)
{
    const char *why = archive_error_string(a);

    return error_set(e, ERROR_CORRUPT, "the archive is damaged: %.200s", why ? why : "no reason known");
}

/* ---- unpacking ----------------------------------------------------------------------------------- */

static struct archive *open_blob(int fd, enum layer_compression compression, struct error *e)
{
    struct archive *a = archive_read_new();

    if (compression == LAYER_GZIP)
        archive_read_support_filter_gzip(a);
    else if (compression == LAYER_ZSTD)
        archive_read_support_filter_zstd(a);
    archive_read_support_format_raw(a);
    archive_read_support_format_empty(a);
    if (lseek(fd, 0, SEEK_SET) < 0 || archive_read_open_fd(a, fd, BLOCK_SIZE) != ARCHIVE_OK) {
        reader_error(a, e);
        archive_read_free(a);
        return NULL;
    }
    return a;
}

static int check_ratio(uint64_t unpacked, uint64_t compressed, const struct layer_limits *limits,
                       struct error *e)
{
    if (unpacked > limits->bytes)
        return error_set(
            e, ERROR_GENERAL,
            "it unpacks to more than the limit of %llu bytes; if you trust it, raise it with --max-size",
            (unsigned long long)limits->bytes);
    if (unpacked > LAYER_RATIO_FROM && unpacked / limits->ratio > compressed)
        return error_set(e, ERROR_GENERAL,
                         "it unpacks to more than %llu times its size, as a compression bomb does; if you "
                         "trust it, raise --max-ratio",
                         (unsigned long long)limits->ratio);
    return 0;
}

static int copy_unpacked(struct archive *a, uint64_t compressed, int out_fd, EVP_MD_CTX *hash,
                         const struct layer_limits *limits, struct error *e)
{
    cleanup_free char *block = memory_allocate(BLOCK_SIZE);
    uint64_t total = 0;

    for (;;) {
        la_ssize_t n = archive_read_data(a, block, BLOCK_SIZE);
        if (n < 0)
            return reader_error(a, e);
        if (n == 0)
            return 0;
        total += (uint64_t)n;
        if (check_ratio(total, compressed, limits, e) < 0)
            return -1;
        EVP_DigestUpdate(hash, block, (size_t)n);
        if (file_write_fd(out_fd, block, (size_t)n) < 0)
            return error_errno(e, "cannot unpack it");
    }
}

static void finish_hash(EVP_MD_CTX *hash, char ret[static DIGEST_HEX_SIZE])
{
    unsigned char raw[32] = {0};

    EVP_DigestFinal_ex(hash, raw, NULL);
    text_hex(raw, sizeof(raw), ret);
}

int layer_unpack(int blob_fd, enum layer_compression compression, int out_fd,
                 const struct layer_limits *limits, char ret_diff_id[static DIGEST_HEX_SIZE], struct error *e)
{
    cleanup_reader struct archive *a = open_blob(blob_fd, compression, e);
    struct archive_entry *entry;
    struct stat st;

    if (!a)
        return -1;
    if (fstat(blob_fd, &st) < 0)
        return error_errno(e, "stat");
    int status = archive_read_next_header(a, &entry);
    if (status != ARCHIVE_OK && status != ARCHIVE_EOF)
        return reader_error(a, e);
    /* One filter and the file itself; a layer within a layer of compression is nothing that tools make. */
    if (archive_filter_count(a) != (compression == LAYER_PLAIN ? 1 : 2))
        return error_set(e, ERROR_CORRUPT, "it is not compressed the way its media type says");
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    EVP_DigestInit_ex(hash, EVP_sha256(), NULL);
    int result = status == ARCHIVE_EOF ? 0 : copy_unpacked(a, (uint64_t)st.st_size, out_fd, hash, limits, e);
    finish_hash(hash, ret_diff_id);
    EVP_MD_CTX_free(hash);
    return result;
}

/* ---- reading the archive ------------------------------------------------------------------------- */

struct apply {
    int root_fd;
    const struct layer_limits *limits;
    struct layer_totals totals;
    struct archive *archive;
};

typedef int visit_entry(struct apply *a, struct archive_entry *entry, const struct tree_path *path,
                        struct error *e);

static int visit_named(struct apply *a, struct archive_entry *entry, visit_entry *visit, struct error *e)
{
    const char *name = archive_entry_pathname(entry);
    char shown[TREE_SHOWN_MAX + 8];
    struct tree_path path;

    if (!name)
        return error_set(e, ERROR_CORRUPT, "an entry has no readable name");
    if (tree_path_parse(&path, name, e) < 0 || visit(a, entry, &path, e) < 0)
        return error_wrap(e, "%s", tree_shown(name, shown));
    return 0;
}

static int each_entry(struct apply *a, int fd, visit_entry *visit, struct error *e)
{
    cleanup_reader struct archive *reader = archive_read_new();
    struct archive_entry *entry;
    int status;

    archive_read_support_format_tar(reader);
    archive_read_support_format_empty(reader);
    a->archive = reader;
    if (lseek(fd, 0, SEEK_SET) < 0 || archive_read_open_fd(reader, fd, BLOCK_SIZE) != ARCHIVE_OK)
        return reader_error(reader, e);
    /* A warning is an attribute that libarchive does not know. */
    while ((status = archive_read_next_header(reader, &entry)) == ARCHIVE_OK || status == ARCHIVE_WARN)
        if (visit_named(a, entry, visit, e) < 0)
            return -1;
    return status == ARCHIVE_EOF ? 0 : reader_error(reader, e);
}

static const char *last_name(const struct tree_path *path)
{
    const char *slash = strrchr(path->text, '/');

    return slash ? slash + 1 : path->text;
}

static bool is_whiteout(const struct tree_path *path)
{
    return strncmp(last_name(path), WHITEOUT, strlen(WHITEOUT)) == 0;
}

/* ---- first pass: check everything, apply the whiteouts ------------------------------------------- */

static int check_type(struct archive_entry *entry, const struct tree_path *path, struct error *e)
{
    if (is_whiteout(path) && (archive_entry_hardlink(entry) || archive_entry_filetype(entry) != AE_IFREG))
        return error_set(e, ERROR_GENERAL, "a name that begins with .wh. is not a file");
    if (archive_entry_hardlink(entry))
        return 0;
    switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
    case AE_IFLNK:
        return path->depth > 0 ? 0 : error_set(e, ERROR_GENERAL, "the root is not a directory");
    case AE_IFDIR:
        return 0;
    case AE_IFCHR:
    case AE_IFBLK:
        return error_set(e, ERROR_GENERAL, "device files are not allowed in an image");
    case AE_IFIFO:
        return error_set(e, ERROR_GENERAL, "FIFOs are not allowed in an image");
    default:
        return error_set(e, ERROR_GENERAL, "only files, directories and links are allowed in an image");
    }
}

static int check_links(struct archive_entry *entry, const struct tree_path *path, struct error *e)
{
    const char *hard = archive_entry_hardlink(entry);
    struct tree_path target;

    if (!hard)
        return archive_entry_filetype(entry) != AE_IFLNK || archive_entry_symlink(entry)
                   ? 0
                   : error_set(e, ERROR_CORRUPT, "a symbolic link without target");
    if (path->depth == 0)
        return error_set(e, ERROR_GENERAL, "the root is not a directory");
    if (tree_path_parse(&target, hard, e) < 0)
        return error_wrap(e, "hard link to another file");
    return 0;
}

static int check_owner(struct archive_entry *entry, struct error *e)
{
    la_int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);

    if (uid < 0 || uid > ID_MAX || gid < 0 || gid > ID_MAX)
        return error_set(e, ERROR_GENERAL, "owner %lld:%lld is not a user id", (long long)uid,
                         (long long)gid);
    return 0;
}

static int count_entry(struct apply *a, struct archive_entry *entry, struct error *e)
{
    struct layer_totals *t = &a->totals;
    la_int64_t size = archive_entry_hardlink(entry) ? 0 : archive_entry_size(entry);

    if (++t->entries > a->limits->entries)
        return error_set(e, ERROR_GENERAL,
                         "more than %llu files in the image; if you trust it, raise --max-entries",
                         (unsigned long long)a->limits->entries);
    if (size < 0 || (uint64_t)size > a->limits->bytes || t->bytes > a->limits->bytes - (uint64_t)size)
        return error_set(e, ERROR_GENERAL,
                         "the files of the image have more than the limit of %llu bytes; if you trust it, "
                         "raise --max-size",
                         (unsigned long long)a->limits->bytes);
    t->bytes += (uint64_t)size;
    t->xattrs += archive_entry_xattr_count(entry) > 0;
    return 0;
}

/* Names of whiteouts in a directory of the path, or without a name to hide. */
static int check_reserved(const struct tree_path *path, struct error *e)
{
    const char *last = last_name(path);

    for (const char *p = path->text; p < last; p = strchr(p, '/') + 1)
        if (strncmp(p, WHITEOUT, strlen(WHITEOUT)) == 0)
            return error_set(e, ERROR_GENERAL, "a directory's name begins with .wh.");
    if (!is_whiteout(path) || strcmp(last, OPAQUE) == 0)
        return 0;
    const char *hidden = last + strlen(WHITEOUT);
    if (!hidden[0] || strcmp(hidden, ".") == 0 || strcmp(hidden, "..") == 0 ||
        strncmp(hidden, WHITEOUT, strlen(WHITEOUT)) == 0)
        return error_set(e, ERROR_GENERAL, "a whiteout of no possible name");
    return 0;
}

static int check_entry(struct apply *a, struct archive_entry *entry, const struct tree_path *path,
                       struct error *e)
{
    if (check_type(entry, path, e) < 0 || check_links(entry, path, e) < 0 || check_owner(entry, e) < 0 ||
        check_reserved(path, e) < 0)
        return -1;
    return count_entry(a, entry, e);
}

static int remove_contents(int directory, struct error *e)
{
    int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cleanup_dir DIR *dir = copy < 0 ? NULL : fdopendir(copy);

    if (!dir) {
        if (copy >= 0)
            close(copy);
        return error_errno(e, "directory cannot be read");
    }
    for (struct dirent *d; (d = readdir(dir));)
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0 &&
            tree_remove(directory, d->d_name, e) < 0)
            return -1;
    return 0;
}

/* Everything that earlier layers put into the directory goes. One that is not there, or no directory, holds
 * nothing. */
static int apply_opaque(struct apply *a, const struct tree_path *path, struct error *e)
{
    struct tree_path directory = *path;
    struct error why = {0};
    char *slash = strrchr(directory.text, '/');
    const char *name = ".";
    cleanup_fd int parent = -1;

    if (slash) {
        *slash = '\0';
        parent = tree_open_parent(a->root_fd, &directory, TREE_BENEATH, false, &name, &why);
        if (parent < 0 && errno == ENOENT)
            return 0;
        if (parent < 0) {
            *e = why;
            return -1;
        }
    }
    cleanup_fd int fd =
        openat(slash ? parent : a->root_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : error_errno(e, "cannot be opened");
    return remove_contents(fd, e);
}

static int apply_whiteout(struct apply *a, struct archive_entry *entry, const struct tree_path *path,
                          struct error *e)
{
    struct error why = {0};
    const char *name;

    (void)entry;
    if (!is_whiteout(path))
        return 0;
    if (strcmp(last_name(path), OPAQUE) == 0)
        return apply_opaque(a, path, e);
    cleanup_fd int parent = tree_open_parent(a->root_fd, path, TREE_BENEATH, false, &name, &why);
    if (parent >= 0)
        return tree_remove(parent, name + strlen(WHITEOUT), e);
    if (errno == ENOENT)
        return 0;
    *e = why;
    return -1;
}

/* ---- second pass: the entries --------------------------------------------------------------------- */

static int set_owner(int parent, const char *name, int fd, struct archive_entry *entry, struct error *e)
{
    uid_t uid = (uid_t)archive_entry_uid(entry);
    gid_t gid = (gid_t)archive_entry_gid(entry);
    int result = fd >= 0 ? fchown(fd, uid, gid) : fchownat(parent, name, uid, gid, AT_SYMLINK_NOFOLLOW);

    if (result < 0 && errno == EINVAL)
        return error_set(
            e, ERROR_GENERAL,
            "owner %u:%u is outside of the range in /etc/subuid and /etc/subgid; import the image "
            "as root",
            uid, gid);
    return result < 0 ? error_errno(e, "owner %u:%u cannot be set", uid, gid) : 0;
}

/* The owner first: changing it clears the setuid bit. */
static int set_attributes(int fd, struct archive_entry *entry, struct error *e)
{
    if (set_owner(-1, NULL, fd, entry, e) < 0)
        return -1;
    if (fchmod(fd, (mode_t)archive_entry_perm(entry) & 07777) < 0)
        return error_errno(e, "mode cannot be set");
    return 0;
}

static int write_at(int fd, const char *data, size_t size, off_t offset)
{
    while (size > 0) {
        ssize_t n = pwrite(fd, data, size, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        data += n;
        offset += n;
        size -= (size_t)n;
    }
    return 0;
}

static int copy_data_layer(struct apply *a, int fd, la_int64_t size, struct error *e)
{
    const void *data;
    la_int64_t offset;
    size_t length;
    int status;

    while ((status = archive_read_data_block(a->archive, &data, &length, &offset)) == ARCHIVE_OK) {
        if (offset < 0 || offset > size || (la_int64_t)length > size - offset)
            return error_set(e, ERROR_CORRUPT, "the file is longer than the archive says");
        if (write_at(fd, data, length, offset) < 0)
            return error_errno(e, "cannot be written");
    }
    if (status != ARCHIVE_EOF)
        return reader_error(a->archive, e);
    return ftruncate(fd, size) < 0 ? error_errno(e, "cannot be written") : 0;
}

static int put_file(struct apply *a, int parent, const char *name, struct archive_entry *entry,
                    struct error *e)
{
    cleanup_fd int fd = tree_make_file(parent, name, e);

    if (fd < 0 || copy_data_layer(a, fd, archive_entry_size(entry), e) < 0)
        return -1;
    return set_attributes(fd, entry, e);
}

static int put_directory(int parent, const char *name, struct archive_entry *entry, struct error *e)
{
    cleanup_fd int fd = tree_make_directory(parent, name, e);

    return fd < 0 ? -1 : set_attributes(fd, entry, e);
}

static int put_symlink(int parent, const char *name, struct archive_entry *entry, struct error *e)
{
    if (tree_remove(parent, name, e) < 0)
        return -1;
    if (symlinkat(archive_entry_symlink(entry), parent, name) < 0)
        return error_errno(e, "symbolic link cannot be made");
    return set_owner(parent, name, -1, entry, e);
}

/* The target is looked at first: a link to itself must not remove itself. */
static int put_hardlink(struct apply *a, int parent, const char *name, const char *target, struct error *e)
{
    char shown[TREE_SHOWN_MAX + 8];
    struct stat there, here;
    struct tree_path path;
    const char *target_name;

    if (tree_path_parse(&path, target, e) < 0)
        return -1;
    tree_shown(path.text, shown);
    if (path.depth == 0)
        return error_set(e, ERROR_GENERAL, "hard link to the root");
    cleanup_fd int from = tree_open_parent(a->root_fd, &path, TREE_BENEATH, false, &target_name, e);
    if (from < 0)
        return error_wrap(e, "hard link to %s", shown);
    if (fstatat(from, target_name, &there, AT_SYMLINK_NOFOLLOW) < 0)
        return error_set(e, ERROR_GENERAL, "hard link to %s, which is not in the image", shown);
    if (S_ISDIR(there.st_mode))
        return error_set(e, ERROR_GENERAL, "hard link to the directory %s", shown);
    if (fstatat(parent, name, &here, AT_SYMLINK_NOFOLLOW) == 0 && here.st_ino == there.st_ino &&
        here.st_dev == there.st_dev)
        return 0;
    if (tree_remove(parent, name, e) < 0)
        return -1;
    return linkat(from, target_name, parent, name, 0) < 0 ? error_errno(e, "hard link to %s", shown) : 0;
}

static int apply_entry(struct apply *a, struct archive_entry *entry, const struct tree_path *path,
                       struct error *e)
{
    const char *hard = archive_entry_hardlink(entry), *name;

    if (is_whiteout(path))
        return 0;
    if (path->depth == 0) {
        cleanup_fd int root = openat(a->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return root < 0 ? error_errno(e, "cannot be opened") : set_attributes(root, entry, e);
    }
    cleanup_fd int parent = tree_open_parent(a->root_fd, path, TREE_BENEATH, true, &name, e);
    if (parent < 0)
        return -1;
    if (hard)
        return put_hardlink(a, parent, name, hard, e);
    if (archive_entry_filetype(entry) == AE_IFDIR)
        return put_directory(parent, name, entry, e);
    if (archive_entry_filetype(entry) == AE_IFLNK)
        return put_symlink(parent, name, entry, e);
    return put_file(a, parent, name, entry, e);
}

int layer_apply(int tar_fd, int root_fd, const struct layer_limits *limits, struct layer_totals *totals,
                struct error *e)
{
    struct apply a = {.root_fd = root_fd, .limits = limits, .totals = *totals};

    if (each_entry(&a, tar_fd, check_entry, e) < 0 || each_entry(&a, tar_fd, apply_whiteout, e) < 0 ||
        each_entry(&a, tar_fd, apply_entry, e) < 0)
        return -1;
    *totals = a.totals;
    return 0;
}
