#include "client/client.h"

#include "base/cleanup.h"
#include "base/curl.h"
#include "base/jsontext.h"
#include "base/log.h"
#include "service/refusal_view.h"
#include "service/result_json.h"
#include "service/stream_view.h"

#include <stdio.h>
#include <string.h>

#define WAIT_MS 1000ll /* the longest wait of which all is counted */

struct transfer {
    const struct client *client;
    const struct request *request;
    const struct curl_functions *lib;
    CURL *curl;
    CURLM *multi;
    struct curl_slist *headers;
    char *base;
    const char *socket;
    char *body;
    struct buffer input; /* the program's standard input, where it is a part of its own; */
    size_t input_sent;
    curl_mime *parts; /* and then both of them */
    size_t size_max;  /* of the answer, or a line of it */
    int64_t patience; /* ns that may still be spent waiting for the server, over all attempts */
    char curl_error[CURL_ERROR_SIZE];

    /* of one attempt */
    long status;
    bool streaming;
    struct buffer answer; /* all of it, or the line that is not whole yet */
    size_t searched;      /* bytes of that line in which there is no newline */
    size_t head_size;     /* bytes of the answer's head so far */
    int64_t idle;         /* ns without a byte, once a part of a whole answer is there */
    json_t *end;          /* owned; the last event of a stream */
    bool refused;         /* end is an error */
    bool failed;          /* error is set */
    struct error error;
};

/* ---- what comes back ----------------------------------------------------------------------------- */

/* A server's error; what it has not is 0, and its kind REFUSALS_COUNT when it has no code. */
static struct refusal_view refusal_of(const json_t *answer)
{
    struct refusal_view r = {.kind = REFUSALS_COUNT};

    if (schema_read(SCHEMA_OBJECT_ERROR, SCHEMA_OF_REFUSAL, answer, &r) < 0)
        return (struct refusal_view){.kind = REFUSALS_COUNT};
    return r;
}

/* Its words, with nothing in them that a terminal would act on. */
static const char *said(const struct refusal_view *r, char out[static 640])
{
    snprintf(out, 640, "%s", r->message && r->message[0] ? r->message : "no reason given");
    return text_make_plain_lines(out);
}

static int refuse_busy(const struct transfer *c, const char *why, long seconds, struct error *e)
{
    return error_set(e, ERROR_BUSY, "the server %s is busy: %s; try again in %ld seconds", c->client->url,
                     why, seconds > 0 ? seconds : 1);
}

/* Turns an answer that is no result into an error. */
static int judge_refusal(const struct transfer *c, const json_t *answer, struct error *e)
{
    const struct refusal_view r = refusal_of(answer);
    const char *url = c->client->url;
    char why[640];

    said(&r, why);
    switch (r.kind) {
    case REFUSALS_COUNT:
        return error_set(e, ERROR_GENERAL, "%s does not answer as a Capsid server does (status %ld)", url,
                         c->status);
    case REFUSAL_UNKNOWN_LANGUAGE:
        return error_set(e, ERROR_UNKNOWN_LANGUAGE, "%s", why);
    case REFUSAL_INVALID:
    case REFUSAL_TOO_LARGE:
        return error_set(e, ERROR_USAGE, "%s", why);
    case REFUSAL_NO_TOKEN:
        return error_set(e, ERROR_GENERAL,
                         "the server %s wants a token; set CAPSID_API_TOKEN or --api-token-file", url);
    case REFUSAL_BAD_TOKEN:
        return error_set(e, ERROR_GENERAL,
                         "the server %s does not know the token; see CAPSID_API_TOKEN and --api-token-file",
                         url);
    default:
        return error_set(e, ERROR_GENERAL, "the server %s: %s (%s)", url, why,
                         r.kind ? refusal_code(r.kind) : "unknown here");
    }
}

