/*
 * dial: decides about connections and makes them. Who wants some has one end of a SOCK_SEQPACKET socket and sends a request for
 * each; who has the rights serves the other end, and answers with a connected socket or a reason. In a server that is another
 * process: what comes is checked whole. The structs are sent as they are; both ends are one program.
 *
 * A name is resolved here and nowhere else, all rules are about the address that is then connected to, and nothing is looked up
 * that no rule names.
 */
#ifndef CAPSID_EGRESS_DIAL_H
#define CAPSID_EGRESS_DIAL_H

#include "egress/decision.h"
#include "egress/policy.h"
#include "relay.h"

#define DIAL_AT_A_TIME 16 /* requests without an answer, of one socket */
#define DIAL_MS 15000     /* for all of one */
#define DIAL_POLICIES_MAX 2

struct dial_request {
    uint32_t serial; /* names it in the answer */
    uint16_t port;
    char host[RELAY_HOST_MAX + 1];
};

struct dial_answer {
    uint32_t serial;
    uint32_t decision;              /* enum egress_decision; ALLOWED comes with the socket */
    char address[ADDRESS_TEXT_MAX]; /* "": none was tried */
    char text[RELAY_TEXT_MAX + 1];  /* "DECISION: why", plain ASCII */
};

/* As those of broker/line.h. dial_receive_answer() never waits. */
int dial_send_request(int fd, const struct dial_request *r, struct error *e);
int dial_receive_answer(int fd, struct dial_answer *ret, int *ret_fd, struct error *e);

/* Whether bytes that came are a request; pure. */
bool dial_check_request(const void *data, size_t size, struct dial_request *ret);

/* All of these policies (at most DIAL_POLICIES_MAX, borrowed) have to allow a connection. */
struct dial_rules {
    const struct policy *policies[DIAL_POLICIES_MAX];
    size_t count;
    /* Is told of each decision, by any thread; NULL: nobody is. */
    void (*on_decision)(void *context, const struct dial_request *r, const struct dial_answer *a);
    void *context;
};

/* Serves until the other end is closed; the thread's own then are gone. fd stays the caller's. */
void dial_serve(int fd, const struct dial_rules *rules);

#endif
