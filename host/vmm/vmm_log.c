#include "vmm/vmm_log.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROOM 65536

/* It has its full size at once and cannot grow (fcntl(2), F_SEAL_GROW). */
int vmm_log_open(struct error *e)
{
    cleanup_fd int fd = memfd_create("vmm-log", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0 || ftruncate(fd, ROOM) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0)
        return error_errno(e, "cannot make a log for the VMM");
    return take_fd(&fd);
}

/* The VMM writes through the same open file, whose position so tells how much there is. */
static off_t printed(int fd)
{
    off_t end = fd >= 0 ? lseek(fd, 0, SEEK_CUR) : 0;

    return end > ROOM ? ROOM : end < 0 ? 0 : end;
}

static size_t copy(int fd, off_t from, off_t end, char *ret, size_t size)
{
    size_t wanted = (size_t)(end - from) < size - 1 ? (size_t)(end - from) : size - 1;
    ssize_t n = wanted > 0 ? pread(fd, ret, wanted, from) : 0;

    ret[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

size_t vmm_log_first(int fd, char *ret, size_t size)
{
    return copy(fd, 0, printed(fd), ret, size);
}

size_t vmm_log_last(int fd, char *ret, size_t size)
{
    off_t end = printed(fd);

    return copy(fd, end > (off_t)size - 1 ? end - (off_t)size + 1 : 0, end, ret, size);
}
