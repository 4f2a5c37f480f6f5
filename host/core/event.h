/*
 * event: what happens to VMs and runs, a line each on standard error at debug level (--verbose).
 *
 *   time=2026-11-21T15:18:08.123Z since_ms=2174.8 event=restored vm=4711-1 driver=qemu ... load_ms=31.5
 *
 * Fields are separated by one space. A value that is not made of letters, digits and ._:/@+- alone is in double
 * quotes, in which \" and \\ stand for themselves and \xNN for each byte that is not printable ASCII: some of it comes
 * from guests. Durations are in ms. A line is written with one write(2) and shorter than PIPE_BUF, so lines of several
 * threads and processes do not mix. Any thread.
 */
#ifndef CAPSID_EVENT_H
#define CAPSID_EVENT_H

#include "base/error.h"
#include "core/call.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define EVENT_LINE_MAX 2048
#define EVENT_VALUE_MAX 300 /* bytes of a value as written; longer ones are cut */

struct event {
    bool wanted; /* by the log level */
    size_t size;
    char line[EVENT_LINE_MAX];
};

void event_begin(struct event *v, const char *name);
void event_text(struct event *v, const char *key, const char *value); /* NULL and "" are left out */
void event_number(struct event *v, const char *key, int64_t value);
void event_ms(struct event *v, const char *key, int64_t ns); /* left out when negative */
void event_end(struct event *v);                             /* writes it */

/* Who a VM is, and why it ends. {0}: there is none. */
struct vm_life {
    char id[24];                     /* PID-NUMBER of the supervisor's process and of the VM in it */
    char trace_id[TRACE_ID_MAX + 1]; /* of the call that it serves, or "" */
    const char *driver;              /* borrowed, as accel */
    const char *accel;
    char language[64]; /* or "" */
    char snapshot[17]; /* the beginning of its key, or "" */
    pid_t pid;         /* of the VMM; 0: not known yet */
    int64_t begun_ns;  /* CLOCK_MONOTONIC, as the next */
    int64_t ready_ns;  /* when its guest was; 0: not yet */
    char why[24];      /* the first reason that was given */
    char detail[200];
};

/* Gives it an id. language, snapshot and trace_id may be NULL; they are copied. */
void life_begin(struct vm_life *l, const char *driver, const char *accel, const char *language,
                const char *snapshot, const char *trace_id);

/* event_begin() with all that is known of the VM. */
void life_event(struct event *v, const struct vm_life *l, const char *name);

/*
 * Says why the VM is going to be destroyed; detail may be NULL. Later reasons do not count: what comes after the first
 * is its consequence.
 */
void life_because(struct vm_life *l, const char *why, const char *detail);

/* The same for an error: "timeout", "lost", "cancelled" or "failed". */
void life_because_error(struct vm_life *l, const struct error *e);

#endif
