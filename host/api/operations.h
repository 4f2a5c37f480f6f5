/* operations: work that goes on after its request was answered, to be asked about until it is forgotten. */
#ifndef CAPSID_API_OPERATIONS_H
#define CAPSID_API_OPERATIONS_H

#include "service/refusal.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define OPERATIONS_MAX 1024   /* when there are more, the oldest finished one is forgotten */
#define OPERATION_KEPT_S 3600 /* how long a finished one is kept at least, unless there are too many */
#define OPERATION_ID_MAX 40
/* Of all results as JSON text; when there are more, the oldest are forgotten, but not how their operations ended. As
   large as the largest result of a batch of the usual limits in base64, and less than what an answer may hold. */
#define OPERATIONS_BYTES_MAX (192u << 20)

struct operation;

struct operations {
    pthread_mutex_t lock;
    struct operation *slots;
    size_t bytes; /* of results */
};

void operations_open(struct operations *o);
void operations_close(struct operations *o);

/* exchange: the id of the one that does it. -1: all slots hold unfinished ones. */
int operations_add(struct operations *o, const char *kind, const char *client, uint64_t exchange,
                   char ret_id[static OPERATION_ID_MAX]);
void operations_begin(struct operations *o, const char *id);
/* Takes result over. */
void operations_end(struct operations *o, const char *id, bool cancelled, json_t *result,
                    const struct refusal *refusal, const char *trace_id);
void operations_forget(struct operations *o, const char *id);

/* As JSON; NULL: this client has no such one. id NULL: all, the newest first. */
json_t *operations_show(struct operations *o, const char *client, const char *id);

/* The exchange that works on it, 0: none does any more. -1: this client has no such one. */
int operations_find(struct operations *o, const char *client, const char *id, uint64_t *ret_exchange);

void operations_count(struct operations *o, unsigned *ret_pending, unsigned *ret_finished);

#endif
