#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define UMASK 022
#define NOWHERE 126 /* exit status: there is no /dev/null to take the place of a closed descriptor */

static mode_t before = UMASK;

void process_begin(void)
{
    before = umask(UMASK);
    /* In this order open(2) gives just the number that is looked at. Kept over exec, as the others are. */
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            _exit(NOWHERE);
}

bool process_can_read(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && (flags & O_ACCMODE) != O_WRONLY && !(flags & O_PATH);
}

mode_t process_user_mode(void)
{
    return 0666 & ~before;
}
