/*
 * operations: work that goes on after its request was answered, to be asked about until it is forgotten: OPERATION_KEPT_S after
 * its end, also when the server is started again meanwhile, unless there are too many (service/share.h). One that was not done
 * when its server died has failed, with REFUSAL_LOST.
 *
 * Any thread. Locks: its own, of the list of what is worked on, and the ledger's; neither within the other.
 */
#ifndef CAPSID_SERVICE_OPERATIONS_H
#define CAPSID_SERVICE_OPERATIONS_H

#include "service/ledger.h"
#include "service/operation_view.h"
#include "service/request.h"

#include <jansson.h>
#include <pthread.h>

#define OPERATION_KEPT_S 3600
#define OPERATION_ID_MAX 40
#define OPERATION_TOLD_MAX (16u << 10) /* bytes of what is told of a request */
#define OPERATIONS_OWN_MAX 1024
#define OPERATIONS_ALL_MAX 8192
/* Of all results as JSON text; when there are more, the oldest are forgotten, but not how their operations ended. As
   large as the largest result of a batch of the usual limits in base64, and less than what an answer may hold. */
#define OPERATIONS_OWN_BYTES (INT64_C(192) << 20)
#define OPERATIONS_ALL_BYTES (INT64_C(768) << 20)

struct operation_at_work;

struct operations {
    struct ledger *ledger; /* borrowed */
    pthread_mutex_t lock;
    struct operation_at_work *first; /* of this server */
};

void operations_open(struct operations *o, struct ledger *ledger);
void operations_close(struct operations *o);

/* q: of it is told with the operation what SHOWN_OPERATION of schema.def has, unless that is long. task: the caller's number for what does it, not 0. ERROR_BUSY: this owner has too
 * many that are not finished. */
int operations_add(struct operations *o, enum operation_kind kind, const char *owner, const struct request *q,
                   uint64_t task, char ret_id[static OPERATION_ID_MAX], struct error *e);
void operations_begin(struct operations *o, const char *id);

/* Takes result and error, the object of that name in a refusal, over; without an error it has succeeded. */
void operations_end(struct operations *o, const char *id, bool cancelled, json_t *result, json_t *error);
void operations_forget(struct operations *o, const char *id);

/* An id as it is kept, from that or from the UUID that is the same one, "": it is neither; and that UUID. */
void operation_id(const char *text, char ret[static OPERATION_ID_MAX]);
void operation_uuid(const char *id, char ret[static OPERATION_ID_MAX]);

/* As JSON, without the results; the newest first. NULL with an error. */
json_t *operations_list(struct operations *o, const char *owner, struct error *e);

/* As JSON; ERROR_NOT_FOUND: this owner has no such one. */
json_t *operations_show(struct operations *o, const char *owner, const char *id, struct error *e);

/* The number of what works on it here; 0: nothing does, or this owner has no such one. */
uint64_t operations_find_task(struct operations *o, const char *owner, const char *id);

#endif
