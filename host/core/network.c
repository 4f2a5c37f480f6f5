#include "core/network.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/thread.h"
#include "guest/mux.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define RELAY_PROGRAM "relay"           /* in the data directory */
#define RELAY_SIZE_MAX (1u << 20)       /* bytes of it */
#define RELAY_PLACE "/dev/capsid-relay" /* in the guest: in no layer of its filesystem */
#define END_MS 2000                     /* for the relay to be gone */

/* ---- the log ------------------------------------------------------------------------------------- */

static bool is_same(const struct network_entry *n, const struct egress_record *r)
{
    return n->port == r->port && n->decision == r->decision && strcmp(n->host, r->host) == 0 &&
           strcmp(n->address ? n->address : "", r->address) == 0;
}

static struct network_entry *new_entry(struct network_log *log, const struct egress_record *r)
{
    if (!log->entries)
        log->entries = memory_allocate(NETWORK_ENTRIES_MAX * sizeof(*log->entries));
    struct network_entry *n = &log->entries[log->count++];
    *n = (struct network_entry){.host = text_copy(r->host),
                                .port = r->port,
                                .address = r->address[0] ? text_copy(r->address) : NULL,
                                .decision = r->decision,
                                .why = r->text[0] ? text_copy(r->text) : NULL};
    return n;
}

void network_log_add(struct network_log *log, const struct egress_record *r)
{
    struct network_entry *found = NULL;

    for (size_t i = log->count; i-- > 0 && !found;)
        if (is_same(&log->entries[i], r))
            found = &log->entries[i];
    if (!found && log->count == NETWORK_ENTRIES_MAX) {
        log->omitted++;
        return;
    }
    found = found ? found : new_entry(log, r);
    found->connections++;
    found->bytes_in += r->received;
    found->bytes_out += r->sent;
}

void network_log_free(struct network_log *log)
{
    for (size_t i = 0; i < log->count; i++) {
        free((void *)(uintptr_t)log->entries[i].host);
        free((void *)(uintptr_t)log->entries[i].address);
        free((void *)(uintptr_t)log->entries[i].why);
    }
    free(log->entries);
    *log = (struct network_log){0};
}

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
    const struct call *call;
    struct network_log *log;
    struct mux mux;
    struct guest program; /* the connection that the program's side has, */
    struct guest relay;   /* and that of the relay; each by its own thread */
    struct cancel stop;   /* of the relay's; an eventfd */
    int wake_fd;          /* eventfd: the mux is to end */
    int told_fd;          /* eventfd: the relay is ready, or has failed */
    int dial_fd;          /* the dialer's end, where this process makes the connections */
    struct policy policy;
    struct egress *egress;
    struct buffer content; /* of the relay's program */
    atomic_bool is_ready;
    int64_t deadline; /* for getting ready */
    struct error why; /* the relay's thread's, until told_fd is readable */
    pthread_t mux_thread, relay_thread, dial_thread;
    bool has_mux_thread, has_relay_thread, has_dial_thread;
};

static void notify(int fd)
{
    const uint64_t one = 1;

    if (write(fd, &one, sizeof(one)) < 0)
        log_debug("eventfd is readable already");
}

static void on_network_ready(void *network)
{
    struct network *n = network;

    n->is_ready = true;
    notify(n->told_fd);
}

static void on_network_record(void *network, const struct egress_record *r)
{
    struct network *n = network;
    struct event v;

    event_begin(&v, "connection");
    event_text(&v, "vm", n->site->life->id);
    event_text(&v, "trace_id", n->call->trace_id);
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
        log_debug("trace_id=%s: the guest's network ended: %s", n->call->trace_id, e.text);
    if (!n->is_ready)
        n->why = e;
    guest_close(&n->relay); /* so the mux ends what is left of it in the guest */
    notify(n->told_fd);
    return NULL;
}

/* Until it is told to end, and then until nothing of the relay is left. */
static void *mux_thread(void *network)
{
    struct network *n = network;
    struct error e = {0};
    int64_t end = 0;
    uint64_t drop;

    while (!end || (!mux_is_idle(&n->mux) && !deadline_passed(end))) {
        if (mux_step(&n->mux, end ? -1 : n->wake_fd, end ? end : DEADLINE_NEVER, &e) < 0)
            break;
        if (!end && read(n->wake_fd, &drop, sizeof(drop)) > 0)
            end = deadline_in_ms(END_MS);
    }
    mux_close(&n->mux);
    return NULL;
}

static void *dial_thread_here(void *network)
{
    struct network *n = network;
    const struct dial_rules rules = {.policies = {&n->policy}, .count = 1};

    dial_serve(n->dial_fd, &rules);
    return NULL;
}

/* ---- beginning ----------------------------------------------------------------------------------- */

