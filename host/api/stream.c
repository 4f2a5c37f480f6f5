/* Streams of events: server-sent events (HTML standard, section 9.2) or a JSON object a line. */
#include "api/server.h"

#include "base/cleanup.h"
#include "base/jsontext.h"

#include <string.h>

void stream_begin(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    x->streaming = true;
    pthread_mutex_unlock(&x->lock);
}

/* Under exchange.lock. */
static bool is_gone(struct exchange *x)
{
    return x->task->cancelled || !x->connection;
}

static bool has_much(const struct exchange *x)
{
    return x->out.size - x->out_start > STREAM_HELD_MAX;
}

int stream_wait(struct exchange *x, int64_t deadline)
{
    const struct timespec until = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
    int result = 0;

    pthread_mutex_lock(&x->lock);
    while (result == 0 && has_much(x) && !is_gone(x))
        result = pthread_cond_timedwait(&x->drained, &x->lock, &until);
    result = has_much(x) || is_gone(x) ? -1 : 0;
    pthread_mutex_unlock(&x->lock);
    return result;
}

int stream_event(struct exchange *x, enum stream_event event, json_t *data)
{
    return stream_numbered_event(x, 0, event, data);
}

int stream_numbered_event(struct exchange *x, uint64_t number, enum stream_event event, json_t *data)
{
    const struct stream_view line = {.event = event};
    const char *name =
        schema_find(SCHEMA_OBJECT_STREAM_LINE, SCHEMA_OF_STREAM, offsetof(struct stream_view, event))
            ->names[event];

    if (x->stream == STREAM_NDJSON) {
        json_t *whole = schema_json(SCHEMA_OBJECT_STREAM_LINE, SCHEMA_OF_STREAM, &line, NULL);
        json_object_update(whole, data);
        json_decref(data);
        data = whole;
    }
    return stream_named_event(x, number, name, data);
}

int stream_named_event(struct exchange *x, uint64_t number, const char *name, json_t *data)
{
    cleanup_free char *text = jsontext_format(data, JSON_COMPACT);
    json_decref(data);
    pthread_mutex_lock(&x->lock);
    bool gone = is_gone(x);
    if (!gone && text) {
        if (number && x->stream != STREAM_NDJSON)
            buffer_add_text(&x->out, "id: %llu\n", (unsigned long long)number);
        if (x->stream == STREAM_NDJSON)
            buffer_add_text(&x->out, "%s\n", text);
        else
            buffer_add_text(&x->out, "event: %s\ndata: %s\n\n", name, text);
        http_resume(x);
    }
    pthread_mutex_unlock(&x->lock);
    return gone ? -1 : 0;
}

void stream_comment(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    if (!is_gone(x)) {
        buffer_add_text(&x->out, ":\n");
        http_resume(x);
    }
    pthread_mutex_unlock(&x->lock);
}

ssize_t stream_read(void *exchange, uint64_t position, char *out, size_t max)
{
    struct exchange *x = exchange;

    (void)position;
    pthread_mutex_lock(&x->lock);
    size_t size = x->out.size - x->out_start;
    ssize_t result = 0;
    size = size < max ? size : max;
    if (size > 0) {
        memcpy(out, x->out.data + x->out_start, size);
        x->out_start += size;
        if (x->out_start == x->out.size)
            x->out.size = x->out_start = 0;
        pthread_cond_broadcast(&x->drained);
        result = (ssize_t)size;
    } else if (x->done) {
        result = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        http_suspend(x);
    }
    pthread_mutex_unlock(&x->lock);
    return result;
}
