/* qmp: QEMU's control protocol, JSON objects a line each (QEMU documentation, "QEMU Machine Protocol
 * Specification"). */
#ifndef CAPSID_QMP_H
#define CAPSID_QMP_H

#include "base/deadline.h"
#include "base/error.h"
#include "base/text.h"

#include <jansson.h>
#include <stdbool.h>

struct qmp {
    int fd; /* borrowed */
    int64_t deadline;
    const struct cancel *cancel; /* borrowed */
    struct buffer input;         /* received, not yet a whole line */
    unsigned late;               /* reads after the deadline */
};

/* A connection on which nothing was received yet, or on which every answer was waited for. */
void qmp_init(struct qmp *q, int fd, int64_t deadline, const struct cancel *cancel);

/* Takes the greeting and enters command mode; once in the life of a connection. */
int qmp_greet(struct qmp *q, struct error *e);
void qmp_close(struct qmp *q);

/* Sends a command (arguments may be NULL, else the reference is taken) and waits for its result; events in
 * between are dropped. *ret_result may be NULL; else the caller owns the reference. */
int qmp_command(struct qmp *q, const char *command, json_t *arguments, json_t **ret_result, struct error *e);

/* Gives QEMU a copy of fd, which later commands call name. */
int qmp_pass_fd(struct qmp *q, const char *name, int fd, struct error *e);

/* Takes what QEMU said since the last answer: whether it stopped the guest, or has ended. Does not wait. */
bool qmp_stopped(int fd);

/* Waits until a migration (either direction) has completed; needs the capability "events". */
int qmp_wait_migration(struct qmp *q, struct error *e);

#endif
