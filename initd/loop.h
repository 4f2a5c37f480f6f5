/*
 * loop: initd's one thread of control. It waits for file descriptors, children and deadlines, and never
 * returns but for SHUTDOWN.
 */
#ifndef INITD_LOOP_H
#define INITD_LOOP_H

#include <stdint.h>

/* Makes SIGCHLD readable. All signals must be blocked. Returns 0 or -errno. */
int loop_init(void);

/*
 * Runs until SHUTDOWN was answered; returns its action. In each turn calls set_up with the time, until that returns 0: it
 * does something, and returns when it wants to be called again. Until then there is nothing but connections.
 */
uint8_t loop_run(uint64_t (*set_up)(uint64_t now));

#endif
