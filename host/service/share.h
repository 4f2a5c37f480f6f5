/*
 * share: how much of a table of records each owner may have, and all of them. The table has the columns number, owner and
 * ended; what is not ended stays.
 *
 * An owner who has too much loses his own oldest. When all of them have too much, the one with the most of it does: so who has
 * no more than an equal share loses nothing, whatever others do.
 */
#ifndef CAPSID_SERVICE_SHARE_H
#define CAPSID_SERVICE_SHARE_H

#include "service/shelf.h"

struct share {
    unsigned number; /* its own, in shelf.room */
    const char *table;
    const char *measure; /* of rows, in SQL: "count(*)" or "sum(bytes)" */
    const char *worth;   /* a condition: what makes room when it goes */
    const char *drop;    /* what makes it go, a statement up to its condition (service/shelf.h) */
    int64_t own_max, all_max;
};

/*
 * In a transaction, after owner got added more: makes room until both bounds hold. 1: they do; 0: they do not, and nothing else may
 * go; -1 with an error.
 */
int share_make_room(const struct shelf *shelf, const struct share *share, const char *owner, int64_t added,
                    struct error *e);

#endif
