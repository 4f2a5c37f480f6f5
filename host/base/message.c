#include "base/message.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

union control {
    char bytes[CMSG_SPACE(sizeof(int) * MESSAGE_FDS_MAX)];
    struct cmsghdr align;
};

int message_send(int fd, const struct iovec *parts, size_t count, const int *passed, size_t passed_count,
                 struct error *e)
{
    union control control = {0};
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = count};

    if (passed_count > 0) {
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * passed_count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        *c = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
                              .cmsg_type = SCM_RIGHTS,
                              .cmsg_len = CMSG_LEN(sizeof(int) * passed_count)};
        memcpy(CMSG_DATA(c), passed, sizeof(int) * passed_count);
    }
    while (sendmsg(fd, &m, MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            return error_errno(e, "the other part of the server is gone");
    return 0;
}

/* Those beyond max are closed at once. */
static size_t take_passed(struct msghdr *m, int *ret, size_t max)
{
    size_t count = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (count < max)
                ret[count++] = fd;
            else
                close(fd);
        }
    }
    return count;
}

ssize_t message_receive(int fd, const struct iovec *parts, size_t count, int *ret_passed, size_t max,
                        size_t *ret_count, struct error *e)
{
    union control control = {0};
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                       .msg_iovlen = count,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    ssize_t n;

    *ret_count = 0;
    do
        n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == ECONNRESET) /* it ended with something unread */
        return 0;
    if (n < 0)
        return error_errno(e, "the other part of the server is gone");
    *ret_count = take_passed(&m, ret_passed, max);
    bool whole = !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
    if (whole && n > 0)
        return n;
    while (*ret_count > 0)
        close_fd(&ret_passed[--*ret_count]);
    if (whole) /* the end, or an empty message, which nobody sends */
        return 0;
    return error_set(e, ERROR_GENERAL, "a message between the server's parts is too long");
}
