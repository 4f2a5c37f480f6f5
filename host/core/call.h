/*
 * call: one thing that somebody asked for, for as long as it is worked on: how it is cancelled, and the name under which its
 * log lines, events and result are found. Whoever begins it owns it; everybody below borrows it.
 */
#ifndef CAPSID_CALL_H
#define CAPSID_CALL_H

#include "base/deadline.h"

#define TRACE_ID_MAX 128 /* bytes; a client may bring its own */

struct call {
    struct cancel cancel;
    char trace_id[TRACE_ID_MAX + 1]; /* "": nobody asks for it, as for VMs that wait for work */
};

/* With no trace id. cancel_fd as in struct cancel. */
#define CALL(cancel_fd) ((struct call){.cancel = {.fd = (cancel_fd)}})

/* "tr-" and the time in ns; several at the same time get different ones. */
void trace_id_make(char ret[static TRACE_ID_MAX + 1]);

/* With a new trace id. */
struct call call_begin(int cancel_fd);

#endif
