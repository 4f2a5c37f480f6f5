#include "client/ask.h"

#include "base/cleanup.h"
#include "base/curl.h"
#include "base/jsontext.h"
#include "service/state_json.h"

#include <string.h>

#define WAIT_MS 1000

struct client_link {
    const struct client *client;
    const struct curl_functions *lib;
    char *base;          /* owned */
    const char *socket;  /* borrowed */
    char *authorization; /* owned; NULL: none */
    CURL *curl;
    CURLM *multi;
    struct buffer answer; /* all of it; of a stream the line that is not whole yet */
    char why[CURL_ERROR_SIZE];
    const struct client_question *question;
    int64_t heard; /* when something came last */
    int ended;     /* what on_line() returned, if not 0 */
    struct error error;
};

/* ---- one question ----------------------------------------------------------------------------------- */

/* Gives the whole lines that there are to the question's on_line(); false: it has had enough. */
static bool take_lines(struct client_link *l)
{
    const struct client_question *q = l->question;
    char *end;

    while (l->ended == 0 && (end = memchr(l->answer.data, '\n', l->answer.size))) {
        size_t size = (size_t)(end - l->answer.data) + 1;
        json_t *line = jsontext_parse(l->answer.data, size - 1, q->values, 0);
        if (json_is_object(line))
            l->ended = q->on_line(line, q->context, &l->error);
        json_decref(line);
        memmove(l->answer.data, l->answer.data + size, l->answer.size - size);
        l->answer.size -= size;
    }
    return l->ended == 0;
}

static size_t on_answer(char *data, size_t unit, size_t count, void *context)
{
    struct client_link *l = context;
    long status = 0;

    if (l->answer.size + unit * count > CLIENT_ANSWER_MAX)
        return 0;
    buffer_add(&l->answer, data, unit * count);
    l->heard = clock_monotonic_ns();
    l->lib->easy_getinfo(l->curl, CURLINFO_RESPONSE_CODE, &status);
    return status == 200 && l->question->on_line && !take_lines(l) ? 0 : unit * count;
}

struct client_link *client_open(const struct client *c, struct error *e)
{
    struct client_link *l = memory_allocate(sizeof(*l));
    cleanup_free char *token = NULL;

    l->client = c;
    l->lib = curl_open("--api", e);
    if (l->lib && client_address(c->url, &l->base, &l->socket, e) == 0 && client_token(c, &token, e) == 0) {
        l->curl = l->lib->easy_init();
        l->multi = l->lib->multi_init();
        l->authorization = token ? text_format("Authorization: Bearer %s", token) : NULL;
        if (l->curl && l->multi)
            return l;
        error_set(e, ERROR_GENERAL, "libcurl: out of memory");
    }
    client_close(l);
    return NULL;
}

void client_close(struct client_link *l)
{
    if (!l)
        return;
    if (l->multi)
        l->lib->multi_cleanup(l->multi);
    if (l->curl)
        l->lib->easy_cleanup(l->curl);
    buffer_free(&l->answer);
    free(l->authorization);
    free(l->base);
    free(l);
}

static void set_question(struct client_link *l, const char *url, struct curl_slist *headers)
{
    const struct client_question *q = l->question;

    const struct curl_functions *lib = l->lib;

    lib->easy_setopt(l->curl, CURLOPT_URL, url);
    lib->easy_setopt(l->curl, CURLOPT_UNIX_SOCKET_PATH, l->socket);
    if (client_is_local(l->base))
        lib->easy_setopt(l->curl, CURLOPT_NOPROXY, "*");
    lib->easy_setopt(l->curl, CURLOPT_NOSIGNAL, 1L);
    lib->easy_setopt(l->curl, CURLOPT_CONNECTTIMEOUT, (long)CLIENT_CONNECT_SECONDS);
    lib->easy_setopt(l->curl, CURLOPT_ERRORBUFFER, l->why);
    lib->easy_setopt(l->curl, CURLOPT_WRITEFUNCTION, on_answer);
    lib->easy_setopt(l->curl, CURLOPT_WRITEDATA, l);
    lib->easy_setopt(l->curl, CURLOPT_HTTPHEADER, headers);
    lib->easy_setopt(l->curl, CURLOPT_HTTPGET, 1L); /* what an earlier question had is gone */
    if (q->type) {
        lib->easy_setopt(l->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->size);
        lib->easy_setopt(l->curl, CURLOPT_POSTFIELDS, q->size ? q->body : "");
    }
    lib->easy_setopt(l->curl, CURLOPT_CUSTOMREQUEST, q->method);
}

static int wait_for_answer(struct client_link *l, struct error *e)
{
    int64_t patience = (int64_t)l->client->patience * 1000000000;
    struct curl_waitfd cancel = {.fd = l->client->cancel.fd, .events = CURL_WAIT_POLLIN};
    int running = 1, left;

    while (running) {
        if (l->lib->multi_perform(l->multi, &running) != CURLM_OK ||
            (running && l->lib->multi_poll(l->multi, &cancel, cancel.fd >= 0, WAIT_MS, NULL) != CURLM_OK))
            return error_set(e, ERROR_GENERAL, "libcurl failed");
        if (cancel.revents)
            return error_set(e, ERROR_CANCELLED, "interrupted");
        /* Of a stream each line counts: a server that has nothing to say says so, at times. */
        if (running && clock_monotonic_ns() - l->heard > patience)
            return error_set(e, ERROR_GENERAL, "the server %s did not answer in time", l->client->url);
    }
    const CURLMsg *m = l->lib->multi_info_read(l->multi, &left);
    if (l->ended) {
        *e = l->error;
        return l->error.kind ? -1 : 0;
    }
    if (m && m->data.result == CURLE_OK)
        return 0;
    return error_set(e, ERROR_GENERAL, "cannot reach the server %s: %s", l->client->url,
                     l->why[0] ? l->why : "it sends too much");
}

