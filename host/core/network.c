#include "core/network.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/thread.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define RELAY_PLACE "/dev/capsid-relay" /* in the guest: in no layer of its filesystem */
#define RELAY_SIZE_MAX (1u << 20)       /* bytes of it */

/* ---- rules and variables ------------------------------------------------------------------------- */

int network_policy(const char *const *rules, struct policy *ret, struct error *e)
{
    *ret = (struct policy){0};
    for (; rules && *rules; rules++) {
        if (policy_add(ret, *rules, e) == 0)
            continue;
        policy_done(ret);
        return -1;
    }
    return 0;
}

int network_check(const char *const *rules, struct error *e)
{
    struct policy p;
    size_t count = 0, size = 0;

    for (; rules && rules[count]; count++)
        size += strlen(rules[count]) + 1;
    if (count > NETWORK_RULES_MAX || size > NETWORK_RULES_SIZE)
        return error_set(e, ERROR_USAGE, "more than %d rules of where to connect to, or %d bytes",
                         NETWORK_RULES_MAX, NETWORK_RULES_SIZE);
    if (network_policy(rules, &p, e) < 0)
        return -1;
    policy_done(&p);
    return 0;
}

#define PROXY_TEXT_(port) "http://127.0.0.1:" #port
#define PROXY_TEXT(port) PROXY_TEXT_(port)
#define PROXY_URL PROXY_TEXT(RELAY_PORT)
#define OWN_HOSTS "localhost,127.0.0.1,::1"

/* The last is for Node.js' own fetch(). */
const char **network_env(const char *const *env)
{
    static const char *const own[] = {
        "http_proxy=" PROXY_URL, "https_proxy=" PROXY_URL, "all_proxy=" PROXY_URL,
        "no_proxy=" OWN_HOSTS,   "HTTP_PROXY=" PROXY_URL,  "HTTPS_PROXY=" PROXY_URL,
        "ALL_PROXY=" PROXY_URL,  "NO_PROXY=" OWN_HOSTS,    "NODE_USE_ENV_PROXY=1",
    };
    const size_t own_count = sizeof(own) / sizeof(own[0]);
    size_t count = 0;

    while (env && env[count])
        count++;
    const char **all = memory_allocate((own_count + count + 1) * sizeof(*all));
    memcpy(all, own, sizeof(own));
    for (size_t i = 0; i < count; i++)
        all[own_count + i] = env[i];
    return all;
}

/* ---- one guest's network ------------------------------------------------------------------------- */

struct network {
    const struct network_site *site;
    struct network_log *log;
    struct guest relay; /* the connection to the guest; the thread's */
    struct cancel stop; /* an eventfd */
    int told_fd;        /* an eventfd */
    int peer_fd;        /* the mux's end of the connection, until it has that */
    struct egress *egress;
    struct buffer content; /* of the relay's program */
    atomic_bool is_ready;
    int64_t deadline;
    struct error why; /* of one that has failed; the thread's until it is told */
    pthread_t thread;
    bool has_thread;

    int dial_fd; /* where this process makes the connections; -1: another does */
    struct policy policy;
    pthread_t dial_thread;
    bool has_dial_thread;
};

static void notify_network(int fd)
{
    const uint64_t one = 1;

    if (write(fd, &one, sizeof(one)) < 0)
        log_debug("eventfd is readable already");
}

static void on_network_ready(void *network)
{
    struct network *n = network;

    n->is_ready = true;
    notify_network(n->told_fd);
}

static void on_network_record(void *network, const struct egress_record *r)
{
    struct network *n = network;
    struct event v;

    event_begin(&v, "connection");
    event_text(&v, "vm", n->site->vm);
    event_text(&v, "trace_id", n->site->trace_id);
    event_text(&v, "host", r->host);
    event_number(&v, "port", r->port);
    event_text(&v, "address", r->address);
    event_text(&v, "decision", egress_decision_name(r->decision));
    event_text(&v, "why", r->text);
    event_number(&v, "sent", (int64_t)r->sent);
    event_number(&v, "received", (int64_t)r->received);
    event_ms(&v, "ms", r->ns);
    event_end(&v);
    if (n->log)
        network_log_add(n->log, r);
}

