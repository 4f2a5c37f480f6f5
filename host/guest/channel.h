/* channel: frames to and from a guest; the part of guest/ that knows no message. Private to guest/. */
#ifndef CAPSID_GUEST_CHANNEL_H
#define CAPSID_GUEST_CHANNEL_H

#include "guest/connection.h"
#include "messages.h"

/* Sends a whole frame (size from a msg_X_frame(); 0 is an error: the message does not fit). */
int channel_send(struct guest *g, const void *frame, size_t size, int64_t deadline, struct error *e);

/* Waits for the next frame; a view that lives until the next call. The deadline is an ERROR_TIMEOUT. */
int channel_receive(struct guest *g, struct frame *ret, int64_t deadline, struct error *e);

/* 1 and the next frame when one is already here; 0 when not; -1 when the guest broke the framing. */
int channel_next(struct guest *g, struct frame *ret, struct error *e);

/* Reads what is there. Fails when the connection has ended. */
int channel_fill(struct guest *g, struct error *e);

/* "the guest sent an invalid X": always -1. */
int channel_violation(struct error *e, const struct frame *f, const char *what);

/* Turns an ERROR frame into an error; always -1. */
int channel_refused(struct error *e, const struct frame *f);

/* The answer to a request on that stream: type, or ERROR. Other frames break the protocol. */
int channel_expect(struct guest *g, uint32_t stream, uint16_t type, struct frame *ret, int64_t deadline,
                   struct error *e);

/* Are they few enough for an EXEC or PRIME itself? */
bool channel_strings_fit(struct wire_strs argv, struct wire_strs env);

/* Sends argv and env ahead of the EXEC or PRIME of that stream, in which they are empty from then on: for those that do not
 * fit in its frame. Fails where the guest's initd cannot take them. */
int channel_send_strings(struct guest *g, uint32_t stream, struct wire_strs *argv, struct wire_strs *env,
                         int64_t deadline, struct error *e);

/*
 * Deadlines of a guest. One who was stopped past it (SIGSTOP, a host that sleeps) must look first at what arrived in time:
 * after a deadline what is there is still taken, and what comes right behind it, up to 4 MiB; for a guest that floods us is
 * always ready. channel_until() says how long to wait, channel_is_over() afterwards whether the time is up; ready: there
 * was something.
 */
int64_t channel_until(const struct guest *g, int64_t deadline);
bool channel_is_over(struct guest *g, bool ready, int64_t deadline);

/* The first of what poll(2) is to wait for: the connection, and the VMM. Afterwards channel_check_vmm() fails when nothing came
 * from the guest and the VMM has ended, or stopped it. */
#define CHANNEL_POLLED 3
void channel_poll(const struct guest *g, short events, struct pollfd ret[static CHANNEL_POLLED]);
int channel_check_vmm(const struct guest *g, const struct pollfd polled[static CHANNEL_POLLED],
                      struct error *e);

uint32_t channel_new_stream(struct guest *g);

#endif
