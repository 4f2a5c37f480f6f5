/*
 * head: what a request's first line and headers must be before anything else is done with it: one that HTTP forbids may end elsewhere
 * for a proxy than for us, so that it brings another one along (RFC 9112, 11.2); it is refused, and its connection ends.
 */
#ifndef CAPSID_API_HEAD_H
#define CAPSID_API_HEAD_H

#include "service/refusal.h"

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>

/* What a connection keeps of it. */
struct head {
    const char *target; /* in memory of the HTTP library, which decodes it in place; NULL: there is none */
    size_t target_size; /* as it came, as are the next two */
    size_t host_at, host_size; /* of a URI; 0: it is a path */
    const char *target_fault;  /* NULL: it has none */
    bool ended;                /* one before it was refused by the library: nothing more is a request */
};

/* The target has come, and is not decoded yet. */
void head_begin(struct head *h, const char *target);

/* Of a request whose first line says all of this; -1 with a refusal. */
int head_check(const struct head *h, struct MHD_Connection *connection, const char *method,
               const char *version, struct refusal *r);

/*
 * Of one that was checked: which path is asked for, and of which host; decoded is the target's path, or all of a URI. Both are the
 * caller's to free; the host, with its port, is NULL where there is none.
 */
void head_target(const struct head *h, const char *decoded, const char *host_header, char **ret_path,
                 char **ret_host);

#endif
