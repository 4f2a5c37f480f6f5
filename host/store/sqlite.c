#include "store/sqlite.h"

#include "base/library.h"

#include <pthread.h>

#define LIBRARY "libsqlite3.so.0"
#define VERSION_MIN 3037000 /* has tables whose columns keep their types (STRICT) */

struct sqlite_functions sqlite;

static struct error missing; /* why it cannot be used; kind 0: it can */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void open_sqlite(void)
{
    static const struct library_function functions[] = {
#define F(name) {"sqlite3_" #name, &sqlite.name},
        SQLITE_FUNCTIONS(F)
#undef F
            {0}};

    if (library_open(LIBRARY, functions, &missing) == 0 && sqlite.libversion_number() < VERSION_MIN)
        error_set(&missing, ERROR_GENERAL, "it is older than 3.37");
}

int sqlite_open(struct error *e)
{
    pthread_once(&once, open_sqlite);
    return missing.kind ? error_set(e, ERROR_GENERAL,
                                    LIBRARY " cannot be used, which records need; install the Debian package "
                                            "libsqlite3-0 (%.200s)",
                                    missing.text)
                        : 0;
}
