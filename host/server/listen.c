#include "server/listen.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define FIRST_PASSED_FD 3 /* SD_LISTEN_FDS_START, sd_listen_fds(3) */
#define BACKLOG 512

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

static int parse_address(const char *text, uint16_t port, union address *ret, socklen_t *ret_size,
                         struct error *e)
{
    *ret = (union address){0};
    if (inet_pton(AF_INET, text, &ret->v4.sin_addr) == 1) {
        ret->v4.sin_family = AF_INET;
        ret->v4.sin_port = htons(port);
        *ret_size = sizeof(ret->v4);
        return 0;
    }
    if (inet_pton(AF_INET6, text, &ret->v6.sin6_addr) == 1) {
        ret->v6.sin6_family = AF_INET6;
        ret->v6.sin6_port = htons(port);
        *ret_size = sizeof(ret->v6);
        return 0;
    }
    return error_set(e, ERROR_USAGE,
                     "--bind %.64s: must be an IPv4 or IPv6 address in numbers, such as 127.0.0.1", text);
}

static int open_tcp(const struct listen_wish *w, struct error *e)
{
    const int on = 1;
    union address a;
    socklen_t size = 0;

    if (parse_address(w->address, (uint16_t)w->port, &a, &size, e) < 0)
        return -1;
    cleanup_fd int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_errno(e, "cannot open a socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (bind(fd, &a.any, size) < 0 || listen(fd, BACKLOG) < 0)
        return error_errno(e, "cannot listen on %s port %llu (choose another with --port)", w->address,
                           (unsigned long long)w->port);
    return take_fd(&fd);
}

/* A socket that nobody listens on any more is replaced. */
static int open_local(const char *path, struct error *e)
{
    union address a = {.local = {.sun_family = AF_UNIX}};
    struct stat st;

    if (strlen(path) >= sizeof(a.local.sun_path))
        return error_set(e, ERROR_USAGE, "--socket %s: longer than %zu bytes", path,
                         sizeof(a.local.sun_path) - 1);
    strcpy(a.local.sun_path, path);
    cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_errno(e, "cannot open a socket");
    if (lstat(path, &st) == 0) {
        cleanup_fd int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (!S_ISSOCK(st.st_mode))
            return error_set(e, ERROR_USAGE, "--socket %s: there is something else", path);
        if (connect(probe, &a.any, sizeof(a.local)) == 0 || errno != ECONNREFUSED)
            return error_set(e, ERROR_USAGE, "--socket %s: another server uses it", path);
        unlink(path);
    }
    mode_t before = umask(0077); /* only its owner may connect */
    int bound = bind(fd, &a.any, sizeof(a.local));
    umask(before);
    if (bound < 0 || listen(fd, BACKLOG) < 0)
        return error_errno(e, "cannot listen on %s", path);
    return take_fd(&fd);
}

/* How many fds systemd hands in to this very process. */
static int count_passed(void)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    uint64_t p = 0, n = 0;

    if (!pid || !count || !text_to_u64(pid, 1, INT32_MAX, &p) || (pid_t)p != getpid() ||
        !text_to_u64(count, 0, LISTEN_MAX, &n))
        return 0;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    for (int fd = FIRST_PASSED_FD; fd < FIRST_PASSED_FD + (int)n; fd++) {
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        fcntl(fd, F_SETFL, O_NONBLOCK);
    }
    return (int)n;
}

char *listen_name(int fd)
{
    union address a = {0};
    socklen_t size = sizeof(a);
    char text[INET6_ADDRSTRLEN];

    if (getsockname(fd, &a.any, &size) < 0)
        return text_copy("unknown");
    if (a.any.sa_family == AF_UNIX)
        return text_format("unix:%s", a.local.sun_path);
    if (a.any.sa_family == AF_INET)
        return text_format("http://%s:%u", inet_ntop(AF_INET, &a.v4.sin_addr, text, sizeof(text)),
                           ntohs(a.v4.sin_port));
    return text_format("http://[%s]:%u", inet_ntop(AF_INET6, &a.v6.sin6_addr, text, sizeof(text)),
                       ntohs(a.v6.sin6_port));
}

int listen_open(const struct listen_wish *w, int ret[static LISTEN_MAX], int *ret_count, struct error *e)
{
    int count = count_passed();

    for (int i = 0; i < count; i++)
        ret[i] = FIRST_PASSED_FD + i;
    if (count == 0) {
        if (!w->no_tcp && (ret[count] = open_tcp(w, e)) < 0)
            return -1;
        count += !w->no_tcp;
        if (w->socket && (ret[count] = open_local(w->socket, e)) < 0) {
            listen_close(NULL, ret, count);
            return -1;
        }
        count += w->socket != NULL;
    }
    *ret_count = count;
    return 0;
}

int listen_print(const int *fds, int count, struct error *e)
{
    for (int i = 0; i < count; i++) {
        cleanup_free char *name = listen_name(fds[i]);
        printf("listening on %s\n", name);
    }
    return fflush(stdout) == 0 ? 0 : error_errno(e, "cannot write standard output");
}

void listen_close(const char *path, const int *fds, int count)
{
    for (int i = 0; i < count; i++) {
        union address a = {0};
        socklen_t size = sizeof(a);
        if (path && getsockname(fds[i], &a.any, &size) == 0 && a.any.sa_family == AF_UNIX &&
            strcmp(a.local.sun_path, path) == 0)
            unlink(path);
        close(fds[i]);
    }
}

bool listen_is_public(const int *fds, int count)
{
    for (int i = 0; i < count; i++) {
        union address a = {0};
        socklen_t size = sizeof(a);
        if (getsockname(fds[i], &a.any, &size) < 0)
            return true;
        if (a.any.sa_family == AF_INET && ntohl(a.v4.sin_addr.s_addr) >> 24 != 127)
            return true;
        if (a.any.sa_family == AF_INET6 && !IN6_IS_ADDR_LOOPBACK(&a.v6.sin6_addr))
            return true;
    }
    return false;
}

void listen_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    union address a = {.local = {.sun_family = AF_UNIX}};
    size_t size = path ? strlen(path) : 0;

    if (size < 2 || size >= sizeof(a.local.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(a.local.sun_path, path, size);
    if (path[0] == '@')
        a.local.sun_path[0] = '\0'; /* an abstract one, unix(7) */
    cleanup_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, &a.any,
                         (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)) < 0)
        log_warning("cannot tell systemd \"%s\": %s", state, strerror(errno));
}
