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

/* POST; the answer is the caller's reference, at most CLIENT_ANSWER_MAX bytes and values. Fails with the server's words when it
 * refuses. */
int client_post(struct client_link *l, const char *path, const char *type, const void *body, size_t size,
                size_t values, json_t **ret, struct error *e);

/*
 * Makes the state of an ordered list, whose files are below root (an fd), and sends those that the server lacks; *ret_sent is how
 * many. ERROR_GENERAL: a file has changed since the list was made.
 */
int client_make_state(struct client_link *l, int root, const struct state_list *list, int64_t *ret_id,
                      uint64_t *ret_sent, struct error *e);

#endif
