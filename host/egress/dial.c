#include "egress/dial.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/message.h"
#include "base/text.h"
#include "base/thread.h"
#include "egress/resolve.h"
#include "egress/upstream.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

/* ---- messages ------------------------------------------------------------------------------------ */

bool dial_check_request(const void *data, size_t size, struct dial_request *ret)
{
    if (size != sizeof(*ret))
        return false;
    memcpy(ret, data, size);
    return ret->port && ret->host[0] && memchr(ret->host, '\0', sizeof(ret->host));
}

int dial_send_request(int fd, const struct dial_request *r, struct error *e)
{
    return message_send(fd, &(struct iovec){(void *)(uintptr_t)r, sizeof(*r)}, 1, NULL, 0, e);
}

int dial_receive_answer(int fd, struct dial_answer *ret, int *ret_fd, struct error *e)
{
    size_t count;

    *ret_fd = -1;
    ssize_t n = message_receive(fd, &(struct iovec){ret, sizeof(*ret)}, 1, ret_fd, 1, &count, e);
    if (n == 0)
        return error_set(e, ERROR_CANCELLED, "nobody makes connections any more");
    if (n < 0)
        return -1;
    if (n == (ssize_t)sizeof(*ret) && ret->decision < EGRESS_DECISIONS_COUNT &&
        (*ret_fd >= 0) == (ret->decision == EGRESS_ALLOWED) &&
        memchr(ret->address, '\0', sizeof(ret->address)) && memchr(ret->text, '\0', sizeof(ret->text)))
        return 0;
    close_fd(ret_fd);
    return error_set(e, ERROR_GENERAL, "an answer about a connection is malformed");
}

/* ---- one connection ------------------------------------------------------------------------------ */

struct dialer {
    int fd; /* borrowed */
    const struct dial_rules *rules;
    struct cancel stop; /* readable when the other end is closed */
    struct resolver resolver;
    struct thread_group threads;
};

struct dial {
    struct dialer *dialer;
    struct dial_request request;
    struct dial_answer answer;
    int64_t deadline;
    int fd; /* owned; the connection */
};

/* Why there is none. */
static void __attribute__((format(printf, 3, 4)))
decide(struct dial *d, enum egress_decision decision, const char *format, ...)
{
    char why[160];
    va_list args;

    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    d->answer.decision = decision;
    snprintf(d->answer.text, sizeof(d->answer.text), "%s: %s", egress_decision_name(decision),
             text_make_plain(why));
    for (char *c = d->answer.text; *c; c++)
        *c = *c < 32 || *c > 126 ? '?' : *c;
}

/* One of the interfaces of this machine has it: whoever comes from here gets in where strangers do not. */
static bool is_own(const struct address *a)
{
    struct ifaddrs *all = NULL;
    bool own = false;

    if (getifaddrs(&all) < 0)
        return true;
    for (const struct ifaddrs *i = all; i && !own; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != a->family)
            continue;
        struct address mine = address_of_socket(i->ifa_addr);
        own = memcmp(&mine, a, sizeof(mine)) == 0;
    }
    freeifaddrs(all);
    return own;
}

static bool may_connect(struct dial *d, const struct address *a, bool by_name)
{
    const struct dial_rules *rules = d->dialer->rules;
    bool own = is_own(a);

    for (size_t i = 0; i < rules->count; i++) {
        const char *special;
        if (policy_has_address(rules->policies[i], a, d->request.port, by_name, own, &special))
            continue;
        if (special)
            decide(d, EGRESS_SPECIAL, "%.60s is %s, which no rule names by its number", d->answer.address,
                   special);
        else
            decide(d, EGRESS_NOT_ALLOWED, "no rule allows %.60s, port %u", d->answer.address,
                   d->request.port);
        return false;
    }
    return rules->count > 0;
}

