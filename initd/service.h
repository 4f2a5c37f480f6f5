/*
 * service: the main program of an appliance. initd starts it at boot and starts it again as the kernel command line says
 * (cmdline.h), and goes on serving the protocol beside it. It is no job: its output goes to the console, and no
 * message of the protocol names it.
 */
#ifndef INITD_SERVICE_H
#define INITD_SERVICE_H

#include "cgroup.h"
#include "cmdline.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Takes what the command line says. console: an fd for its output, or -1 for /dev/console. */
void service_init(const struct cmdline *c, int console);

/* Is it the main program, and on its way to execve(2)? */
bool service_is_starting(pid_t pid);

/* True when the child was the main program. */
bool service_on_child(pid_t pid, int status, uint64_t now);

/* Its first process, 0: it does not run; and its group, borrowed. */
pid_t service_pid(void);
const struct cgroup *service_group(void);

/* Memory is short, and it has the most: kills it and what it started. What follows is as after any other end. */
void service_kill_for_memory(void);

/* Starts it when its time has come. Returns when to call again (sys_now() time), 0: no need. */
uint64_t service_run_timers(uint64_t now);

/* True when the main program is at its end for good and the guest is to end with it. */
bool service_asks_end(uint8_t *ret_action);

/* How it ended last: its exit status, or 128 and the number of the signal, as a shell says it. 0 before. */
uint8_t service_status(void);

/* The guest is about to end: asks the program to, and waits for it as long as the command line says. */
void service_stop(void);

#endif
