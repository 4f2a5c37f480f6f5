/*
 * strings: argv and env of an EXEC or PRIME that are too large for its frame. They come before it, on its stream, as
 * STRINGS (PROTOCOL.md 5), and are put together in memory that is mapped for them and gone when the request was
 * carried out. So much of it there is at a time as limits.h says.
 */
#ifndef INITD_STRINGS_H
#define INITD_STRINGS_H

#include "conn.h"
#include "fault.h"

#include <stdbool.h>
#include <stdint.h>

/* STRINGS. 0, or PROTO_ERR_FLOW: not what comes next. What else is wrong, strings_of() says. */
int strings_take(const struct conn *c, uint32_t stream, const struct msg_strings *m);

/* Has the stream been sent strings that wait for their request? */
bool strings_has_stream(const struct conn *c, uint32_t stream);

/* Do any? */
bool strings_any(void);

/* The request is here: where the stream has strings, they are *argv and *env, which must be empty. Views, valid until
 * strings_drop(). */
struct fault strings_of(const struct conn *c, uint32_t stream, struct wire_strs *argv, struct wire_strs *env);

/* Forgets what the stream was sent, where it was. */
void strings_drop(const struct conn *c, uint32_t stream);

/* All streams of c end. */
void strings_drop_conn(const struct conn *c);

#endif
