#include "confine/seal.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int seal_install(const struct filter *f)
{
    const struct sock_fprog program = {.len = (unsigned short)f->count,
                                       .filter = (struct sock_filter *)f->code};
    const unsigned flags = f->listens ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0;

    int fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (fd < 0 && errno == EBUSY)
        errno = EEXIST; /* an outer listener stays; EBUSY is taken for what passes */
    return fd;
}

int seal_hand_over(int socket, int fd)
{
    char byte = 0;
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec data = {&byte, 1};
    struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1};

    if (fd >= 0) {
        memset(&control, 0, sizeof(control));
        m.msg_control = &control;
        m.msg_controllen = sizeof(control);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    }
    return sendmsg(socket, &m, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

int seal_calls(const struct filter *f, int socket, const char **ret_step)
{
    *ret_step = "no_new_privs";
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -1;
    *ret_step = "seccomp";
    int listener = seal_install(f);
    if (listener < 0)
        return -1;
    *ret_step = "hand over the system call filter";
    return f->listens ? seal_hand_over(socket, listener) : 0;
}
