/* Between libmicrohttpd and the exchanges. Its threads only parse, check and write; they never wait. */
#include "api/server.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#define SPARE_CONNECTIONS 64 /* that were told to end for others, and have not yet */
#define HEAD_MAX 32768       /* bytes of a request's path and headers */
/* Bytes; room for such a head and what is kept of it. One that does not even fit here is answered by the library, as is
   what is not HTTP: with the right status, and a body that is not ours. */
#define CONNECTION_MEMORY 131072
#define IDLE_SECONDS 60
#define DRAIN_MAX (1 << 20) /* a refused body up to this size is read, so that the connection lives on */
#define STREAM_BLOCK 16384
#define TOO_MANY "too many connections from there"

static const char csp[] = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
                          "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static const char *header(struct exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

const char *http_header(struct exchange *x, const char *name)
{
    return header(x, name);
}

/* A word without "=" is there, and empty. */
static enum MHD_Result find_word(void *context, enum MHD_ValueKind kind, const char *key, const char *value)
{
    const char **found = context;

    (void)kind;
    if (strcmp(key, found[0]) != 0)
        return MHD_YES;
    found[1] = value ? value : "";
    return MHD_NO;
}

const char *http_query(struct exchange *x, const char *name)
{
    const char *found[2] = {name, NULL};

    MHD_get_connection_values(x->connection, MHD_GET_ARGUMENT_KIND, find_word, found);
    return found[1];
}

/* ---- waiting ------------------------------------------------------------------------------------- */

void http_suspend(struct exchange *x)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = x->task->number};

    MHD_suspend_connection(x->connection);
    x->suspended = true;
    /* Without it, a client that goes away is noticed when its answer is written. */
    x->watched = info && epoll_ctl(x->server->watch_fd, EPOLL_CTL_ADD, info->connect_fd, &event) == 0;
}

void http_resume(struct exchange *x)
{
    if (!x->suspended)
        return;
    if (x->watched) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        epoll_ctl(x->server->watch_fd, EPOLL_CTL_DEL, info->connect_fd, NULL);
    }
    x->suspended = x->watched = false;
    MHD_resume_connection(x->connection);
}

/* ---- answers ------------------------------------------------------------------------------------- */

static void add(struct MHD_Response *r, const char *name, const char *value)
{
    if (value && value[0])
        MHD_add_response_header(r, name, value);
}

static void add_cors(struct exchange *x, struct MHD_Response *r)
{
    const char *allowed = x->server->options->cors, *origin = header(x, "Origin");

    if (allowed[0] && strcmp(allowed, "*") != 0)
        add(r, "Vary", "Origin");
    if (!origin || !origin_is_allowed(x, origin))
        return;
    add(r, "Access-Control-Allow-Origin", allowed);
    add(r, "Access-Control-Expose-Headers",
        "X-Request-Id, traceparent, Location, Retry-After, Idempotency-Replayed, Content-Range, X-File-Mode");
    if (!x->answer.preflight)
        return;
    add(r, "Access-Control-Allow-Methods", x->answer.allow);
    add(r, "Access-Control-Allow-Headers",
        "Authorization, Content-Type, Accept, Idempotency-Key, X-Request-Id, traceparent, Range, "
        "X-File-Mode");
    add(r, "Access-Control-Max-Age", "600");
}

static enum MHD_Result send_response(struct exchange *x, struct MHD_Response *r, unsigned status)
{
    const struct answer *a = &x->answer;
    char seconds[16];

