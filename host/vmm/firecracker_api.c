#include "vmm/firecracker_api.h"

#include "base/cleanup.h"
#include "base/curl.h"
#include "base/text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MS 2        /* between attempts to reach a socket that is not there yet */
#define LAST_WORDS_MS 100 /* for an answer that a VMM gave before it ended */
#define FAULT_MAX 700

struct reply {
    struct buffer body;
    bool too_long;
};

static size_t on_body(char *data, size_t unit, size_t count, void *context)
{
    struct reply *r = context;

    if (r->body.size + unit * count > FIRECRACKER_REPLY_MAX) {
        r->too_long = true;
        return 0;
    }
    buffer_add(&r->body, data, unit * count);
    return unit * count;
}

static int open_handles(struct firecracker_api *a, struct error *e)
{
    if (a->curl)
        return 0;
    a->lib = curl_open("Firecracker", e);
    if (!a->lib)
        return -1;
    a->curl = a->lib->easy_init();
    a->multi = a->lib->multi_init();
    if (!a->curl || !a->multi)
        return error_set(e, ERROR_GENERAL, "libcurl: out of memory");
    a->lib->easy_setopt(a->curl, CURLOPT_UNIX_SOCKET_PATH, a->socket);
    a->lib->easy_setopt(a->curl, CURLOPT_NOSIGNAL, 1L);
    a->lib->easy_setopt(a->curl, CURLOPT_NOPROXY, "*");
    a->lib->easy_setopt(a->curl, CURLOPT_WRITEFUNCTION, on_body);
    return 0;
}

void firecracker_api_close(struct firecracker_api *a)
{
    if (a->multi)
        a->lib->multi_cleanup(a->multi);
    if (a->curl)
        a->lib->easy_cleanup(a->curl);
    a->curl = a->multi = NULL;
}

/* What curl waits for is known to curl only, so this waits with its poll, and keeps the rules of deadline.h. */
static int wait_for_more(struct firecracker_api *a, bool *vmm_ended, struct error *e)
{
    struct curl_waitfd extra[2];
    unsigned count = 0;
    int64_t left = a->deadline - clock_monotonic_ns();

    if (a->cancel && a->cancel->fd >= 0)
        extra[count++] = (struct curl_waitfd){.fd = a->cancel->fd, .events = CURL_WAIT_POLLIN};
    unsigned cancels = count;
    if (a->vmm_pidfd >= 0 && !*vmm_ended)
        extra[count++] = (struct curl_waitfd){.fd = a->vmm_pidfd, .events = CURL_WAIT_POLLIN};
    if (left <= 0)
        return error_set(e, ERROR_TIMEOUT, "no answer in time");
    int ms = left / 1000000 >= 60000 ? 60000 : (int)(left / 1000000) + 1;
    int ready = 0;
    if (a->lib->multi_poll(a->multi, extra, count, *vmm_ended ? LAST_WORDS_MS : ms, &ready) != CURLM_OK)
        return error_set(e, ERROR_GENERAL, "libcurl cannot wait");
    if (cancels && extra[0].revents)
        return error_set(e, ERROR_CANCELLED, "interrupted");
    if (*vmm_ended && ready == 0)
        return error_set(e, ERROR_VM_LOST, "it ended");
    /* It may have answered before it ended; curl finds the answer, or the end of the connection. */
    if (count > cancels && extra[cancels].revents)
        *vmm_ended = true;
    return 0;
}

static int transfer(struct firecracker_api *a, CURLcode *ret, struct error *e)
{
    int running = 1, left = 0, result = 0;
    bool vmm_ended = false;

    a->lib->multi_add_handle(a->multi, a->curl);
    while (result == 0 && running) {
        if (a->lib->multi_perform(a->multi, &running) != CURLM_OK)
            result = error_set(e, ERROR_GENERAL, "libcurl failed");
        else if (running)
            result = wait_for_more(a, &vmm_ended, e);
    }
    const CURLMsg *m = result == 0 ? a->lib->multi_info_read(a->multi, &left) : NULL;
    *ret = m ? m->data.result : CURLE_OK;
    a->lib->multi_remove_handle(a->multi, a->curl);
    return result;
}

char *firecracker_fault(const char *body, size_t size)
{
    json_t *j = json_loadb(body ? body : "", size, 0, NULL);
    const char *text = json_string_value(json_object_get(j, "fault_message"));
    /* What its HTTP layer refuses has another form, which need not be JSON (src/firecracker/src/api_server/mod.rs). */
    cleanup_free char *whole = text ? text_copy(text) : text_format("%.*s", (int)size, body ? body : "");
    const char *trimmed = text_trim(whole);
    char *fault = text_format("%.*s", FAULT_MAX, *trimmed ? trimmed : "no reason given");

    json_decref(j);
    return text_make_plain(fault);
}

