#include "vmm/disk.h"

#include "base/child.h"
#include "base/cleanup.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define MAKE_DEADLINE_MS 60000

int disk_make(const char *path, uint64_t mib, const struct cancel *cancel, struct error *e)
{
    cleanup_free char *size = text_format("%lluM", (unsigned long long)mib);
    /* mke2fs(8). What is thrown away needs neither a journal nor blocks kept for root. A new file holds zeros, so
     * nobody has to write them, neither here nor, lazily, the guest. */
    const char *argv[] = {"mkfs.ext4", "-q", "-O", "^has_journal,^resize_inode",
                          "-m",        "0",  "-E", "root_owner=0:0,nodiscard,assume_storage_prezeroed=1",
                          "--",        path, size, NULL};
    cleanup_buffer struct buffer none = {0};

    if (child_capture(argv, 4096, deadline_in_ms(MAKE_DEADLINE_MS), cancel, &none, e) < 0) {
        unlink(path);
        return error_wrap(
            e, "no scratch disk of %s could be made (mkfs.ext4 is in Debian's e2fsprogs, 1.47 or later)",
            size);
    }
    return 0;
}

/* A new file under a name of its own; the caller frees the name. */
static int make_file_disk(const char *directory, char **ret_path, struct error *e)
{
    char *path = text_format("%s/disk-XXXXXX", directory);
    int fd = mkostemp(path, O_CLOEXEC);

    if (fd < 0) {
        error_errno(e, "cannot create a file in %s", directory);
        free(path);
        return -1;
    }
    *ret_path = path;
    return fd;
}

char *disk_make_named(const char *directory, uint64_t mib, const struct cancel *cancel, struct error *e)
{
    char *path = NULL;
    cleanup_fd int fd = make_file_disk(directory, &path, e);

    if (fd < 0)
        return NULL;
    if (disk_make(path, mib, cancel, e) == 0)
        return path;
    free(path);
    return NULL;
}

int disk_make_nameless(const char *directory, uint64_t mib, const struct cancel *cancel, struct error *e)
{
    cleanup_free char *path = NULL;
    cleanup_fd int fd = make_file_disk(directory, &path, e);

    if (fd < 0)
        return -1;
    int result = disk_make(path, mib, cancel, e);
    unlink(path);
    return result < 0 ? -1 : take_fd(&fd);
}

char *disk_make_placeholder(const char *directory, struct error *e)
{
    char *path = NULL;
    cleanup_fd int fd = make_file_disk(directory, &path, e);

    if (fd < 0)
        return NULL;
    /* Also for a confined VMM, whose user is another. */
    if (ftruncate(fd, (off_t)DISK_MIB_MAX << 20) == 0 && fchmod(fd, 0444) == 0)
        return path;
    error_errno(e, "cannot enlarge %s", path);
    unlink(path);
    free(path);
    return NULL;
}

char *disk_name_again(const char *path, const char *directory, struct error *e)
{
    char *name = NULL;
    cleanup_fd int fd = make_file_disk(directory, &name, e);

    if (fd < 0)
        return NULL;
    if (unlink(name) == 0 && link(path, name) == 0)
        return name;
    error_errno(e, "cannot give %s another name", path);
    free(name);
    return NULL;
}

/* Copies the extents that are not holes, lseek(2). */
static int copy_data_disk(int from, int to, off_t size)
{
    if (ftruncate(to, size) < 0)
        return -1;
    for (off_t at = 0; at < size;) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0)
            return errno == ENXIO ? 0 : -1; /* ENXIO: only a hole follows */
        off_t end = lseek(from, data, SEEK_HOLE), written = data;
        if (end < 0)
            return -1;
        while (data < end) {
            ssize_t n = copy_file_range(from, &data, to, &written, (size_t)(end - data), 0);
            if (n <= 0) {
                errno = n == 0 ? EIO : errno;
                return -1;
            }
        }
        at = end;
    }
    return 0;
}

static int copy_disk(const char *path, int to, struct error *e)
{
    cleanup_fd int from = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (from < 0 || fstat(from, &st) < 0)
        return error_errno(e, "cannot open %s", path);
    if (ioctl(to, FICLONE, from) < 0 && copy_data_disk(from, to, st.st_size) < 0)
        return error_errno(e, "cannot copy %s", path);
    return 0;
}

char *disk_copy_named(const char *path, const char *directory, struct error *e)
{
    char *copy = NULL;
    cleanup_fd int to = make_file_disk(directory, &copy, e);

    if (to < 0)
        return NULL;
    if (copy_disk(path, to, e) == 0)
        return copy;
    unlink(copy);
    free(copy);
    return NULL;
}

int disk_copy_nameless(const char *path, const char *directory, struct error *e)
{
    cleanup_free char *copy = NULL;
    cleanup_fd int to = make_file_disk(directory, &copy, e);

    if (to < 0)
        return -1;
    unlink(copy);
    return copy_disk(path, to, e) < 0 ? -1 : take_fd(&to);
}
