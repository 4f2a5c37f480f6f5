#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int devpts_fd = -1;

void terminal_init(void)
{
    devpts_fd = open("/dev/pts", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* Where the ptmx of devpts is closed to everybody, its mode by default, there is the one of /dev. */
static int open_master(void)
{
    const int flags = O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK;
    int fd = openat(devpts_fd, "ptmx", flags);

    return fd >= 0 ? fd : open("/dev/ptmx", flags);
}

int terminal_open(const struct winsize *size, uid_t owner, int *ret_master, int *ret_terminal)
{
    int locked = 0;
    int master = *ret_master = open_master();

    if (master < 0)
        return -errno;
    /* ioctl_tty(2): TIOCGPTPEER needs no path, so it also works without a /dev/pts. */
    if (ioctl(master, TIOCSPTLCK, &locked) < 0)
        return -errno;
    int terminal = *ret_terminal = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0)
        return -errno;
    ioctl(terminal, TIOCSWINSZ, size);
    return fchown(terminal, owner, (gid_t)-1) < 0 && errno != EPERM && errno != EINVAL ? -errno : 0;
}
