/*
 * sqlite: SQLite's library, opened when it is first needed: linked in, it would make every start of capsid 0.9 ms longer, and
 * most keep no records. Private to store/.
 */
#ifndef CAPSID_STORE_SQLITE_H
#define CAPSID_STORE_SQLITE_H

#include "base/error.h"

#include <sqlite3.h>

#define SQLITE_FUNCTIONS(F)                                                                                  \
    F(bind_int64)                                                                                            \
    F(bind_null)                                                                                             \
    F(bind_text64)                                                                                           \
    F(busy_timeout)                                                                                          \
    F(changes)                                                                                               \
    F(close)                                                                                                 \
    F(column_bytes)                                                                                          \
    F(column_int64)                                                                                          \
    F(column_text)                                                                                           \
    F(db_config)                                                                                             \
    F(errcode)                                                                                               \
    F(errmsg)                                                                                                \
    F(exec)                                                                                                  \
    F(finalize)                                                                                              \
    F(get_autocommit)                                                                                        \
    F(last_insert_rowid)                                                                                     \
    F(libversion_number)                                                                                     \
    F(limit)                                                                                                 \
    F(open_v2)                                                                                               \
    F(prepare_v2)                                                                                            \
    F(step)                                                                                                  \
    F(system_errno)                                                                                          \
    F(wal_checkpoint_v2)                                                                                     \
    F(wal_hook)

/* The library's functions under their names without "sqlite3_", once sqlite_open() has succeeded. */
extern struct sqlite_functions {
#define F(name) __typeof__(sqlite3_##name) *name;
    SQLITE_FUNCTIONS(F)
#undef F
} sqlite;

/* Never closed; any thread. Fails when the library is missing or too old. */
int sqlite_open(struct error *e);

#endif
