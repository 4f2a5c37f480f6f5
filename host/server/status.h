/*
 * status: who may read the state directory asks a server how it is, over a Unix socket in its scratch directory there. One line
 * of JSON is the broker's (broker/state.h), the next the front's (host/api/status.c), which nobody here looks into. No request is
 * read: connecting is one.
 */
#ifndef CAPSID_SERVER_STATUS_H
#define CAPSID_SERVER_STATUS_H

#include "base/error.h"

#include <jansson.h>

/* A socket that listens in that directory; it goes with the directory. */
int status_listen(const char *directory, struct error *e);

/* Sends both lines and closes the connection; takes the reference. told: a file that the front made, borrowed; -1: it said nothing. What
 * does not take them at once gets nothing. */
void status_answer(int *connection, json_t *broker, int told);

/* Asks the server that has that directory: its two lines as one object, the front's as "front". NULL: there is none, or it does not
 * answer, and e says which. */
json_t *status_ask(const char *directory, struct error *e);

#endif
