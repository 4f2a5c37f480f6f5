/*
 * client: runs a program on a server of the HTTP API instead of here, with the same requests and results
 * (service/schema.def).
 */
#ifndef CAPSID_CLIENT_H
#define CAPSID_CLIENT_H

#include "base/deadline.h"
#include "service/request.h"

#include <jansson.h>

#define CLIENT_ATTEMPTS_MAX 5       /* requests in all, when the server is busy */
#define CLIENT_RETRY_SECONDS_MAX 30 /* the longest that is waited before the next */
#define CLIENT_CONNECT_SECONDS 10   /* until the server takes the connection */
#define CLIENT_IDLE_SECONDS 60      /* the longest pause within an answer that is no stream */
#define CLIENT_RUN_SECONDS 300 /* what a server lets a program run at most, unless it was started otherwise */
#define CLIENT_ANSWER_MAX                                                                                    \
    (64u << 20) /* bytes of an answer, or a line of a stream, beside what max_output allows */
#define CLIENT_HEAD_MAX (64 << 10) /* bytes of an answer's head */
#define CLIENT_VALUES_MAX 1000     /* in an answer or a line; a result has some 40 */

struct client {
    const char *url;        /* http://HOST[:PORT], https://HOST[:PORT], unix:/PATH; borrowed, as all here */
    const char *token_file; /* holds the bearer token; NULL or "": CAPSID_API_TOKEN does, if it is set */
    uint64_t patience;      /* seconds that the server may take beside the program's own time */
    struct cancel cancel;   /* hangs up, which ends the program */
};

/*
 * As run_program(), there. The program's standard input is read to its end first. Without run.on_output *ret is
 * the whole result, as result_json() makes it. With it, the output goes there as it comes, also that of a failed compiler, and *ret has no stdout
 * and stderr but a "message", a string or null, about a timeout and the like. on_build_output is not called.
 *
 * Fails with the server's words when it refuses, ERROR_UNKNOWN_LANGUAGE, ERROR_BUSY when it still is after several
 * attempts, ERROR_CANCELLED.
 */
int client_run(const struct client *c, const struct request *request, json_t **ret, struct error *e);

/* ---- for client/ and its tests --------------------------------------------------------------------- */

/* The JSON body of the request; the caller's reference, NULL with an error. A standard input that is too large for it is in
 * *ret_input, to be sent as a part of its own. */
json_t *client_body(const struct client *c, const struct request *request, struct buffer *ret_input,
                    struct error *e);

/* Where the requests go. base is the caller's to free; socket points into url, or is NULL. */
int client_address(const char *url, char **base, const char **socket, struct error *e);

/* Whether that is on this machine: another machine's proxy is of no use for it. */
bool client_is_local(const char *base);

/* The token, the caller's to free; NULL: there is none. */
int client_token(const struct client *c, char **ret, struct error *e);

#endif
