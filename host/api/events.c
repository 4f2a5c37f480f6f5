/* GET /api/v1/operations/ID/events: what an operation says, as it says it, and what it came to. */
#include "api/server.h"

#include "base/cleanup.h"

#include <stdlib.h>
#include <string.h>

#define WAIT_MS 500    /* after which it is looked whether the client is still there */
#define QUIET_MS 15000 /* after which something is sent, for what lies between a server and a client */

/* After which event: Last-Event-ID of a client that comes back (HTML standard, 9.2), or the parameter since. */
static uint64_t first_number(struct exchange *x)
{
    const char *given = MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, "Last-Event-ID");

    if (!given)
        given = MHD_lookup_connection_value(x->connection, MHD_GET_ARGUMENT_KIND, "since");
    return given ? strtoull(given, NULL, 10) : 0;
}

int handle_events(struct exchange *x)
{
    const char *follow = MHD_lookup_connection_value(x->connection, MHD_GET_ARGUMENT_KIND, "follow");

    if (x->stream == STREAM_NONE)
        x->stream = STREAM_SSE;
    x->events_after = first_number(x);
    x->events_follow = !follow || (strcmp(follow, "false") != 0 && strcmp(follow, "0") != 0);
    return 0;
}

/* How it is, or has ended. */
static int tell_end(struct exchange *x, const char *operation, uint64_t number)
{
    struct error e = {0};
    json_t *shown = operations_show(&x->server->operations, x->task->owner, operation, &e);

    if (!shown)
        return x->streaming ? 0 : exchange_fail(x, &e);
    stream_begin(x);
    stream_numbered_event(x, number, STREAM_EVENT_END, shown);
    return 0;
}

static int tell_event(struct exchange *x, const char *operation, const struct journal_event *event)
{
    (void)operation;
    const struct stream_view start = {.trace_id = x->trace.id}, output = {.data = event->data};
    json_t *j = event->event == STREAM_EVENT_START
                    ? schema_json(SCHEMA_OBJECT_STREAM_START, SCHEMA_OF_STREAM, &start, NULL)
                    : schema_json(SCHEMA_OBJECT_STREAM_OUTPUT, SCHEMA_OF_STREAM, &output, NULL);

    return stream_numbered_event(x, event->number, event->event, j);
}

/* The client is slow, or gone: what it does not take in time it can ask for again. */
static bool goes_on(struct exchange *x)
{
    return !x->task->cancelled && stream_wait(x, deadline_in_ms(QUIET_MS)) == 0;
}

int events_follow(struct exchange *x, const char *operation, const struct event_teller *t)
{
    struct journals *all = &x->server->journals;
    uint64_t after = x->events_after;
    struct journal_event event = {0};
    int64_t quiet = deadline_in_ms(QUIET_MS);

    while (journals_next(all, operation, x->task->owner, after,
                         x->events_follow ? deadline_in_ms(WAIT_MS) : 0, &event)) {
        if (event.event == STREAM_EVENT_END || (event.event == STREAM_EVENT_NONE && !x->events_follow))
            break;
        stream_begin(x);
        if (event.event != STREAM_EVENT_NONE) {
            after = event.number;
            t->event(x, operation, &event);
        } else if (deadline_passed(quiet)) {
            stream_comment(x);
        }
        if (event.event != STREAM_EVENT_NONE || deadline_passed(quiet))
            quiet = deadline_in_ms(QUIET_MS);
        buffer_free(&event.data);
        if (!goes_on(x))
            return 0;
    }
    return t->end(x, operation, event.event == STREAM_EVENT_END ? event.number : after + 1);
}

int work_events(struct exchange *x, struct backend *b)
{
    static const struct event_teller ours = {tell_event, tell_end};

    (void)b;
    return events_follow(x, x->argument, &ours);
}