    add(r, "Content-Type", status == 304 || status == 204 ? NULL : a->type);
    add(r, "X-Request-Id", x->trace.id);
    add(r, "traceparent", x->trace.parent);
    add(r, "X-Content-Type-Options", "nosniff");
    add(r, "Cache-Control", a->etag[0] ? "no-cache" : "no-store");
    add(r, "ETag", a->etag);
    add(r, "Allow", a->allow);
    add(r, "Location", a->location);
    add(r, "Content-Range", a->range);
    add(r, "X-File-Mode", a->file_mode);
    add(r, "Upgrade", status == 426 ? "websocket" : NULL);
    if (a->page) {
        add(r, "Content-Security-Policy", csp);
        add(r, "Referrer-Policy", "no-referrer");
        add(r, "X-Frame-Options", "DENY");
    }
    if (a->replayed)
        add(r, "Idempotency-Replayed", "true");
    if (status == 401)
        add(r, "WWW-Authenticate", "Bearer");
    if (x->refusal.retry_after || status == 503) {
        snprintf(seconds, sizeof(seconds), "%d", x->refusal.retry_after ? x->refusal.retry_after : 1);
        add(r, "Retry-After", seconds);
    }
    if (x->server->stopping || x->broken)
        add(r, "Connection", "close");
    add_cors(x, r);
    enum MHD_Result result = MHD_queue_response(x->connection, status, r);
    MHD_destroy_response(r);
    return result;
}

/* The body goes over to the library: it may be large. */
static enum MHD_Result send_answer(struct exchange *x)
{
    struct answer *a = &x->answer;
    bool given = !a->fixed && a->body.size;
    struct MHD_Response *r =
        given ? MHD_create_response_from_buffer(a->body.size, a->body.data, MHD_RESPMEM_MUST_FREE)
              : MHD_create_response_from_buffer(a->fixed ? a->fixed_size : 0, (void *)(uintptr_t)a->fixed,
                                                MHD_RESPMEM_PERSISTENT);

    if (!r)
        return MHD_NO;
    if (given)
        a->body = (struct buffer){0};
    return send_response(x, r, (unsigned)a->status);
}

static enum MHD_Result send_refusal(struct exchange *x)
{
    exchange_answer(x, refusal_status(x->refusal.kind), exchange_refusal(x));
    return send_answer(x);
}

static enum MHD_Result send_stream(struct exchange *x)
{
    struct MHD_Response *r =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, stream_read, x, NULL);

    x->stream_queued = true;
    x->answer.status = 200;
    x->answer.type = x->stream == STREAM_SSE ? "text/event-stream" : "application/x-ndjson";
    if (!r)
        return MHD_NO;
    add(r, "X-Accel-Buffering", "no"); /* nginx would hold events back */
    return send_response(x, r, 200);
}

/* ---- checks of the head -------------------------------------------------------------------------- */

static bool is_type(const char *type, const char *wanted)
{
    size_t word = type ? strcspn(type, "; \t") : 0;

    return word == strlen(wanted) && strncasecmp(type, wanted, word) == 0;
}

static int check_body_head(struct exchange *x)
{
    const char *type = header(x, "Content-Type"), *length = header(x, "Content-Length");
    bool parts = x->route->body == ROUTE_PROGRAM && is_type(type, "multipart/form-data");
    uint64_t size = 0, max = REQUEST_SIZE_MAX + (parts ? REQUEST_STDIN_PART_MAX + BODY_PARTS_MAX : 0);

    if (length && x->route->body && text_to_u64(length, 0, UINT64_MAX, &size) && size > max)
        return refuse(&x->refusal, REFUSAL_TOO_LARGE, "the body is larger than %llu MiB",
                      (unsigned long long)max >> 20);
    if (parts)
        return parts_begin(x);
    if (x->route->body != ROUTE_JSON && x->route->body != ROUTE_PROGRAM)
        return 0;
    if (!is_type(type, "application/json"))
        return refuse(&x->refusal, REFUSAL_MEDIA_TYPE,
                      "the body must be JSON: Content-Type: application/json%s",
                      x->route->body == ROUTE_PROGRAM ? ", or multipart/form-data" : "");
    return 0;
}

static void choose_stream(struct exchange *x)
{
    const char *accept = header(x, "Accept");

    if (!x->route->streams || !accept)
        return;
    if (strcasestr(accept, "text/event-stream"))
        x->stream = STREAM_SSE;
    else if (strcasestr(accept, "application/x-ndjson"))
        x->stream = STREAM_NDJSON;
}