#define FIELD(object, member)                                                                                \
    schema_find(SCHEMA_OBJECT_##object, SCHEMA_OF_STREAM, offsetof(struct stream_view, member))

static int take_output(struct transfer *c, int channel, const json_t *event)
{
    const struct schema_field *f = FIELD(STREAM_OUTPUT, data);
    cleanup_buffer struct buffer bytes = {0};
    struct refusal unused;

    if (schema_take_bytes(f->name, schema_member(event, f->name), schema_member(event, f->also), &bytes,
                          &unused) < 0)
        return error_set(&c->error, ERROR_GENERAL, "the server %s sent output that is none", c->client->url);
    return c->request->run.on_output(c->request->run.context, channel, bytes.data ? bytes.data : "",
                                     bytes.size, &c->error);
}

static int take_event(struct transfer *c, const char *line, size_t size)
{
    json_t *j = jsontext_parse(line, size, CLIENT_VALUES_MAX, JSON_ALLOW_NUL);
    const struct schema_field *f = FIELD(STREAM_LINE, event);
    const char *name = json_string_value(json_object_get(j, f->name));
    enum stream_event event = name ? schema_choice(f, name) : STREAM_EVENT_NONE;
    int result = 0;

    if (!name)
        result =
            error_set(&c->error, ERROR_GENERAL, "the server %s sent an event that is none", c->client->url);
    else if (event == STREAM_EVENT_STDOUT || event == STREAM_EVENT_STDERR)
        result = take_output(c, event == STREAM_EVENT_STDOUT ? 1 : 2, j);
    else if (!c->end && (event == STREAM_EVENT_END || event == STREAM_EVENT_ERROR)) {
        c->refused = event == STREAM_EVENT_ERROR;
        c->end = json_incref(j);
    }
    json_decref(j);
    return result;
}

static int take_lines(struct transfer *c)
{
    size_t start = 0, from = c->searched; /* or a line without end would be searched again and again */
    const char *newline;

    while ((newline = memchr(c->answer.data + from, '\n', c->answer.size - from))) {
        size_t end = (size_t)(newline - c->answer.data);
        if (end > start && take_event(c, c->answer.data + start, end - start) < 0)
            return -1;
        start = from = end + 1;
    }
    if (start > 0)
        memmove(c->answer.data, c->answer.data + start, c->answer.size - start);
    c->answer.size -= start;
    c->searched = c->answer.size;
    return 0;
}

static size_t on_body(char *data, size_t unit, size_t count, void *context)
{
    struct transfer *c = context;
    size_t size = unit * count;
    char *type = NULL;

    if (!c->status) {
        c->lib->easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &c->status);
        c->lib->easy_getinfo(c->curl, CURLINFO_CONTENT_TYPE, &type);
        c->streaming = c->status == 200 && c->request->run.on_output && type &&
                       strncmp(type, "application/x-ndjson", 20) == 0;
    }
    if (size == 0)
        return 0;
    c->idle = 0;
    buffer_add(&c->answer, data, size);
    if (c->streaming)
        c->failed = take_lines(c) < 0;
    if (!c->failed && c->answer.size > c->size_max)
        c->failed = error_set(&c->error, ERROR_GENERAL, "the server %s answers with more than %zu bytes",
                              c->client->url, c->size_max) < 0;
    return c->failed ? 0 : size;
}

/* libcurl bounds a line of it, not how many there are. */
static size_t on_head(char *data, size_t unit, size_t count, void *context)
{
    struct transfer *c = context;

    (void)data;
    c->head_size += unit * count;
    if (c->head_size <= CLIENT_HEAD_MAX)
        return unit * count;
    c->failed =
        error_set(&c->error, ERROR_GENERAL, "the server %s answers with more than %d bytes of headers",
                  c->client->url, CLIENT_HEAD_MAX) < 0;
    return 0;
}

/* ---- the request --------------------------------------------------------------------------------- */

/*
 * Time is counted while the server is waited for, and no more of a wait than was asked for: not the time in which this
 * process was stopped, or its own output waited for its reader.
 */
static int wait_for_more(struct transfer *c, struct error *e)
{
    struct curl_waitfd cancel = {.fd = c->client->cancel.fd, .events = CURL_WAIT_POLLIN};
    int64_t most = c->patience < WAIT_MS * 1000000 ? c->patience : WAIT_MS * 1000000;
    int64_t start = clock_monotonic_ns();

    if (c->patience <= 0)
        return error_set(
            e, ERROR_GENERAL,
            "the server %s did not answer in time; api_patience says how long to wait beside the "
            "program's own time",
            c->client->url);
    if (c->idle > CLIENT_IDLE_SECONDS * 1000000000ll && c->answer.size > 0 && !c->streaming)
        return error_set(e, ERROR_GENERAL, "the server %s stopped in the middle of its answer",
                         c->client->url);
    if (c->lib->multi_poll(c->multi, &cancel, cancel.fd >= 0, (int)(most / 1000000) + 1, NULL) != CURLM_OK)
        return error_set(e, ERROR_GENERAL, "libcurl cannot wait");
    int64_t waited = clock_monotonic_ns() - start;
    waited = waited < most ? waited : most;
    c->patience -= waited;
    c->idle += waited;
    return cancel.revents ? error_set(e, ERROR_CANCELLED, "interrupted") : 0;
}

