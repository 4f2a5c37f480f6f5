/* network_log: what became of a program's connections, for its result. */
#ifndef CAPSID_NETWORK_LOG_H
#define CAPSID_NETWORK_LOG_H

#include "egress/egress.h"

#define NETWORK_ENTRIES_MAX 256 /* of a log; what is beyond is counted */

/* Connections of one kind to one place. Texts are owned. */
struct network_entry {
    const char *host; /* as the program said it; "": it named none */
    uint64_t port;
    const char *address; /* that was connected to, or refused; NULL: none */
    enum egress_decision decision;
    const char *why;              /* not "allowed"; NULL: it is */
    uint64_t connections;         /* how many there were */
    uint64_t bytes_in, bytes_out; /* to and from the program */
};

struct network_log {
    struct network_entry *entries; /* owned */
    size_t count;
    uint64_t omitted; /* connections that found no room */
};

void network_log_add(struct network_log *log, const struct egress_record *r);
void network_log_free(struct network_log *log);

#endif
