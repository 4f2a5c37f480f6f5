#include "base/curl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#define LIBRARY "libcurl.so.4"

static struct curl_functions lib;
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
    *(void **)&lib.name = dlsym(handle, "curl_" #name);                                                      \
    if (!lib.name)                                                                                           \
        absent = "curl_" #name;
    CURL_FUNCTIONS(F)
#undef F
    if (absent)
        snprintf(missing, sizeof(missing), "it has no %s", absent);
    else if (lib.global_init(CURL_GLOBAL_NOTHING) != CURLE_OK)
        snprintf(missing, sizeof(missing), "it cannot be initialised");
}

const struct curl_functions *curl_open(const char *user, struct error *e)
{
    pthread_once(&once, open_library);
    if (!missing[0])
        return &lib;
    error_set(e, ERROR_GENERAL, "%s cannot be used, which %s needs; install the Debian package libcurl4 (%s)",
              LIBRARY, user, missing);
    return NULL;
}