static void *relay_thread(void *network)
{
    struct network *n = network;
    struct error e = {0};

    if (guest_write_file(&n->relay, RELAY_PLACE, S_IFREG | 0755, 0, 0, 0, n->content.data, n->content.size,
                         n->deadline, &e) == 0)
        egress_run(n->egress, &n->relay, RELAY_PLACE, &e);
    if (n->is_ready && e.kind != ERROR_CANCELLED)
        log_debug("trace_id=%s: the guest's network ended: %s", n->site->trace_id, e.text);
    if (!n->is_ready)
        n->why = e;
    guest_close(&n->relay); /* so the mux ends what is left of it in the guest */
    notify_network(n->told_fd);
    return NULL;
}

static void *dial_thread_here(void *network)
{
    struct network *n = network;
    const struct dial_rules rules = {.policies = {&n->policy}, .count = 1};

    dial_serve(n->dial_fd, &rules);
    return NULL;
}

/* The means where this process makes the connections. */
static int open_means_here(struct network *n, const char *const *rules, struct network_means *ret,
                           struct error *e)
{
    cleanup_free char *path = text_format("%s/" NETWORK_RELAY_PROGRAM, n->site->data);
    int pair[2];

    ret->relay = file_open(path, O_RDONLY, e);
    if (ret->relay < 0)
        return error_wrap(e, "the program that carries a guest's connections");
    if (network_policy(rules, &n->policy, e) < 0)
        return -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(e, "socketpair");
    n->dial_fd = pair[0];
    ret->dial = pair[1];
    n->has_dial_thread = thread_start(&n->dial_thread, dial_thread_here, n, e) == 0;
    return n->has_dial_thread ? 0 : -1;
}

static int open_egress(struct network *n, const char *const *rules, struct error *e)
{
    struct network_means means = {-1, -1};
    struct egress_options options = {
        .on_ready = on_network_ready, .on_record = on_network_record, .context = n};

    int result = n->site->source ? n->site->source(n->site->context, rules, &means, e)
                                 : open_means_here(n, rules, &means, e);
    if (result == 0)
        result = file_read_fd(means.relay, NETWORK_RELAY_PROGRAM, RELAY_SIZE_MAX, &n->content, e);
    close_fd(&means.relay);
    options.dial_fd = means.dial;
    if (result < 0) {
        close_fd(&means.dial);
        return -1;
    }
    n->egress = egress_open(&options, e);
    return n->egress ? 0 : -1;
}

static int open_parts(struct network *n, const char *const *rules, struct error *e)
{
    int pair[2];

    n->stop.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    n->told_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (n->stop.fd < 0 || n->told_fd < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(e, "the guest's network");
    n->peer_fd = pair[1];
    guest_open(&n->relay, pair[0], -1, &n->stop);
    n->relay.vmm_fd = -1;
    n->relay.features = n->site->guest->features;
    if (open_egress(n, rules, e) < 0)
        return -1;
    n->has_thread = thread_start(&n->thread, relay_thread, n, e) == 0;
    return n->has_thread ? 0 : -1;
}

struct network *network_open(const struct network_site *site, const char *const *rules,
                             struct network_log *log, int64_t deadline, struct error *e)
{
    struct network *n = memory_allocate(sizeof(*n));

    *n = (struct network){.site = site,
                          .log = log,
                          .relay = {.fd = -1},
                          .stop = {-1},
                          .told_fd = -1,
                          .peer_fd = -1,
                          .dial_fd = -1,
                          .deadline = deadline};
    if (open_parts(n, rules, e) == 0)
        return n;
    network_close(n);
    return NULL;
}

int network_take_fd(struct network *n)
{
    return take_fd(&n->peer_fd);
}

int network_told_fd(const struct network *n)
{
    return n->told_fd;
}

bool network_is_told(const struct network *n)
{
    struct error ignored = {0};

    return deadline_wait_fd(n->told_fd, POLLIN, 0, NULL, &ignored) > 0;
}

int network_check_ready(struct network *n, struct error *e)
{
    if (n->is_ready)
        return 0;
    *e = n->why;
    return error_wrap(e, "the guest's network");
}

void network_close(struct network *n)
{
    if (!n)
        return;
    if (n->has_thread) {
        notify_network(n->stop.fd);
        pthread_join(n->thread, NULL);
    }
    guest_close(&n->relay);
    if (n->egress)
        egress_close(n->egress); /* and with it the dialer's other end */
    if (n->has_dial_thread)
        pthread_join(n->dial_thread, NULL);
    close_fd(&n->dial_fd);
    close_fd(&n->peer_fd);
    policy_done(&n->policy);
    buffer_free(&n->content);
    close_fd(&n->stop.fd);
    close_fd(&n->told_fd);
    free(n);
}