static int check_key(struct exchange *x)
{
    const char *key = header(x, "Idempotency-Key");
    size_t size = key ? strlen(key) : 0;

    if (!key || strcmp(x->method, "POST") != 0)
        return 0;
    if (size == 0 || size > KEY_SIZE_MAX)
        return refuse(&x->refusal, REFUSAL_INVALID, "an Idempotency-Key has 1 to %d bytes", KEY_SIZE_MAX);
    if (x->stream)
        return refuse(&x->refusal, REFUSAL_INVALID,
                      "a stream cannot have an Idempotency-Key: it is not kept");
    return 0;
}

static int check_size(struct exchange *x)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

    if (info && info->header_size > HEAD_MAX)
        return refuse(&x->refusal, REFUSAL_LARGE_HEAD, "path and headers have %zu bytes; %d are the limit",
                      info->header_size, HEAD_MAX);
    return 0;
}

/* Everything that is known before the body. 1: the answer is set; 0 go on; -1 refused. */
static int check_head(struct exchange *x)
{
    struct api_server *s = x->server;
    bool get = strcmp(x->method, "GET") == 0 || strcmp(x->method, "HEAD") == 0;

    if (check_size(x) < 0 || origin_check_host(x) < 0)
        return -1;
    if (get && page_find(x->path, header(x, "If-None-Match"), &x->answer))
        return 1;
    x->route = route_find(api_routes, x->method, x->path, x->argument, x->answer.allow, &x->refusal);
    if (!x->route && strcmp(x->method, "OPTIONS") == 0 && x->refusal.kind == REFUSAL_METHOD) {
        x->refusal = (struct refusal){0};
        x->answer.status = 204;
        x->answer.preflight = true;
        return 1;
    }
    if (!x->route)
        return -1;
    x->answer.allow[0] = '\0';
    if (!get && origin_check(x) < 0)
        return -1;
    if (!x->route->open) {
        x->task->client = tokens_check(s->tokens, header(x, "Authorization"), &x->refusal);
        if (x->task->client < 0) {
            x->task->client = 0;
            return -1;
        }
        tokens_name(s->tokens, x->task->client, x->task->owner);
        if (tokens_take_request(s->tokens, x->task->client, x->started_ns, &x->refusal) < 0)
            return -1;
    }
    choose_stream(x);
    return check_body_head(x) < 0 ? -1 : check_key(x);
}

/* ---- one request --------------------------------------------------------------------------------- */

static int take_body(struct exchange *x, const char *data, size_t size)
{
    if (!x->route->body)
        return 0; /* of a GET or DELETE: of no meaning */
    if (x->parts)
        return parts_take(x, data, size);
    if (x->body.size + size > REQUEST_SIZE_MAX)
        return refuse(&x->refusal, REFUSAL_TOO_LARGE, "the body is larger than %u MiB",
                      REQUEST_SIZE_MAX >> 20);
    if (exchange_hold(x, size) < 0)
        return -1;
    buffer_add(&x->body, data, size);
    return 0;
}

static void replay_answer(struct exchange *x, const struct key_answer *kept)
{
    struct answer *a = &x->answer;

    *a = (struct answer){
        .status = kept->status, .type = "application/json", .body = kept->body, .replayed = true};
    memcpy(a->location, kept->location, sizeof(a->location));
}

/* 1: the answer was given before; 0: do it; -1 refused. */
static int begin_key(struct exchange *x)
{
    char digest[DIGEST_HEX_SIZE], input[DIGEST_HEX_SIZE] = "", whole[DIGEST_HEX_SIZE];
    struct error e = {0};
    const char *key = header(x, "Idempotency-Key");
    struct key_answer kept;
    enum key_state state;

    if (!key || strcmp(x->method, "POST") != 0)
        return 0;
    digest_bytes(x->body.data ? x->body.data : "", x->body.size, digest);
    if (x->task->stdin_fd >= 0 &&
        (lseek(x->task->stdin_fd, 0, SEEK_SET) < 0 || digest_fd(x->task->stdin_fd, NULL, input, &e) < 0))
        return refuse(&x->refusal, REFUSAL_FAILED, "%.600s", e.text);
    cleanup_free char *text = text_format("%s %s %s", x->path, digest, input);
    digest_bytes(text, strlen(text), whole);
    if (keys_begin(&x->server->ledger, x->task->owner, key, whole, &state, &kept, &e) < 0)
        return exchange_fail(x, &e);
    switch (state) {
    case KEY_FIRST:
        snprintf(x->key, sizeof(x->key), "%s", key);
        return 0;
    case KEY_ANSWERED:
        replay_answer(x, &kept);
        return 1;
    case KEY_AT_WORK:
        x->refusal.retry_after = 1;
        return refuse(&x->refusal, REFUSAL_KEY_BUSY,
                      "the first request with this Idempotency-Key is not done yet");
    default:
        return refuse(&x->refusal, REFUSAL_KEY_REUSED,
                      "another request had this Idempotency-Key; take a new one");
    }
}

