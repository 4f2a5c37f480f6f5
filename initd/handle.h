/*
 * handle: the handlers, one function a message that the host may send, and what they share. Internal to
 * handlers.c and the handle_*.c, which group them by subject.
 *
 * A handler answers at once, or makes a stream that does. c has room for its answer (CONN_ANSWER_MAX).
 */
#ifndef INITD_HANDLE_H
#define INITD_HANDLE_H

#include "conn.h"
#include "fault.h"
#include "messages.h"

#include <stdbool.h>
#include <stdint.h>

#define DECLARE_GUEST(name)
#define DECLARE_HOST(name) void handle_##name(struct conn *c, uint32_t stream, const struct msg_##name *m);
#define DECLARE_BOTH(name) DECLARE_HOST(name)
#define M(NAME, name, number, sender, doc) DECLARE_##sender(name)
PROTO_MESSAGES(M)
#undef M

/* handlers_await_root(), and whether it is so still. */
void handle_await_root(void);
bool handle_root_awaited(void);

/* SEAL has come, so nothing may be written any more. */
bool handle_root_sealed(void);

/* The guest is of no use, and ends. */
void handle_set_up_failed(struct fault f);

/* ERROR; OK; or ERROR when there is a fault and OK when there is none. */
void handle_answer_fault(struct conn *c, uint32_t stream, uint16_t request, struct fault f);
void handle_answer_ok(struct conn *c, uint32_t stream);
void handle_answer(struct conn *c, uint32_t stream, uint16_t request, struct fault f);

#endif
