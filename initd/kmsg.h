/*
 * kmsg: the log. One line a message, "initd: what name=... errno=...", to the kernel's log (/dev/kmsg, where
 * it comes out on the console or in dmesg), or to standard error in test mode. May be called from anywhere;
 * errno is kept.
 */
#ifndef INITD_KMSG_H
#define INITD_KMSG_H

/* Levels of syslog(2). */
enum kmsg_level { KMSG_EMERG = 0, KMSG_ERROR = 3, KMSG_WARNING = 4, KMSG_INFO = 6 };

/* Before this call, lines are dropped. to_stderr: test mode. */
void kmsg_open(int to_stderr);

/* name may be NULL; error is an errno value, negative or not, or 0. */
void kmsg_log(enum kmsg_level level, const char *what, const char *name, int error);

#endif