/* -1 with the error, also when the connection broke. */
static int transfer(struct transfer *c, struct error *e)
{
    int running = 1, left = 0, result = 0;

    c->lib->multi_add_handle(c->multi, c->curl);
    while (result == 0 && running) {
        if (c->lib->multi_perform(c->multi, &running) != CURLM_OK)
            result = error_set(e, ERROR_GENERAL, "libcurl failed");
        else if (running)
            result = wait_for_more(c, e);
    }
    const CURLMsg *m = result == 0 ? c->lib->multi_info_read(c->multi, &left) : NULL;
    CURLcode code = m ? m->data.result : CURLE_OK;
    c->lib->easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &c->status);
    c->lib->multi_remove_handle(c->multi, c->curl);
    if (result < 0)
        return -1;
    if (c->failed) {
        *e = c->error;
        return -1;
    }
    if (code == CURLE_OK || c->end)
        return 0;
    const char *why = c->curl_error[0] ? c->curl_error : c->lib->easy_strerror(code);
    curl_off_t sent = 0;
    long number = 0;
    c->lib->easy_getinfo(c->curl, CURLINFO_SIZE_UPLOAD_T, &sent);
    c->lib->easy_getinfo(c->curl, CURLINFO_OS_ERRNO, &number);
    if (c->socket && sent == 0 && number) /* curl's own words are about a host and a port */
        why = strerror((int)number);
    if (sent > 0)
        return error_set(e, ERROR_GENERAL, "the server %s went away before the program's end: %s",
                         c->client->url, why);
    return error_set(e, ERROR_GENERAL, "cannot reach the server %s: %s", c->client->url, why);
}

static json_t *parse_answer(const struct transfer *c)
{
    return jsontext_parse(c->answer.data, c->answer.size, CLIENT_VALUES_MAX, JSON_ALLOW_NUL);
}

/* The result in an answer; -1 with the error. */
static int judge(struct transfer *c, json_t **ret, struct error *e)
{
    enum schema_object object = c->streaming ? SCHEMA_OBJECT_STREAM_END : SCHEMA_OBJECT_API_RESULT;
    json_t *j = c->streaming ? json_incref(c->end) : parse_answer(c);
    struct result seen;
    int result = 0;

    if (c->streaming && !j)
        return error_set(e, ERROR_GENERAL, "the server %s went away before the program's end",
                         c->client->url);
    if (c->status != 200 || c->refused || result_read(object, j, &seen) < 0 ||
        (c->request->run.on_output && !c->streaming))
        result = judge_refusal(c, j, e);
    if (result < 0) {
        json_decref(j);
        return -1;
    }
    result_trim(j);
    *ret = j;
    return 0;
}

static void forget_answer(struct transfer *c)
{
    json_decref(c->end);
    buffer_free(&c->answer);
    c->end = NULL;
    c->status = 0;
    c->searched = c->head_size = 0;
    c->idle = 0;
    c->streaming = c->refused = c->failed = false;
    c->curl_error[0] = '\0';
}

/* A server that is busy says when to come again; so often that is done. Such a request has not run. */
static int attempts(struct transfer *c, json_t **ret, struct error *e)
{
    for (int left = CLIENT_ATTEMPTS_MAX - 1;; left--) {
        curl_off_t after = 0;
        char why[640];
        forget_answer(c);
        if (transfer(c, e) < 0)
            return -1;
        if (c->status != 429 && c->status != 503)
            return judge(c, ret, e);
        json_t *j = parse_answer(c);
        const struct refusal_view r = refusal_of(j);
        said(&r, why);
        json_decref(j);
        c->lib->easy_getinfo(c->curl, CURLINFO_RETRY_AFTER, &after);
        if (left == 0 || after > CLIENT_RETRY_SECONDS_MAX)
            return refuse_busy(c, why, (long)after, e);
        after = after > 0 ? after : 1;
        log_progress("The server is busy; trying again in %ld s", (long)after);
        if (deadline_poll(NULL, 0, deadline_in_ms(after * 1000), &c->client->cancel, e) < 0)
            return -1;
    }
}

/* ---- preparation --------------------------------------------------------------------------------- */

static void set_options(struct transfer *c, const char *url)
{
    const struct curl_functions *l = c->lib;

    l->easy_setopt(c->curl, CURLOPT_URL, url);
    l->easy_setopt(c->curl, CURLOPT_UNIX_SOCKET_PATH, c->socket);
    if (client_is_local(c->base))
        l->easy_setopt(c->curl, CURLOPT_NOPROXY, "*");
    l->easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
    l->easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT, (long)CLIENT_CONNECT_SECONDS);
    l->easy_setopt(c->curl, CURLOPT_TCP_KEEPALIVE, 1L); /* a program may be silent for long */
    l->easy_setopt(c->curl, CURLOPT_TCP_KEEPIDLE, 30L);
    l->easy_setopt(c->curl, CURLOPT_TCP_KEEPINTVL, 10L);
    l->easy_setopt(c->curl, CURLOPT_ERRORBUFFER, c->curl_error);
    l->easy_setopt(c->curl, CURLOPT_HEADERFUNCTION, on_head);
    l->easy_setopt(c->curl, CURLOPT_HEADERDATA, c);
    l->easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_body);
    l->easy_setopt(c->curl, CURLOPT_WRITEDATA, c);
    l->easy_setopt(c->curl, CURLOPT_HTTPHEADER, c->headers);
    if (c->parts) {
        l->easy_setopt(c->curl, CURLOPT_MIMEPOST, c->parts);
        return;
    }
    l->easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(c->body));
    l->easy_setopt(c->curl, CURLOPT_POSTFIELDS, c->body);
}

