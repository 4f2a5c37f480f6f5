/*
 * loop: initd's one thread of control. It waits for file descriptors, children and deadlines, and never
 * returns but for SHUTDOWN.
 */
#ifndef INITD_LOOP_H
#define INITD_LOOP_H

#include <stdint.h>

/* Makes SIGCHLD readable. All signals must be blocked. Returns 0 or -errno. */
int loop_init(void);

/* Runs until SHUTDOWN was answered; returns its action. */
uint8_t loop_run(void);

#endif