static bool may_look_up(struct dial *d, const char *name)
{
    const struct dial_rules *rules = d->dialer->rules;
    bool allowed = rules->count > 0;

    for (size_t i = 0; i < rules->count; i++)
        allowed = allowed && policy_has_name(rules->policies[i], name, d->request.port);
    if (!allowed)
        decide(d, EGRESS_NOT_ALLOWED, "no rule allows %.100s, port %u", name, d->request.port);
    return allowed;
}

/* 0 when it is there. */
static int connect_to(struct dial *d, const struct address *a, uint16_t port, struct error *e)
{
    struct sockaddr_storage to;
    socklen_t size = address_socket(a, port, &to), length = sizeof(int);
    int problem = 0;

    d->fd = socket(a->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (d->fd < 0)
        return error_errno(e, "socket");
    setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(d->fd, (const void *)&to, size) < 0 && errno != EINPROGRESS) {
        error_errno(e, "connect");
    } else {
        int ready = deadline_wait_fd(d->fd, POLLOUT, d->deadline, &d->dialer->stop, e);
        if (ready == 0)
            error_set(e, ERROR_TIMEOUT, "no answer in time");
        else if (ready > 0 && getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &problem, &length) == 0 && problem == 0)
            return 0;
        errno = problem;
        if (problem)
            error_errno(e, "connect");
    }
    close_fd(&d->fd);
    return -1;
}

/* The first that takes the connection, of those that may be tried. */
static void connect_any(struct dial *d, const struct resolved *r, bool by_name)
{
    struct error e = {0};
    bool tried = false;

    for (size_t i = 0; i < r->count && d->fd < 0; i++) {
        address_print(&r->addresses[i], d->answer.address);
        if (!may_connect(d, &r->addresses[i], by_name))
            continue;
        tried = true;
        e = (struct error){0};
        if (connect_to(d, &r->addresses[i], d->request.port, &e) == 0)
            break;
    }
    if (tried && d->fd < 0)
        decide(d, EGRESS_FAILED, "%.60s, port %u: %.80s", d->answer.address, d->request.port, e.text);
}

/* ---- by the host's own proxy --------------------------------------------------------------------- */

static int reach_upstream(struct dial *d, const struct upstream *u, struct error *e)
{
    struct resolved at = {.count = 1};
    int result = -1;

    if (!address_parse(u->host, &at.addresses[0]) &&
        resolve_name(&d->dialer->resolver, u->host, &at, d->deadline, &d->dialer->stop, e) < 0)
        return error_wrap(e, "the host's proxy");
    for (size_t i = 0; i < at.count && result < 0; i++)
        result = connect_to(d, &at.addresses[i], u->port, e);
    return result < 0 ? error_wrap(e, "the host's proxy") : 0;
}

static void connect_by(struct dial *d, const struct upstream *u, const char *host)
{
    struct error e = {0};

    if (reach_upstream(d, u, &e) == 0 &&
        upstream_connect(u, d->fd, host, d->request.port, d->deadline, &d->dialer->stop, &e) == 0)
        return;
    close_fd(&d->fd);
    decide(d, EGRESS_FAILED, "%.150s", e.text);
}

/* Whether one of them, at least, may be connected to. */
static bool any_may_connect(struct dial *d, const struct resolved *r)
{
    for (size_t i = 0; i < r->count; i++) {
        address_print(&r->addresses[i], d->answer.address);
        if (may_connect(d, &r->addresses[i], true))
            return true;
    }
    return false;
}

/* ---- all of it ----------------------------------------------------------------------------------- */

static void dial_literal(struct dial *d, const struct address *a)
{
    struct upstream u;
    struct error e = {0};

    address_print(a, d->answer.address);
    if (!may_connect(d, a, false))
        return;
    int by = a->byte[0] == 127 ? 0 : upstream_find(d->answer.address, d->request.port, &u, &e);
    if (by > 0)
        connect_by(d, &u, d->answer.address);
    else if (by < 0)
        decide(d, EGRESS_FAILED, "%.150s", e.text);
    else
        connect_any(d, &(struct resolved){.addresses = {*a}, .count = 1}, false);
}

