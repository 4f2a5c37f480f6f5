/*
 * curl: libcurl, opened when it is first needed: linked in, it and the thirty libraries behind it would make every
 * start of capsid 3 ms longer, and most never make a request.
 */
#ifndef CAPSID_CURL_H
#define CAPSID_CURL_H

#include "base/error.h"

#define CURL_DISABLE_TYPECHECK /* its macros cannot be used on functions that were looked up */
#include <curl/curl.h>

#define CURL_FUNCTIONS(F)                                                                                    \
    F(global_init)                                                                                           \
    F(easy_init)                                                                                             \
    F(easy_setopt)                                                                                           \
    F(easy_getinfo)                                                                                          \
    F(easy_cleanup)                                                                                          \
    F(easy_strerror)                                                                                         \
    F(slist_append)                                                                                          \
    F(slist_free_all)                                                                                        \
    F(mime_init)                                                                                             \
    F(mime_addpart)                                                                                          \
    F(mime_name)                                                                                             \
    F(mime_type)                                                                                             \
    F(mime_data)                                                                                             \
    F(mime_data_cb)                                                                                          \
    F(mime_free)                                                                                             \
    F(multi_init)                                                                                            \
    F(multi_add_handle)                                                                                      \
    F(multi_remove_handle)                                                                                   \
    F(multi_perform)                                                                                         \
    F(multi_poll)                                                                                            \
    F(multi_info_read)                                                                                       \
    F(multi_cleanup)

/* The library's functions under their names without "curl_". */
struct curl_functions {
#define F(name) __typeof__(curl_##name) *name;
    CURL_FUNCTIONS(F)
#undef F
};

/* Never closed; any thread. NULL when the library is missing or too old; user says who needs it, for the message. */
const struct curl_functions *curl_open(const char *user, struct error *e);

#endif
