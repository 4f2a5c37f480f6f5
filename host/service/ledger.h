/*
 * ledger: what a server has to remember when it ends, however that is: operations (service/operations.h), idempotency keys
 * (service/keys.h), which sessions there were (service/session_note.h). It is a directory that one server has at a time, and which may belong to a user of its own:
 *
 *   records.db       the records (store/records.h)
 *   TABLE-NUMBER     what is too large for a record (service/shelf.h)
 *
 * What a server was working on when it died is found when the ledger is opened again: operations have failed, keys are free,
 * sessions are lost.
 *
 * The ledger's clock counts ns while a server has it open: how long something is kept depends on nobody who sets the time of
 * day, and no restart shortens it.
 *
 * Threads: any. Locks: that of the records, which is a leaf.
 */
#ifndef CAPSID_SERVICE_LEDGER_H
#define CAPSID_SERVICE_LEDGER_H

#include "service/shelf.h"

struct ledger {
    struct records *records; /* owned; NULL: not open */
    char *directory;         /* owned */
    int64_t room[SHELF_SHARES];
    struct shelf shelf; /* of these three */
    int64_t base;       /* of the clock, to CLOCK_MONOTONIC */
    int64_t noted;      /* its time when that was last written down; under the records' lock */
};

/*
 * The first of home's service, service-2 and so on that no living server has, made if it is not there, with all in it this
 * user's. Returns an fd; while it is open, here or in a child, nobody else gets that place. *ret_path (the caller frees it): its
 * absolute path.
 */
int ledger_take_place(const char *home, char **ret_path, struct error *e);

/* Errors as of records_open(). */
int ledger_open(struct ledger *ret, const char *directory, struct error *e);
void ledger_close(struct ledger *l); /* accepts {0}, and one that could not be opened */

/* Around all that is done with l->records, as records_begin() and records_end(); *ret_now is the clock's time. */
int ledger_begin(struct ledger *l, int64_t *ret_now, struct error *e);
int ledger_end(struct ledger *l, int result, struct error *e);

/* How much it holds of a table, "operations" or "keys"; zeros when it cannot be asked. */
struct ledger_use {
    uint64_t unfinished, finished;
    uint64_t bytes; /* of results, of answers */
};
struct ledger_use ledger_measure(struct ledger *l, const char *table);

enum ledger_state { LEDGER_SOUND, LEDGER_IN_USE, LEDGER_DAMAGED, LEDGER_REPAIRED };

/*
 * What capsid doctor does: reads all of each ledger that no server has, and tells what it found; with repair, one that cannot be
 * used is put aside. why: for people; a sound one has nothing to say, "".
 */
void ledger_examine(const char *home, bool repair,
                    void (*tell)(void *context, enum ledger_state state, const char *path, const char *why),
                    void *context);

#endif