/* Where the machine has a proxy it may have no names: then the proxy looks them up. */
static void dial_name(struct dial *d, const char *name)
{
    struct resolved found;
    struct upstream u;
    struct error e = {0}, no_proxy = {0};

    if (!may_look_up(d, name))
        return;
    int by = upstream_find(name, d->request.port, &u, &no_proxy);
    int known = resolve_name(&d->dialer->resolver, name, &found, d->deadline, &d->dialer->stop, &e);
    if (known < 0 && by <= 0)
        decide(d, EGRESS_UNRESOLVED, "%.100s: %.50s", name, e.text);
    else if (by < 0)
        decide(d, EGRESS_FAILED, "%.150s", no_proxy.text);
    else if (by == 0)
        connect_any(d, &found, true);
    else if (known < 0 || any_may_connect(d, &found))
        connect_by(d, &u, name);
}

static void dial_thread(void *dial)
{
    struct dial *d = dial;
    char name[ADDRESS_NAME_MAX];
    struct address literal;
    struct error gone = {0};

    switch (address_read(d->request.host, &literal, name)) {
    case ADDRESS_LITERAL:
        dial_literal(d, &literal);
        break;
    case ADDRESS_NAME:
        dial_name(d, name);
        break;
    case ADDRESS_MALFORMED:
        decide(d, EGRESS_MALFORMED, "%.100s is no name and no address", d->request.host);
        break;
    }
    if (d->fd >= 0)
        d->answer.decision = EGRESS_ALLOWED;
    if (d->dialer->rules->on_decision)
        d->dialer->rules->on_decision(d->dialer->rules->context, &d->request, &d->answer);
    if (message_send(d->dialer->fd, &(struct iovec){&d->answer, sizeof(d->answer)}, 1, &d->fd, d->fd >= 0,
                     &gone) < 0)
        log_debug("a connection is not wanted any more: %s", gone.text);
    close_fd(&d->fd);
    free(d);
}

static void begin_dial(struct dialer *all, const struct dial_request *r)
{
    struct dial *d = memory_allocate(sizeof(*d));
    struct error e = {0};

    *d = (struct dial){.dialer = all,
                       .request = *r,
                       .answer = {.serial = r->serial},
                       .deadline = deadline_in_ms(DIAL_MS),
                       .fd = -1};
    if (thread_group_start(&all->threads, dial_thread, d, &e) == 0)
        return;
    decide(d, EGRESS_LIMIT, "%.150s", e.text);
    message_send(all->fd, &(struct iovec){&d->answer, sizeof(d->answer)}, 1, NULL, 0, &e);
    free(d);
}

void dial_serve(int fd, const struct dial_rules *rules)
{
    struct dialer all = {.fd = fd, .rules = rules, .stop.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    const uint64_t one = 1;
    struct error e = {0};

    resolver_open(&all.resolver);
    thread_group_open(&all.threads, DIAL_AT_A_TIME);
    while (all.stop.fd >= 0 && deadline_wait_fd(fd, POLLIN, DEADLINE_NEVER, NULL, &e) > 0) {
        struct dial_request raw, request;
        int passed = -1;
        size_t count;
        ssize_t n = message_receive(fd, &(struct iovec){&raw, sizeof(raw)}, 1, &passed, 1, &count, &e);
        close_fd(&passed);
        if (n <= 0 || !dial_check_request(&raw, (size_t)n, &request))
            break;
        begin_dial(&all, &request);
    }
    if (write(all.stop.fd, &one, sizeof(one)) < 0)
        log_debug("there is no eventfd");
    shutdown(fd, SHUT_RDWR);
    thread_group_wait(&all.threads);
    thread_group_close(&all.threads);
    resolver_close(&all.resolver);
    close_fd(&all.stop.fd);
}
