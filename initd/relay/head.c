#include "head.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#define SOCKS 5
#define SOCKS_CONNECT 1
#define SOCKS_REFUSED 2
#define SOCKS_UNREACHED 4
#define SOCKS_NOT_SUPPORTED 7

/* A view of bytes. */
struct view {
    const uint8_t *data;
    size_t size;
};

static bool begins(struct view v, const char *word)
{
    size_t size = strlen(word);

    return v.size >= size && strncasecmp((const char *)v.data, word, size) == 0;
}

/* What comes before the first c, which is taken off v; all of it when there is none. */
static struct view cut(struct view *v, uint8_t c)
{
    const uint8_t *end = memchr(v->data, c, v->size);
    struct view ret = {v->data, end ? (size_t)(end - v->data) : v->size};
    size_t gone = ret.size + (end != NULL);

    v->data += gone;
    v->size -= gone;
    return ret;
}

static struct view without_cr(struct view line)
{
    if (line.size && line.data[line.size - 1] == '\r')
        line.size--;
    return line;
}

static bool take_decimal(struct view v, uint64_t most, uint64_t *ret)
{
    *ret = 0;
    for (size_t i = 0; i < v.size; i++) {
        if (v.data[i] < '0' || v.data[i] > '9' || *ret > most)
            return false;
        *ret = *ret * 10 + (uint64_t)(v.data[i] - '0');
    }
    return v.size > 0 && *ret <= most;
}

/* ---- replies ------------------------------------------------------------------------------------- */

static void add_reply(char *out, size_t *size, const void *data, size_t count)
{
    size_t room = HEAD_REPLY_MAX - *size;

    count = count < room ? count : room;
    memcpy(out + *size, data, count);
    *size += count;
}

/* The reason is where it stands in most programs' messages. */
static size_t http_reply(const char *status, const void *reason, size_t reason_size, char *out)
{
    static const char rest[] = "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    size_t size = 0;

    add_reply(out, &size, "HTTP/1.1 ", 9);
    add_reply(out, &size, status, 3);
    add_reply(out, &size, " ", 1);
    add_reply(out, &size, reason, reason_size);
    add_reply(out, &size, rest, sizeof(rest) - 1);
    return size;
}

static size_t socks_reply(uint8_t code, char *out)
{
    const uint8_t reply[10] = {SOCKS, code, 0, 1};

    memcpy(out, reply, sizeof(reply));
    return sizeof(reply);
}

static enum head_verdict bad(const char *status, const char *reason, char *out, size_t *ret_size)
{
    *ret_size = http_reply(status, reason, strlen(reason), out);
    return HEAD_BAD;
}

static enum head_verdict bad_socks(uint8_t code, char *out, size_t *ret_size)
{
    *ret_size = socks_reply(code, out);
    return HEAD_BAD;
}

size_t head_opened(const struct head *h, char ret[static HEAD_REPLY_MAX])
{
    static const char reply[] = "HTTP/1.1 200 Connection established\r\n\r\n";

    if (h->kind == HEAD_SOCKS)
        return socks_reply(0, ret);
    if (h->kind != HEAD_TUNNEL)
        return 0;
    memcpy(ret, reply, sizeof(reply) - 1);
    return sizeof(reply) - 1;
}

size_t head_refused(const struct head *h, const uint8_t *text, size_t size, char ret[static HEAD_REPLY_MAX])
{
    const struct view v = {text, size};
    bool tried = begins(v, "failed") || begins(v, "unresolved");

    if (h->kind == HEAD_SOCKS)
        return socks_reply(tried ? SOCKS_UNREACHED : SOCKS_REFUSED, ret);
    return http_reply(tried ? "502" : "403", text, size, ret);
}

/* ---- HTTP ---------------------------------------------------------------------------------------- */

/* HOST, HOST:PORT, [ADDRESS]:PORT; port 0: it has to be there. */
static bool take_authority(struct head *h, struct view v, uint16_t port)
{
    struct view host;
    uint64_t number = port;

    if (v.size && v.data[0] == '[') {
        cut(&v, '[');
        host = cut(&v, ']');
        if (v.size && v.data[0] == ':')
            cut(&v, ':');
        else if (v.size)
            return false;
    } else {
        host = cut(&v, ':');
    }
    if (v.size && !take_decimal(v, 65535, &number))
        return false;
    if (host.size == 0 || host.size > RELAY_HOST_MAX || number == 0)
        return false;
    memcpy(h->host, host.data, host.size);
    h->host[host.size] = '\0';
    h->port = (uint16_t)number;
    for (size_t i = 0; i < host.size; i++)
        if (host.data[i] < 33 || host.data[i] > 126)
            return false;
    return true;
}

/* The headers that say how much of the client follows. */
static bool look_at_body(struct head *h, struct view headers)
{
    uint64_t length;

    while (headers.size) {
        struct view line = without_cr(cut(&headers, '\n'));
        struct view name = cut(&line, ':');
        while (line.size && line.data[0] == ' ')
            cut(&line, ' ');
        if ((name.size == 17 && begins(name, "transfer-encoding")) ||
            (name.size == 7 && begins(name, "upgrade")))
            h->body = -1;
        if (name.size != 14 || !begins(name, "content-length") || h->body < 0)
            continue;
        if (!take_decimal(line, INT64_MAX / 16, &length))
            return false;
        h->body = (int64_t)length;
    }
    return true;
}

/* The length of a head with its empty line; 0: it is not whole yet. */
static size_t whole(const uint8_t *data, size_t size)
{
    for (size_t i = 1; i < size; i++)
        if (data[i] == '\n' &&
            (data[i - 1] == '\n' || (i >= 2 && data[i - 1] == '\r' && data[i - 2] == '\n')))
            return i + 1;
    return 0;
}

