#include "broker/connect.h"

#include "base/cleanup.h"
#include "base/message.h"
#include "core/network.h"
#include "egress/dial.h"

#include <fcntl.h>
#include <string.h>

#define RULES_MS 10000 /* for the rules to come after their request */

/* The rules of the request: strings with their NULs. */
static int receive_rules(struct errand *r, struct policy *ret, struct error *e)
{
    char text[NETWORK_RULES_SIZE + 1];
    const char *rules[NETWORK_RULES_MAX + 1];
    size_t count = 0, passed_count;
    int passed, ready = deadline_wait_fd(r->lease, POLLIN, deadline_in_ms(RULES_MS), NULL, e);

    if (ready <= 0)
        return ready < 0 ? -1 : error_set(e, ERROR_TIMEOUT, "the rules of a network did not come");
    ssize_t n =
        message_receive(r->lease, &(struct iovec){text, sizeof(text)}, 1, &passed, 0, &passed_count, e);
    if (n <= 0 || text[n - 1] != '\0')
        return error_set(e, ERROR_GENERAL, "the rules of a network are malformed");
    for (const char *s = text; s < text + n && count < NETWORK_RULES_MAX; s += strlen(s) + 1)
        rules[count++] = s;
    rules[count] = NULL;
    return network_policy(rules, ret, e);
}

static int open_relay(const struct errand *r, struct error *e)
{
    cleanup_free char *path = text_format("%s/" NETWORK_RELAY_PROGRAM, r->broker->host.config.data);

    return file_open(path, O_RDONLY, e);
}

/* The front tells of connections, too, but whoever took it over would not. */
static void log_decision(void *errand, const struct dial_request *q, const struct dial_answer *a)
{
    const struct errand *r = errand;
    struct event v;

    event_begin(&v, "dial");
    event_text(&v, "trace_id", r->call.trace_id);
    event_text(&v, "owner", r->request.owner);
    event_text(&v, "host", q->host);
    event_number(&v, "port", q->port);
    event_text(&v, "address", a->address);
    event_text(&v, "decision", egress_decision_name((enum egress_decision)a->decision));
    event_end(&v);
}

/* Both policies count: the request's, and its owner's. */
void connect_guest(struct errand *r)
{
    struct policy asked = {0}, owners = {0};
    const struct dial_rules rules = {
        .policies = {&owners, &asked}, .count = 2, .on_decision = log_decision, .context = r};
    struct error e = {0};
    cleanup_fd int relay = -1;

    if (receive_rules(r, &asked, &e) == 0 && !reach_of(r->broker->reach, r->request.owner, &owners))
        error_set(&e, ERROR_USAGE, "this server allows your programs no network (capsid api --net-policy)");
    if (!e.kind)
        relay = open_relay(r, &e);
    if (e.kind) {
        errand_fail(r, &e);
    } else {
        errand_tell(r, &(struct line_reply){.answer = LINE_MEANS}, NULL, relay);
        dial_serve(r->lease, &rules);
    }
    policy_done(&asked);
    policy_done(&owners);
}