static int judge_reply(struct firecracker_api *a, const struct reply *r, json_t **ret, struct error *e)
{
    long status = 0;

    a->lib->easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200 || status > 299) {
        cleanup_free char *fault = firecracker_fault(r->body.data, r->body.size);
        return error_set(e, ERROR_GENERAL, "%s (status %ld)", fault, status);
    }
    if (!ret)
        return 0;
    *ret = NULL;
    if (r->body.size == 0)
        return 0;
    *ret = json_loadb(r->body.data, r->body.size, 0, NULL);
    return *ret ? 0 : error_set(e, ERROR_GENERAL, "the answer is not JSON");
}

/* Nobody listens yet: 0 when it is worth another attempt. */
static int wait_for_socket(struct firecracker_api *a, struct error *e)
{
    int64_t soon = deadline_in_ms(RETRY_MS);
    struct pollfd vmm = {.fd = a->vmm_pidfd, .events = POLLIN};
    int n = deadline_poll(&vmm, 1, soon < a->deadline ? soon : a->deadline, a->cancel, e);

    if (n < 0)
        return -1;
    if (n > 0)
        return error_set(e, ERROR_VM_LOST, "it ended");
    if (clock_monotonic_ns() >= a->deadline)
        return error_set(e, ERROR_TIMEOUT, "its API socket was not there in time");
    return 0;
}

static int attempt(struct firecracker_api *a, json_t **ret, struct error *e)
{
    for (;;) {
        struct reply r = {0};
        CURLcode code;
        a->lib->easy_setopt(a->curl, CURLOPT_WRITEDATA, &r);
        int result = transfer(a, &code, e);
        if (result == 0 && code == CURLE_OK)
            result = judge_reply(a, &r, ret, e);
        else if (result == 0 && r.too_long)
            result = error_set(e, ERROR_GENERAL, "the answer is longer than %d bytes", FIRECRACKER_REPLY_MAX);
        else if (result == 0 && code != CURLE_COULDNT_CONNECT)
            result = error_set(e, ERROR_VM_LOST, "%s", a->lib->easy_strerror(code));
        buffer_free(&r.body);
        if (result < 0 || code == CURLE_OK)
            return result;
        if (wait_for_socket(a, e) < 0)
            return -1;
    }
}

int firecracker_api_call(struct firecracker_api *a, const char *method, const char *path, json_t *body,
                         json_t **ret, struct error *e)
{
    cleanup_free char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    cleanup_free char *url = text_format("http://localhost%s", path);

    json_decref(body);
    if (open_handles(a, e) < 0)
        return -1;
    struct curl_slist *headers = a->lib->slist_append(NULL, "Accept: application/json");
    if (text)
        headers = a->lib->slist_append(headers, "Content-Type: application/json");
    headers = a->lib->slist_append(headers, "Expect:");
    a->lib->easy_setopt(a->curl, CURLOPT_URL, url);
    a->lib->easy_setopt(a->curl, CURLOPT_HTTPHEADER, headers);
    a->lib->easy_setopt(a->curl, CURLOPT_POSTFIELDS, text);
    if (!text) /* after POSTFIELDS, which alone would make it a POST */
        a->lib->easy_setopt(a->curl, CURLOPT_HTTPGET, 1L);
    a->lib->easy_setopt(a->curl, CURLOPT_CUSTOMREQUEST, method);
    int result = attempt(a, ret, e);
    a->lib->easy_setopt(a->curl, CURLOPT_HTTPHEADER, NULL);
    a->lib->slist_free_all(headers);
    return result < 0 ? error_wrap(e, "Firecracker, %s %s", method, path) : 0;
}

int firecracker_version_parse(const char *text, struct firecracker_version *ret)
{
    static const char prefix[] = "Firecracker v";
    struct firecracker_version v;
    int end = 0;

    if (strncmp(text, prefix, sizeof(prefix) - 1) == 0)
        text += sizeof(prefix) - 1;
    if (!isdigit((unsigned char)*text) ||
        sscanf(text, "%4u.%4u.%4u%n", &v.major, &v.minor, &v.patch, &end) != 3 ||
        isdigit((unsigned char)text[end]))
        return -1;
    *ret = v;
    return 0;
}

int firecracker_version_at_least(const struct firecracker_version *v, unsigned major, unsigned minor)
{
    return v->major > major || (v->major == major && v->minor >= minor);
}
