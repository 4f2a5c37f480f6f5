/*
 * Asks for something 1,000 times, 64 bytes for 16,000 each, and prints on standard error how many ns that took.
 *
 *   bench_requests pipe         of who is at the other end of standard input and output
 *   bench_requests proxy PORT   of 127.0.0.1:PORT, by one connection through the guest's proxy
 *   bench_requests each PORT    the same, with a connection for each request
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REQUESTS 1000
#define ANSWER 16000

static char data[65536];

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void need(int fine, const char *what)
{
    if (!fine) {
        perror(what);
        exit(1);
    }
}

static void ask(int in, int out)
{
    char request[64] = "request";

    need(write(out, request, sizeof(request)) == sizeof(request), "write");
    for (ssize_t got = 0, n; got < ANSWER; got += n) {
        n = read(in, data, sizeof(data));
        need(n > 0, "read");
    }
}

static int connect_by_proxy(const char *port)
{
    const struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(3128), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), n;

    need(connect(fd, (const void *)&at, sizeof(at)) == 0, "connect");
    n = snprintf(data, sizeof(data), "CONNECT 127.0.0.1:%s HTTP/1.1\r\n\r\n", port);
    need(write(fd, data, (size_t)n) == n, "write");
    need(read(fd, data, sizeof(data)) > 12 && memcmp(data + 9, "200", 3) == 0, "CONNECT");
    return fd;
}

int main(int argc, char **argv)
{
    int in = 0, out = 1, each = argc > 2 && strcmp(argv[1], "each") == 0;

    if (argc > 2 && strcmp(argv[1], "proxy") == 0)
        in = out = connect_by_proxy(argv[2]);
    int64_t start = now_ns();
    for (int i = 0; i < REQUESTS; i++) {
        if (each)
            in = out = connect_by_proxy(argv[2]);
        ask(in, out);
        if (each)
            close(in);
    }
    fprintf(stderr, "%lld\n", (long long)(now_ns() - start));
    return 0;
}
