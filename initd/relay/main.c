/*
 * relay: carries the connections of a guest, which has no network card, to its host, and some of the host's into the guest. It is
 * a program of its own that the host writes into a guest and runs as a job; programs find it as an HTTP and SOCKS proxy on the
 * guest's loopback. It decides nothing: that is the host's to do.
 */
#include "host.h"
#include "link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4096 /* as far as the kernel allows */
#define ACCEPTED_MAX 32

static int fail(const char *what)
{
    const char *parts[] = {"relay: ", what, ": ", strerror(errno), "\n"};

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (write(STDERR_FILENO, parts[i], strlen(parts[i])) < 0)
            break;
    return 1;
}

static int listen_on_loopback(void)
{
    const struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(RELAY_PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    return bind(fd, (const void *)&at, sizeof(at)) < 0 || listen(fd, BACKLOG) < 0 ? -1 : fd;
}

static void accept_some(int listener)
{
    for (int i = 0; i < ACCEPTED_MAX && host_has_room(); i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        link_accept(fd);
    }
}

/* While the host does not read, it is listened to, and nobody else. */
static void step(int listener)
{
    struct pollfd p[3 + RELAY_NUMBERS];
    uint16_t which[RELAY_NUMBERS];
    bool behind = host_flush();
    unsigned count = 0;
    int ms;

    count = link_polled(p + 3, which, &ms);
    p[0] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    p[1] = (struct pollfd){.fd = behind ? STDOUT_FILENO : -1, .events = POLLOUT};
    p[2] = (struct pollfd){.fd = link_has_place() ? listener : -1, .events = POLLIN};
    if (!host_has_room()) {
        p[2].fd = -1;
        count = 0;
    }
    if (poll(p, 3 + count, ms) < 0 && errno != EINTR)
        _exit(fail("poll"));
    if (p[0].revents)
        host_read(link_take);
    for (unsigned i = 0; i < count && host_has_room(); i++)
        if (p[3 + i].revents)
            link_ready(which[i], p[3 + i].revents);
    if (p[2].revents)
        accept_some(listener);
    link_tick();
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    fcntl(STDOUT_FILENO, F_SETFL, O_NONBLOCK);
    int listener = listen_on_loopback();
    if (listener < 0)
        return fail("127.0.0.1:3128");
    host_tell_empty(RELAY_READY, 0);
    for (;;)
        step(listener);
}