/* Counts the copy of an answer that was given before; clients who read slowly could have many. */
static int hold_copy(struct exchange *x)
{
    if (exchange_hold(x, x->answer.body.size) == 0)
        return 0;
    buffer_free(&x->answer.body);
    x->answer = (struct answer){0};
    return -1;
}

static enum MHD_Result enqueue(struct exchange *x)
{
    if (exchange_begin_work(x) < 0) {
        exchange_release_key(x, NULL);
        return send_refusal(x);
    }
    exchange_ref(x);
    pthread_mutex_lock(&x->lock);
    http_suspend(x);
    pthread_mutex_unlock(&x->lock);
    if (exchange_push(x, x->route->lane) < 0)
        exchange_finish(x);
    return MHD_YES;
}

static enum MHD_Result dispatch(struct exchange *x)
{
    x->dispatched = true;
    connections_received(&x->server->connections, x->connection);
    if (x->refused_early || (x->parts && parts_end(x) < 0))
        return send_refusal(x);
    int known = begin_key(x);
    if (known != 0)
        return known < 0 || hold_copy(x) < 0 ? send_refusal(x) : send_answer(x);
    x->work = x->route->work;
    if (x->route->prepare && x->route->prepare(x) < 0) {
        exchange_release_key(x, NULL);
        return send_refusal(x);
    }
    if (x->upgrade)
        return terminal_upgrade(x);
    if (x->route->lane == LANE_NONE || x->answer.status) {
        exchange_release_key(x, &x->answer);
        return send_answer(x);
    }
    return enqueue(x);
}

/* After it was suspended. */
static enum MHD_Result go_on(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    bool stream = x->streaming && !x->stream_queued, done = x->done;
    if (!stream && !done)
        http_suspend(x);
    pthread_mutex_unlock(&x->lock);
    if (stream)
        return send_stream(x);
    return done ? send_answer(x) : MHD_YES;
}

static struct exchange *begin_http(struct api_server *s, struct MHD_Connection *connection,
                                   const char *method, const char *path)
{
    struct exchange *x = exchange_new(s, method, path);

    s->exchanges++;
    x->connection = connection;
    strcpy(x->task->owner, "-");
    trace_begin(&x->trace, header(x, "X-Request-Id"), header(x, "traceparent"));
    return x;
}

/* Is it a request at all, and for what? */
static int take_head(struct exchange *x, const struct head *h, const char *method, const char *url,
                     const char *version)
{
    x->broken = head_check(h, x->connection, method, version, &x->refusal) < 0;
    if (!x->broken && !connections_fits(&x->server->connections, x->connection)) {
        x->broken = true;
        refuse(&x->refusal, REFUSAL_OVERLOAD, TOO_MANY);
    }
    if (x->broken)
        return -1;
    free(x->path);
    head_target(h, url, header(x, "Host"), &x->path, &x->host);
    return 0;
}

/* Whose token it has; -1: nobody's. */
static int owning_client(const struct exchange *x)
{
    return x->server->options->tokens && !x->route->open ? x->task->client : -1;
}

static enum MHD_Result on_head(struct exchange *x)
{
    const char *length = header(x, "Content-Length");
    uint64_t size = 0;
    int result = check_head(x);

