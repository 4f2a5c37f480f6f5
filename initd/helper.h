/*
 * helper: work that may take long (sync, mount, removal of a tree), done in a child process for a connection.
 *
 * The connection's further requests wait until the helper has ended, so that order is kept; everybody else
 * goes on.
 */
#ifndef INITD_HELPER_H
#define INITD_HELPER_H

#include "conn.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Runs work(argument) in a child; it returns 0 or -errno. Answers OK or ERROR(ERR_OS) on the stream when it
 * has ended, and calls done(result) before that, when it is not NULL. Views in argument stay valid: a child
 * has a copy of all. */
void helper_start(struct conn *c, uint32_t stream, uint16_t request, int (*work)(const void *argument),
                  const void *argument, void (*done)(int result));

/* Is it a helper at work? */
bool helper_is(pid_t pid);

/* A child has ended. True when it was a helper. */
bool helper_on_child(pid_t pid, int status);

/* Nobody waits for the answers to c any more. */
void helper_drop_conn(const struct conn *c);

/* Is a helper at work on this stream? */
bool helper_has_stream(const struct conn *c, uint32_t stream);

#endif