static size_t read_input(char *out, size_t unit, size_t count, void *context)
{
    struct transfer *c = context;
    size_t left = c->input.size - c->input_sent, room = unit * count, size = left < room ? left : room;

    memcpy(out, c->input.data + c->input_sent, size);
    c->input_sent += size;
    return size;
}

/* For another attempt. */
static int seek_input(void *context, curl_off_t offset, int from)
{
    struct transfer *c = context;

    if (from != SEEK_SET || offset < 0 || (size_t)offset > c->input.size)
        return CURL_SEEKFUNC_CANTSEEK;
    c->input_sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

/* -1: out of memory. libcurl copies the JSON, but not the input. */
static int make_parts(struct transfer *c)
{
    const struct curl_functions *l = c->lib;

    c->parts = l->mime_init(c->curl);
    curl_mimepart *request = c->parts ? l->mime_addpart(c->parts) : NULL,
                  *input = request ? l->mime_addpart(c->parts) : NULL;
    return input && l->mime_name(request, "request") == CURLE_OK &&
                   l->mime_type(request, "application/json") == CURLE_OK &&
                   l->mime_data(request, c->body, CURL_ZERO_TERMINATED) == CURLE_OK &&
                   l->mime_name(input, "stdin") == CURLE_OK &&
                   l->mime_type(input, "application/octet-stream") == CURLE_OK &&
                   l->mime_data_cb(input, (curl_off_t)c->input.size, read_input, seek_input, NULL, c) ==
                       CURLE_OK
               ? 0
               : -1;
}

static void add_header(struct transfer *c, const char *header)
{
    struct curl_slist *longer = c->lib->slist_append(c->headers, header);

    if (longer)
        c->headers = longer;
}

static int prepare(struct transfer *c, struct error *e)
{
    cleanup_free char *token = NULL, *url = NULL, *authorization = NULL;

    uint64_t run = c->request->run.timeout ? c->request->run.timeout : CLIENT_RUN_SECONDS;

    c->patience = (int64_t)(run + c->client->patience) * 1000000000;
    c->size_max =
        CLIENT_ANSWER_MAX + (size_t)c->request->max_output * 12; /* two outputs, each byte as \u0000 */
    if (client_address(c->client->url, &c->base, &c->socket, e) < 0 || client_token(c->client, &token, e) < 0)
        return -1;
    c->lib = curl_open("--api", e);
    if (!c->lib)
        return -1;
    json_t *j = client_body(c->client, c->request, &c->input, e);
    if (!j)
        return -1;
    c->body = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    c->curl = c->lib->easy_init();
    c->multi = c->lib->multi_init();
    if (!c->body || !c->curl || !c->multi || (c->input.size > 0 && make_parts(c) < 0))
        return error_set(e, ERROR_GENERAL, "libcurl: out of memory");
    if (token && !c->socket && strncmp(c->base, "http:", 5) == 0 && !client_is_local(c->base))
        log_warning("the token goes to %s without encryption; prefer https://", c->client->url);
    add_header(c, c->request->run.on_output ? "Accept: application/x-ndjson" : "Accept: application/json");
    if (!c->parts)
        add_header(c, "Content-Type: application/json");
    add_header(c, "Expect:");
    add_header(c, "User-Agent: capsid/" CAPSID_VERSION);
    authorization = token ? text_format("Authorization: Bearer %s", token) : NULL;
    if (token)
        add_header(c, authorization);
    url = text_format("%s/api/v1/execute", c->base);
    set_options(c, url);
    return 0;
}

static void call_done(struct transfer *c)
{
    forget_answer(c);
    if (c->multi)
        c->lib->multi_cleanup(c->multi);
    if (c->curl)
        c->lib->easy_cleanup(c->curl);
    if (c->parts)
        c->lib->mime_free(c->parts);
    buffer_free(&c->input);
    if (c->headers)
        c->lib->slist_free_all(c->headers);
    free(c->base);
    free(c->body);
}

int client_run(const struct client *client, const struct request *request, json_t **ret, struct error *e)
{
    struct transfer c = {.client = client, .request = request};
    int result = prepare(&c, e);

    if (result == 0)
        result = attempts(&c, ret, e);
    call_done(&c);
    return result;
}
