#include "base/curl.h"

#include "base/library.h"

#include <pthread.h>

#define LIBRARY "libcurl.so.4"

static struct curl_functions lib;
static struct error missing; /* why it cannot be used; kind 0: it can */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void open_curl(void)
{
    static const struct library_function functions[] = {
#define F(name) {"curl_" #name, &lib.name},
        CURL_FUNCTIONS(F)
#undef F
            {0}};

    if (library_open(LIBRARY, functions, &missing) == 0 && lib.global_init(CURL_GLOBAL_NOTHING) != CURLE_OK)
        error_set(&missing, ERROR_GENERAL, "it cannot be initialised");
}

const struct curl_functions *curl_open(const char *user, struct error *e)
{
    pthread_once(&once, open_curl);
    if (!missing.kind)
        return &lib;
    error_set(e, ERROR_GENERAL,
              "%s cannot be used, which %s needs; install the Debian package libcurl4 (%.200s)", LIBRARY,
              user, missing.text);
    return NULL;
}
