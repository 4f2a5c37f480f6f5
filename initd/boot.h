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
 * The parts of a boot, in their order. Each returns 0, or -errno when something failed that nothing can work
 * without; *ret_step then names it (static). Other failures are logged, and the boot goes on.
 */

/* The least, after which hosts can be answered: /dev, /sys, file descriptors 0 to 2, the log. */
int boot_begin(const char **ret_step);

/* /proc and the kernel command line. */
int boot_configure(struct cmdline *ret_config, const char **ret_step);

/* What programs expect of a machine, whatever its root: more mounts, host name, loopback. */
int boot_furnish_devices(struct cmdline *config, const char **ret_step);

/* What they expect in the writable root (root.h). */
int boot_furnish_root(const char **ret_step);

/* The first two in a test, where initd is PID 1 of a namespace; there is nothing else to do. */
int boot_begin_test(const char **ret_step);
int boot_configure_test(struct cmdline *ret_config, const char **ret_step);

/* After all processes are gone: writes everything back and unmounts, latest mount first. Best effort. */
void boot_undo(void);

#endif
