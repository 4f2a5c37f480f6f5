/* host: the two streams between this program and its host: standard input and output. Whatever breaks them ends the program. */
#ifndef RELAY_HOST_H
#define RELAY_HOST_H

#include "relay.h"

/* Room for one more DATA and what little else there may be to say of all connections at once. */
bool host_has_room(void);

/* Queues a message. */
void host_tell(const struct relay_message *m);
void host_tell_empty(enum relay_type type, uint32_t stream);
void host_note(const char *text);

/* Writes what is queued, as far as it goes; whether something is left. */
bool host_flush(void);

/* Reads what is there, and calls take with each message. */
void host_read(void (*take)(const struct relay_message *m));

#endif
