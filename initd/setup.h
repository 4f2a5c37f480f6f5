/*
 * setup: makes a guest of a kernel with one process, a step in each turn of the loop, while hosts are answered already.
 *
 * A host can greet initd from its first moment on; what it asks then is carried out after the last step. A guest that
 * cannot be set up refuses it, with the step's name, and ends.
 */
#ifndef INITD_SETUP_H
#define INITD_SETUP_H

#include <stdbool.h>
#include <stdint.h>

/* Where initd is PID 1 of a namespace, in a test. Borrowed, for good. */
struct setup_test {
    char *cmdline;      /* words as on the kernel command line, or NULL */
    const char *cgroup; /* a cgroup v2 directory to use as the root, or NULL */
};

/* Opens the ways for hosts. test NULL: this is a real boot; a test has opened its own. */
void setup_init(const struct setup_test *test);

/* Does the next step. Returns when to be called again; 0: never, because the guest is set up. As loop_run() wants it. */
uint64_t setup_run(uint64_t now);

/* It was not possible. */
bool setup_failed(void);

#endif