static enum head_verdict look_at_http(struct head *h, const uint8_t *data, size_t size, char *out,
                                      size_t *ret_size)
{
    h->used = whole(data, size);
    if (h->used == 0 && size < HEAD_MAX)
        return HEAD_MORE;
    if (h->used == 0)
        return bad("431", "request header too large", out, ret_size);
    struct view rest = {data, h->used}, line = without_cr(cut(&rest, '\n'));
    struct view method = cut(&line, ' '), target = cut(&line, ' ');
    if (begins(method, "CONNECT") && method.size == 7) {
        h->kind = HEAD_TUNNEL;
        h->body = -1;
        return take_authority(h, target, 0) ? HEAD_TARGET
                                            : bad("400", "CONNECT needs HOST:PORT", out, ret_size);
    }
    h->kind = HEAD_FORWARD;
    if (!begins(line, "HTTP/1.") || !begins(target, "http://"))
        return bad("400", "this is a proxy: a request names http://HOST/ or is CONNECT", out, ret_size);
    target.data += 7, target.size -= 7;
    size_t end = 0, user = 0;
    for (; end < target.size && !memchr("/?#", target.data[end], 3); end++)
        user = target.data[end] == '@' ? end + 1 : user;
    if (!take_authority(h, (struct view){target.data + user, end - user}, 80) || !look_at_body(h, rest))
        return bad("400", "malformed request", out, ret_size);
    return HEAD_TARGET;
}

static void put_view(uint8_t *out, size_t *size, struct view v)
{
    memcpy(out + *size, v.data, v.size);
    *size += v.size;
}

static void put_words(uint8_t *out, size_t *size, const char *text)
{
    put_view(out, size, (struct view){(const uint8_t *)text, strlen(text)});
}

/* Of the connection to the proxy, and none of the server's. */
static bool is_for_proxy(struct view line, bool upgrades)
{
    return begins(line, "proxy-connection:") || begins(line, "proxy-authorization:") ||
           begins(line, "keep-alive:") || (!upgrades && begins(line, "connection:"));
}

size_t head_rewrite(const uint8_t *data, size_t used, uint8_t *out)
{
    struct view rest = {data, used}, line = without_cr(cut(&rest, '\n'));
    struct view method = cut(&line, ' '), target = cut(&line, ' ');
    bool upgrades = false;
    size_t size = 0;

    target.data += 7, target.size -= 7;
    while (target.size && !memchr("/?#", target.data[0], 3))
        target.data++, target.size--;
    put_view(out, &size, method);
    put_words(out, &size, target.size && target.data[0] == '/' ? " " : " /");
    put_view(out, &size, target);
    put_words(out, &size, " ");
    put_view(out, &size, line);
    put_words(out, &size, "\r\n");
    for (struct view all = rest; all.size;)
        upgrades = begins(cut(&all, '\n'), "upgrade:") || upgrades;
    while (rest.size) {
        line = without_cr(cut(&rest, '\n'));
        if (line.size == 0 || is_for_proxy(line, upgrades))
            continue;
        put_view(out, &size, line);
        put_words(out, &size, "\r\n");
    }
    put_words(out, &size, upgrades ? "\r\n" : "Connection: close\r\n\r\n");
    return size;
}

/* ---- SOCKS 5 (RFC 1928) -------------------------------------------------------------------------- */

static enum head_verdict greet_socks(struct head *h, const uint8_t *data, size_t size, char *out,
                                     size_t *ret_size)
{
    if (size < 2 || size < 2u + data[1])
        return HEAD_MORE;
    h->used = 2u + data[1];
    h->greeted = memchr(data + 2, 0, data[1]); /* without a password */
    out[0] = SOCKS;
    out[1] = h->greeted ? 0 : (char)0xff;
    *ret_size = 2;
    return h->greeted ? HEAD_ANSWER : HEAD_BAD;
}

static enum head_verdict look_at_socks(struct head *h, const uint8_t *data, size_t size, char *out,
                                       size_t *ret_size)
{
    if (!h->greeted)
        return greet_socks(h, data, size, out, ret_size);
    if (size < 5)
        return HEAD_MORE;
    size_t length = data[3] == 1 ? 4 : data[3] == 4 ? 16 : data[3] == 3 ? 1u + data[4] : 0;
    if (data[1] != SOCKS_CONNECT || length == 0)
        return bad_socks(SOCKS_NOT_SUPPORTED, out, ret_size);
    if (size < 4 + length + 2)
        return HEAD_MORE;
    h->used = 4 + length + 2;
    h->port = (uint16_t)(data[4 + length] << 8 | data[5 + length]);
    if (data[3] == 3) {
        memcpy(h->host, data + 5, length - 1);
        h->host[length - 1] = '\0';
    } else {
        inet_ntop(data[3] == 1 ? AF_INET : AF_INET6, data + 4, h->host, sizeof(h->host));
    }
    for (const char *c = h->host; *c; c++)
        if (*c < 33 || *c > 126)
            return bad_socks(SOCKS_REFUSED, out, ret_size);
    return h->host[0] && h->port ? HEAD_TARGET : bad_socks(SOCKS_REFUSED, out, ret_size);
}

enum head_verdict head_look(struct head *h, const uint8_t *data, size_t size,
                            char ret_reply[static HEAD_REPLY_MAX], size_t *ret_size)
{
    if (size == 0)
        return HEAD_MORE;
    if (data[0] != SOCKS)
        return h->greeted ? bad_socks(SOCKS_REFUSED, ret_reply, ret_size)
                          : look_at_http(h, data, size, ret_reply, ret_size);
    h->kind = HEAD_SOCKS;
    h->body = -1;
    return look_at_socks(h, data, size, ret_reply, ret_size);
}
