/*
 * ask: small questions to a server, one after the other on one connection, and what they are for: a directory state made there of
 * files that are here.
 */
#ifndef CAPSID_CLIENT_ASK_H
#define CAPSID_CLIENT_ASK_H

#include "client/client.h"
#include "files/sync.h"

struct client_link;

/* NULL with an error. Nothing is sent yet. */
struct client_link *client_open(const struct client *c, struct error *e);
void client_close(struct client_link *l); /* accepts NULL */

struct client_question {
    const char *method, *path; /* borrowed, as all here */
    const char *type;          /* of the body; NULL: there is none */
    const void *body;
    size_t size;
    size_t values; /* that the answer may have */
    /* Of an answer that is a stream of JSON objects, each is given to it as it comes (a reference of the stream's); what it returns other
     * than 0 ends that. NULL: the answer is one object. */
    int (*on_line)(json_t *line, void *context, struct error *e);
    void *context;
};

/* The answer is the caller's reference, at most CLIENT_ANSWER_MAX bytes and values; of a stream there is none. Fails with the server's
 * words when it refuses, ERROR_NOT_FOUND where it knows no such thing. */
int client_ask(struct client_link *l, const struct client_question *q, json_t **ret, struct error *e);

/* POST of that. */
int client_post(struct client_link *l, const char *path, const char *type, const void *body, size_t size,
                size_t values, json_t **ret, struct error *e);

/*
 * Makes the state of an ordered list, whose files are below root (an fd), and sends those that the server lacks; *ret_sent is how
 * many. ERROR_GENERAL: a file has changed since the list was made.
 */
int client_make_state(struct client_link *l, int root, const struct state_list *list, int64_t *ret_id,
                      uint64_t *ret_sent, struct error *e);

#endif
