#include "store/sqlite.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#define LIBRARY "libsqlite3.so.0"
#define VERSION_MIN 3037000 /* has tables whose columns keep their types (STRICT) */

struct sqlite_functions sqlite;

static char missing[200]; /* why it cannot be used; empty: it can */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void open_library(void)
{
    void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    const char *absent = NULL;

    if (!handle) {
        snprintf(missing, sizeof(missing), "%s", dlerror());
        return;
    }
#define F(name)                                                                                              \
    *(void **)&sqlite.name = dlsym(handle, "sqlite3_" #name);                                                \
    if (!sqlite.name)                                                                                        \
        absent = "sqlite3_" #name;
    SQLITE_FUNCTIONS(F)
#undef F
    if (absent)
        snprintf(missing, sizeof(missing), "it has no %s", absent);
    else if (sqlite.libversion_number() < VERSION_MIN)
        snprintf(missing, sizeof(missing), "it is older than 3.37");
}

int sqlite_open(struct error *e)
{
    pthread_once(&once, open_library);
    return missing[0] ? error_set(e, ERROR_GENERAL,
                                  LIBRARY " cannot be used, which records need; install the Debian package "
                                          "libsqlite3-0 (%s)",
                                  missing)
                      : 0;
}
