/*
 * shelf: large texts that belong to records of the ledger, a file each (TABLE-NUMBER), so that nobody who wants
 * the ledger waits for them. A record says in its column filed that there is one, and in bytes how large it is. What has no
 * record is removed when a server starts.
 */
#ifndef CAPSID_SERVICE_SHELF_H
#define CAPSID_SERVICE_SHELF_H

#include "base/text.h"
#include "store/records.h"

#define SHELF_INLINE_MAX 16384 /* bytes that a record itself may hold */

#define SHELF_SHARES 4

struct shelf {
    struct records *records; /* borrowed, as the next */
    const char *directory;
    int64_t *
        room; /* SHELF_SHARES; see service/share.h: at least so much fits beside what there is. Under the records' lock */
};

/* Writes a text, of which no record says yet that it is there; outside of a transaction. */
int shelf_put(const struct shelf *s, const char *table, int64_t number, const char *text, size_t size,
              struct error *e);

/* Reads one of that size into an empty buffer; fails when it is gone. */
int shelf_get(const struct shelf *s, const char *table, int64_t number, size_t size, struct buffer *ret,
              struct error *e);

/*
 * In a transaction: does a statement on that table, and removes the files of the records that it changes or deletes. The
 * number of these, -1 with an error.
 */
int shelf_drop(const struct shelf *s, const char *table, const char *statement,
               const struct records_value *values, struct error *e);

/* Removes what has no record. */
int shelf_clean(const struct shelf *s, struct error *e);

#endif
