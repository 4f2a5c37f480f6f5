/*
 * filter: the system calls of a VMM (seccomp(2)). Private to confine/.
 *
 * A filter is a list of what is allowed, calls.def. Anything else is not done: the kernel holds the thread and tells the
 * listener of the filter (confine/guard.h), which knows the number and ends the VMM. Where there can be no listener the
 * kernel ends it with SIGSYS. Two filters are lists of what is denied (denied.def): the lenient one, for VMMs that nobody has
 * traced, and the server's.
 */
#ifndef CAPSID_FILTER_H
#define CAPSID_FILTER_H

#include <linux/audit.h>
#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>

#define FILTER_CODE_MAX 800

#if defined(__x86_64__)
#define FILTER_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define FILTER_ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "no system call filter for this architecture"
#endif

/* Who needs a call; a filter is for one or more of them. */
enum filter_set {
    FILTER_QEMU = 1,
    FILTER_TCG = 2, /* QEMU that translates: it writes code and runs it */
    FILTER_KVM = 4,
    FILTER_FIRECRACKER = 8,
    FILTER_FRONT = 16, /* the part of a server that reads requests (host/server) */
    FILTER_BOTH = FILTER_QEMU | FILTER_FIRECRACKER,
    FILTER_ALL = FILTER_BOTH | FILTER_FRONT,
};

struct filter {
    struct sock_filter code[FILTER_CODE_MAX];
    unsigned count;
    bool listens;
};

/* listens: with a listener; execve(2) then is the listener's to allow, and else allowed. */
void filter_list(struct filter *ret, unsigned sets, bool listens);
void filter_lenient(struct filter *ret);
void filter_server(struct filter *ret);

/* The name of a system call, into ret; its length, or 0: unknown. */
size_t filter_call_name(int number, char *ret, size_t size);

#endif