/* A connection of its own to the guest, and one more user of the mux. */
static int share_guest(struct network *n, struct guest *ret, const struct cancel *cancel, struct error *e)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(e, "socketpair");
    guest_open(ret, pair[0], -1, cancel);
    ret->vmm_fd = -1;
    ret->features = n->site->guest->features;
    memcpy(ret->build, n->site->guest->build, sizeof(ret->build));
    return mux_add(&n->mux, pair[1], false) < 0 ? error_set(e, ERROR_GENERAL, "the guest has too many users")
                                                : 0;
}

/* The socket for those who want connections. */
static int open_dialer(struct network *n, const char *const *rules, int *ret_fd, struct error *e)
{
    int pair[2];

    if (n->site->dial) {
        *ret_fd = n->site->dial(n->site->dial_context, rules, e);
        return *ret_fd < 0 ? -1 : 0;
    }
    if (network_policy(rules, &n->policy, e) < 0)
        return -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(e, "socketpair");
    n->dial_fd = pair[0];
    *ret_fd = pair[1];
    n->has_dial_thread = thread_start(&n->dial_thread, dial_thread_here, n, e) == 0;
    return n->has_dial_thread ? 0 : -1;
}

static int open_egress(struct network *n, const char *const *rules, struct error *e)
{
    struct egress_options options = {
        .dial_fd = -1, .on_ready = on_network_ready, .on_record = on_network_record, .context = n};

    if (open_dialer(n, rules, &options.dial_fd, e) < 0) {
        close_fd(&options.dial_fd);
        return -1;
    }
    n->egress = egress_open(&options, e);
    return n->egress ? 0 : -1;
}

static int open_parts(struct network *n, const char *const *rules, struct error *e)
{
    cleanup_free char *path = text_format("%s/" RELAY_PROGRAM, n->site->data);

    n->stop.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    n->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    n->told_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (n->stop.fd < 0 || n->wake_fd < 0 || n->told_fd < 0)
        return error_errno(e, "eventfd");
    if (file_read(path, RELAY_SIZE_MAX, &n->content, e) < 0)
        return error_wrap(e, "the program that carries a guest's connections");
    if (share_guest(n, &n->program, &n->call->cancel, e) < 0 || share_guest(n, &n->relay, &n->stop, e) < 0 ||
        open_egress(n, rules, e) < 0)
        return -1;
    n->has_mux_thread = thread_start(&n->mux_thread, mux_thread, n, e) == 0;
    n->has_relay_thread = n->has_mux_thread && thread_start(&n->relay_thread, relay_thread, n, e) == 0;
    return n->has_relay_thread ? 0 : -1;
}

static int wait_for_relay(struct network *n, struct error *e)
{
    int ready = deadline_wait_fd(n->told_fd, POLLIN, n->deadline, &n->call->cancel, e);

    if (ready < 0)
        return -1;
    if (ready == 0)
        return error_set(e, ERROR_TIMEOUT, "the guest's network was not ready in time");
    if (!n->is_ready) {
        *e = n->why;
        return error_wrap(e, "the guest's network");
    }
    /* Who has it open goes on with it. */
    return guest_remove(&n->program, RELAY_PLACE, n->deadline, e);
}

struct network *network_begin(const struct network_site *site, const struct call *call,
                              const char *const *rules, struct network_log *log, int64_t deadline,
                              struct error *e)
{
    struct network *n = memory_allocate(sizeof(*n));

    *n = (struct network){.site = site,
                          .call = call,
                          .log = log,
                          .program = {.fd = -1},
                          .relay = {.fd = -1},
                          .stop = {-1},
                          .wake_fd = -1,
                          .told_fd = -1,
                          .dial_fd = -1,
                          .deadline = deadline};
    mux_open(&n->mux, site->guest);
    if (open_parts(n, rules, e) == 0 && wait_for_relay(n, e) == 0)
        return n;
    network_end(n);
    return NULL;
}

struct guest *network_guest(struct network *n)
{
    return &n->program;
}

void network_end(struct network *n)
{
    guest_close(&n->program);
    if (n->has_relay_thread) {
        notify(n->stop.fd);
        pthread_join(n->relay_thread, NULL);
    }
    guest_close(&n->relay);
    if (n->has_mux_thread) {
        notify(n->wake_fd);
        pthread_join(n->mux_thread, NULL);
    } else {
        mux_close(&n->mux);
    }
    if (n->egress)
        egress_close(n->egress); /* and with it the dialer's other end */
    if (n->has_dial_thread)
        pthread_join(n->dial_thread, NULL);
    close_fd(&n->dial_fd);
    policy_done(&n->policy);
    buffer_free(&n->content);
    close_fd(&n->stop.fd);
    close_fd(&n->wake_fd);
    close_fd(&n->told_fd);
    free(n);
}