static int judge_answer(struct client_link *l, size_t values, json_t **ret, struct error *e)
{
    json_t *j = jsontext_parse(l->answer.data ? l->answer.data : "", l->answer.size, values, 0);
    long status = 0;

    l->lib->easy_getinfo(l->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status == 200 && l->question->on_line) {
        json_decref(j);
        *ret = NULL;
        return 0;
    }
    if (status >= 200 && status < 300 && json_is_object(j)) {
        *ret = j;
        return 0;
    }
    const char *message = json_string_value(json_object_get(j, "message"));
    cleanup_free char *why =
        text_format("%.500s", message ? message : "it does not answer as a Capsid server does");
    json_decref(j);
    return error_set(e, status == 404 ? ERROR_NOT_FOUND : ERROR_GENERAL, "the server %s: %s (status %ld)",
                     l->client->url, text_make_plain(why), status);
}

int client_ask(struct client_link *l, const struct client_question *q, json_t **ret, struct error *e)
{
    cleanup_free char *url = text_format("%s%s", l->base, q->path);
    cleanup_free char *content_type = text_format("Content-Type: %s", q->type ? q->type : "");
    struct curl_slist *headers = l->lib->slist_append(NULL, "Expect:");

    l->question = q;
    l->ended = 0;
    l->error = (struct error){0};
    l->heard = clock_monotonic_ns();
    if (q->type)
        headers = l->lib->slist_append(headers, content_type);
    if (q->on_line)
        headers = l->lib->slist_append(headers, "Accept: application/x-ndjson");
    headers = l->lib->slist_append(headers, "User-Agent: capsid/" CAPSID_VERSION);
    if (l->authorization)
        headers = l->lib->slist_append(headers, l->authorization);
    l->answer.size = 0;
    l->why[0] = '\0';
    set_question(l, url, headers);
    l->lib->multi_add_handle(l->multi, l->curl);
    int result = wait_for_answer(l, e);
    l->lib->multi_remove_handle(l->multi, l->curl);
    if (result == 0)
        result = judge_answer(l, q->values, ret, e);
    l->lib->slist_free_all(headers);
    return result;
}

int client_post(struct client_link *l, const char *path, const char *type, const void *body, size_t size,
                size_t values, json_t **ret, struct error *e)
{
    const struct client_question q = {
        .method = "POST", .path = path, .type = type, .body = body, .size = size, .values = values};

    return client_ask(l, &q, ret, e);
}

/* ---- directory states ------------------------------------------------------------------------------- */

/* The caller frees it. */
static char *format_request(const struct state_list *list)
{
    json_t *entries = json_array(), *j = json_pack("{s:o}", "entries", entries);

    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(entries, state_entry_json(&list->entries[i]));
    char *text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    return text;
}

static int send_one(struct client_link *l, int root, const struct state_entry *i, struct error *e)
{
    cleanup_fd int fd = sync_open(root, i->path, e);
    cleanup_buffer struct buffer content = {0};
    json_t *j = NULL;

    if (fd < 0 || file_read_fd(fd, i->path, REQUEST_SIZE_MAX, &content, e) < 0 ||
        client_post(l, "/api/v1/files", "application/octet-stream", content.data, content.size, 100, &j, e) <
            0)
        return -1;
    const char *digest = json_string_value(json_object_get(j, "sha256"));
    bool same = digest && strcmp(digest, i->digest) == 0;
    json_decref(j);
    return same ? 0 : error_set(e, ERROR_GENERAL, "%.200s has changed meanwhile; try again", i->path);
}

/* Sends the files of the list that are missing there, each once. */
static int send_missing(struct client_link *l, int root, const struct state_list *list, const json_t *missing,
                        uint64_t *ret_sent, struct error *e)
{
    json_t *wanted = json_object(), *one;
    int result = 0;
    size_t n;

    json_array_foreach((json_t *)missing, n, one) if (json_is_string(one))
        json_object_set_new(wanted, json_string_value(one), json_true());
    for (size_t i = 0; result == 0 && i < list->count; i++) {
        if (!list->entries[i].digest[0] || json_object_del(wanted, list->entries[i].digest) < 0)
            continue;
        result = send_one(l, root, &list->entries[i], e);
        ++*ret_sent;
    }
    json_decref(wanted);
    return result;
}

int client_make_state(struct client_link *l, int root, const struct state_list *list, int64_t *ret_id,
                      uint64_t *ret_sent, struct error *e)
{
    cleanup_free char *request = format_request(list);
    json_t *j = NULL;

    *ret_sent = 0;
    for (int attempt = 0; attempt < 2; attempt++) {
        if (client_post(l, "/api/v1/states", "application/json", request, strlen(request),
                        STATES_ENTRIES_MAX + 10, &j, e) < 0)
            return -1;
        *ret_id = json_integer_value(json_object_get(j, "id"));
        int result =
            *ret_id > 0 ? 0 : send_missing(l, root, list, json_object_get(j, "missing"), ret_sent, e);
        json_decref(j);
        if (result < 0 || *ret_id > 0)
            return result;
    }
    return error_set(e, ERROR_GENERAL, "the server %s lacks files that it was sent", l->client->url);
}
