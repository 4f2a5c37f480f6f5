/*
 * boot: from the kernel's start of PID 1 to a system that programs can run in.
 *
 * The root filesystem is a read-only image; changes go to a layer of memory (or a disk) above it. Nothing
 * here waits for randomness, network or devices.
 */
#ifndef INITD_BOOT_H
#define INITD_BOOT_H

#include "cmdline.h"

/*
 * Does all of it and fills in the configuration. Returns 0, or -errno when a step failed that nothing can
 * work without; *ret_step then names it. Other failures are logged, and boot goes on.
 */
int boot_run(struct cmdline *ret_config, const char **ret_step);

/* The little that initd needs to be PID 1 of a namespace, in a test. */
int boot_run_test(struct cmdline *ret_config, const char **ret_step);

/* File descriptors 0, 1 and 2 become /dev/null, so that no later open(2) gets their numbers. */
int boot_open_null(void);

/* After all processes are gone: writes everything back and unmounts, latest mount first. Best effort. */
void boot_undo(void);

#endif
