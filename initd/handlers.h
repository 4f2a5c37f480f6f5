/*
 * handlers: what each message of the host does. One function a message; the table comes from messages.def.
 */
#ifndef INITD_HANDLERS_H
#define INITD_HANDLERS_H

#include "conn.h"

#include <stdbool.h>
#include <stdint.h>

/* When initd could answer first, and when it began, for WELCOME; sys_now() times. Requests wait from here on. */
void handlers_init(uint64_t init_ns, uint64_t ready_ns);

/* Requests are carried out now; or, where a step (not NULL; it failed with errno r) of the set-up has failed, refused. */
void handlers_set_up(const char *step, int r);

/* There is no root filesystem yet, and until ROOT has made one nothing else is done but what a snapshot needs. */
void handlers_await_root(void);

/* The guest cannot be set up, and ends: as after SHUTDOWN. A refused request does it, too. */
void handlers_give_up(void);

/* Handles what was received, as long as answers fit. */
void handlers_run(struct conn *c);

/* Puts what streams have to say into the connection's buffer. True when something was put. */
bool handlers_emit(struct conn *c);

/* All streams of c end. */
void handlers_drop_streams(const struct conn *c);

/* SHUTDOWN was asked for; *ret_action is one of SHUTDOWN_... */
bool handlers_shutdown_asked(uint8_t *ret_action);

/* And with this status for the VMM. */
uint8_t handlers_shutdown_status(void);

#endif
