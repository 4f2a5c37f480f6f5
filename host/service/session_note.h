/*
 * session_note: that there is a session, in the ledger: who comes back for it when its server has died is told so, for
 * SESSION_NOTE_KEPT_S of the ledger's clock. Any thread. l may be NULL: then nothing is remembered.
 */
#ifndef CAPSID_SERVICE_SESSION_NOTE_H
#define CAPSID_SERVICE_SESSION_NOTE_H

#include "service/ledger.h"

#include <stdbool.h>

#define SESSION_NOTE_KEPT_S 600

/* It begins; it has ended, and the server that goes on knows how. What fails is told, and no more. */
void session_note_begin(struct ledger *l, const char *owner, const char *id);
void session_note_end(struct ledger *l, const char *id);

/* Whether this owner had that one when a server ended. */
bool session_note_lost(struct ledger *l, const char *owner, const char *id);

#endif