    if (result > 0)
        return x->answer.fixed || x->answer.preflight ? send_answer(x) : MHD_NO;
    if (result == 0 && connections_taken(&x->server->connections, x->connection, owning_client(x)))
        return MHD_YES;
    if (result == 0)
        refuse(&x->refusal, REFUSAL_OVERLOAD, TOO_MANY);
    x->refused_early = true;
    /* Small bodies are read first: an answer before them ends the connection, and may be lost with it. */
    if (length && text_to_u64(length, 0, UINT64_MAX, &size) && size > DRAIN_MAX)
        return send_refusal(x);
    return MHD_YES;
}

/* The first line has come. */
static void *on_target(void *server, const char *target, struct MHD_Connection *connection)
{
    struct head *h = connections_head(connection);

    (void)server;
    if (h)
        head_begin(h, target);
    return NULL;
}

static enum MHD_Result on_request(void *server, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data, size_t *size,
                                  void **context)
{
    struct head *h = connections_head(connection);
    struct exchange *x = *context;

    if (!x) {
        if (!h || h->ended)
            return MHD_NO;
        *context = x = begin_http(server, connection, method, url);
        return take_head(x, h, method, url, version) < 0 ? send_refusal(x) : on_head(x);
    }
    if (*size > 0) {
        if (!x->refused_early && take_body(x, data, *size) < 0)
            x->refused_early = true;
        *size = 0;
        return MHD_YES;
    }
    return x->dispatched ? go_on(x) : dispatch(x);
}

static void on_completed(void *server, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode why)
{
    struct api_server *s = server;
    struct exchange *x = *context;

    if (!x) {
        connections_head(connection)->ended =
            true; /* the library has refused it, and may go on in the middle of it */
        return;
    }
    *context = NULL;
    connections_answered(&s->connections, connection);
    pthread_mutex_lock(&x->lock);
    x->connection = NULL;
    bool done = x->done || !x->task->working;
    pthread_cond_broadcast(&x->drained);
    pthread_mutex_unlock(&x->lock);
    if (!done)
        exchange_cancel(x);
    int64_t ns = clock_monotonic_ns() - x->started_ns;
    bool quiet = !x->route || x->route->open;
    metrics_request(&s->metrics, x->route ? (unsigned)(x->route - api_routes) : METRICS_ROUTES,
                    x->answer.status, ns);
    (quiet ? log_debug : log_progress)("%s %s %d %.1fms trace_id=%s client=%s%s", x->method,
                                       x->route ? x->route->pattern : "-", x->answer.status, (double)ns / 1e6,
                                       x->trace.id, x->task->owner,
                                       why == MHD_REQUEST_TERMINATED_COMPLETED_OK ? "" : " not-delivered");
    s->exchanges--;
    exchange_unref(x);
}

/* ---- daemons ------------------------------------------------------------------------------------- */

static int hex(char c)
{
    const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c | 0x20) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* Percent-decoding; a NUL stays encoded, so that no text ends before its end. */
static size_t unescape(void *server, struct MHD_Connection *connection, char *s)
{
    char *to = s;

    (void)server, (void)connection;
    for (const char *from = s; *from;) {
        int high = from[0] == '%' ? hex(from[1]) : -1, low = high >= 0 ? hex(from[2]) : -1;
        if (low < 0 || high + low == 0) {
            *to++ = *from++;
            continue;
        }
        *to++ = (char)(high << 4 | low);
        from += 3;
    }
    *to = '\0';
    return (size_t)(to - s);
}

static void log_message(void *server, const char *format, va_list args)
{
    char line[400];

    (void)server;
    vsnprintf(line, sizeof(line), format, args);
    line[strcspn(line, "\n")] = '\0';
    log_debug("http: %s", line);
}

struct MHD_Daemon *http_start(struct api_server *s, int fd)
{
    const unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                           MHD_USE_TURBO | MHD_ALLOW_UPGRADE;

    return MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, log_message, s,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
        MHD_OPTION_NOTIFY_CONNECTION, connections_notify, &s->connections, MHD_OPTION_CONNECTION_LIMIT,
        s->connections.limits.all + SPARE_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_UNESCAPE_CALLBACK, unescape,
        s, MHD_OPTION_URI_LOG_CALLBACK, on_target, s, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
}
