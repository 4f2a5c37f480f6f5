#include "egress/upstream.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ANSWER_MAX 8192

/* Of two spellings. */
static const char *variable(const char *small, const char *capital)
{
    const char *value = getenv(small);

    value = value && value[0] ? value : getenv(capital);
    return value && value[0] ? value : NULL;
}

bool upstream_is_excepted(const char *list, const char *host)
{
    cleanup_free char *copy = text_copy(list);
    char *state = NULL;
    size_t size = strlen(host);

    for (char *word = strtok_r(copy, ", ", &state); word; word = strtok_r(NULL, ", ", &state)) {
        char *slash = strchr(word, '/');
        struct address net, a;
        uint64_t bits;
        if (slash)
            *slash++ = '\0';
        if (slash && address_parse(word, &net) && address_parse(host, &a) &&
            text_to_u64(slash, 0, 128, &bits) && address_is_in(&a, &net, (unsigned)bits))
            return true;
        word += strncmp(word, "*.", 2) == 0 ? 1 : 0;
        const char *suffix = word + (word[0] == '.');
        size_t length = strlen(suffix);
        if (strcmp(word, "*") == 0 || strcasecmp(suffix, host) == 0 ||
            (length && size > length && host[size - length - 1] == '.' &&
             strcasecmp(host + size - length, suffix) == 0))
            return true;
    }
    return false;
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* %XX in place. */
static void decode(char *s)
{
    char *out = s;

    for (; *s; s++) {
        bool coded = *s == '%' && digit_of(s[1]) >= 0 && digit_of(s[2]) >= 0;
        *out++ = coded ? (char)(digit_of(s[1]) << 4 | digit_of(s[2])) : *s;
        s += coded ? 2 : 0;
    }
    *out = '\0';
}

/* [http://][USER:PASSWORD@]HOST[:PORT][/] */
static bool read_url(const char *url, struct upstream *ret)
{
    cleanup_free char *copy = text_copy(url);
    char *host = copy, *scheme = strstr(copy, "://"), *at, *colon;
    uint64_t port = 80;

    *ret = (struct upstream){0};
    if (scheme) {
        *scheme = '\0';
        if (strcasecmp(copy, "http") != 0)
            return false;
        host = scheme + 3;
    }
    host[strcspn(host, "/?#")] = '\0';
    if ((at = strrchr(host, '@'))) {
        *at = '\0';
        if (snprintf(ret->login, sizeof(ret->login), "%s", host) >= (int)sizeof(ret->login))
            return false;
        decode(ret->login);
        host = at + 1;
    }
    if (host[0] == '[') {
        char *end = strchr(++host, ']');
        if (!end)
            return false;
        *end = '\0';
        colon = end[1] == ':' ? end + 1 : NULL;
    } else {
        colon = strrchr(host, ':');
    }
    if (colon && !text_to_u64(colon + 1, 1, 65535, &port))
        return false;
    if (colon)
        *colon = '\0';
    ret->port = (uint16_t)port;
    return host[0] && snprintf(ret->host, sizeof(ret->host), "%s", host) < (int)sizeof(ret->host);
}

int upstream_find(const char *host, uint16_t port, struct upstream *ret, struct error *e)
{
    /* HTTP_PROXY in capitals is what a CGI's client sends as "Proxy:", and nobody takes it. */
    const char *url =
        port == 80 ? variable("http_proxy", "http_proxy") : variable("https_proxy", "HTTPS_PROXY");
    const char *except = variable("no_proxy", "NO_PROXY");

    url = url ? url : variable("all_proxy", "ALL_PROXY");
    if (!url || (except && upstream_is_excepted(except, host)))
        return 0;
    return read_url(url, ret)
               ? 1
               : error_set(e, ERROR_GENERAL, "the host's proxy is none that can be used: http://HOST:PORT");
}

static int send_all(int fd, const char *data, size_t size, int64_t deadline, const struct cancel *cancel,
                    struct error *e)
{
    while (size > 0) {
        int ready = deadline_wait_fd(fd, POLLOUT, deadline, cancel, e);
        if (ready <= 0)
            return ready < 0 ? -1 : error_set(e, ERROR_TIMEOUT, "the host's proxy does not answer");
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return error_errno(e, "the host's proxy");
        data += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Up to the empty line, a byte at a time: what follows is not ours. */
static int read_head(int fd, char ret[static ANSWER_MAX], int64_t deadline, const struct cancel *cancel,
                     struct error *e)
{
    size_t size = 0;

    while (size < ANSWER_MAX - 1) {
        int ready = deadline_wait_fd(fd, POLLIN, deadline, cancel, e);
        if (ready <= 0)
            return ready < 0 ? -1 : error_set(e, ERROR_TIMEOUT, "the host's proxy does not answer");
        ssize_t n = recv(fd, ret + size, 1, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n <= 0)
            return error_set(e, ERROR_GENERAL, "the host's proxy closed the connection");
        ret[++size] = '\0';
        if (size >= 4 && strcmp(ret + size - 4, "\r\n\r\n") == 0)
            return 0;
    }
    return error_set(e, ERROR_GENERAL, "the host's proxy says too much");
}

int upstream_connect(const struct upstream *u, int fd, const char *host, uint16_t port, int64_t deadline,
                     const struct cancel *cancel, struct error *e)
{
    cleanup_free char *login = u->login[0] ? text_base64(u->login, strlen(u->login)) : NULL;
    bool numbers = strchr(host, ':');
    cleanup_free char *target = text_format(numbers ? "[%s]:%u" : "%s:%u", host, port);
    cleanup_free char *head =
        text_format("CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n", target, target,
                    login ? "Proxy-Authorization: Basic " : "", login ? login : "", login ? "\r\n" : "");
    char answer[ANSWER_MAX] = "";

    if (send_all(fd, head, strlen(head), deadline, cancel, e) < 0 ||
        read_head(fd, answer, deadline, cancel, e) < 0)
        return -1;
    if (strncmp(answer, "HTTP/1.", 7) == 0 && strncmp(answer + 8, " 200", 4) == 0)
        return 0;
    answer[strcspn(answer, "\r\n")] = '\0';
    text_make_plain(answer);
    return error_set(e, ERROR_GENERAL, "the host's proxy says %.100s", answer);
}
