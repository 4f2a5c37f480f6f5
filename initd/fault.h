/*
 * fault: why a request cannot be answered well; what ERROR is made of.
 */
#ifndef INITD_FAULT_H
#define INITD_FAULT_H

#include "messages.h"

struct fault {
    uint16_t code;    /* PROTO_ERR_...; 0: all is well */
    int os_errno;     /* an errno value behind it, or 0 */
    const char *text; /* for people; static */
};

#define FAULT_NONE ((struct fault){0})

static inline struct fault fault_of(uint16_t code, const char *text)
{
    return (struct fault){.code = code, .text = text};
}

/* A system call has failed with -errno or errno: r. */
static inline struct fault fault_os(int r, const char *text)
{
    return (struct fault){.code = PROTO_ERR_OS, .os_errno = r < 0 ? -r : r, .text = text};
}

#endif
