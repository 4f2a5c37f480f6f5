/*
 * journal: what operations say while they go on, for those who look at them as they do. In memory, and bounded: of one operation
 * JOURNAL_BYTES of output, of all JOURNALS_BYTES, and the journals of operations that have ended go first. What an operation came to is
 * in service/operations, and stays longer.
 *
 * Any thread. Lock: one of its own, a leaf.
 */
#ifndef CAPSID_SERVICE_JOURNAL_H
#define CAPSID_SERVICE_JOURNAL_H

#include "service/operations.h"
#include "service/stream_view.h"

#include <pthread.h>

#define JOURNAL_BYTES (1u << 20)
#define JOURNALS_BYTES (64u << 20)
#define JOURNALS_MAX 1024

struct journal;

struct journals {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct journal *first, *last; /* the oldest, the newest */
    size_t bytes;
    unsigned count;
};

void journals_open(struct journals *j);
void journals_close(struct journals *j);

/* One for an operation. Its events are numbered from 1. */
void journals_add(struct journals *j, const char *operation, const char *owner);

/* Adds an event; of those with output, size bytes. Where there is no such journal any more, nothing. */
void journals_tell(struct journals *j, const char *operation, enum stream_event event, const void *data,
                   size_t size);

/* Nothing follows. */
void journals_end(struct journals *j, const char *operation);

struct journal_event {
    uint64_t number;
    enum stream_event
        event;          /* STREAM_EVENT_END: nothing follows; STREAM_EVENT_NONE: nothing has come in time */
    struct buffer data; /* owned by the caller */
    int64_t at_ns;      /* since 1970 */
};

/* The first event after that number, waited for until the deadline; those between that are not there any more were too many. False: this
 * owner's operation has no journal. */
bool journals_next(struct journals *j, const char *operation, const char *owner, uint64_t after,
                   int64_t deadline, struct journal_event *ret);

#endif
