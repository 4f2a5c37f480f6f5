/*
 * GET /api/v1/sessions/{id}/pty: a terminal of a session's guest over a WebSocket. Binary messages are what is typed and what
 * is shown; text messages are JSON:
 *
 *   client   {"resize": {"cols": N, "rows": N}}   {"signal": "INT"}
 *   server   {"type": "exit", "end": ..., "exit_code": N, "signal": ...}   {"type": "error", "code": ..., "message": ...}
 *
 * The server's text message is its last before it closes. A client that goes away ends the terminal's programs.
 *
 * Each terminal has a thread, which is the only one to touch the socket once libmicrohttpd has handed it over.
 */
#include "api/server.h"
#include "api/websocket.h"

#include "base/cleanup.h"
#include "base/jsontext.h"
#include "base/log.h"
#include "core/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#define SIZE_MAX_CELLS 1000 /* columns and rows */
#define COMMAND_MAX 4096    /* bytes */
#define CONTROL_VALUES_MAX 8
#define PING_MS 20000 /* between pings; a client that has not answered one when the next is due is gone */
#define HOLD_SIZE                                                                                            \
    (256u << 10) /* bytes that wait for the client, from which on the guest is asked for no more, */
#define HELD_MAX (4u << 20) /* and those that are too many */
#define TOUCH_MS 200        /* how often the session is told that it is in use */
#define GOODBYE_MS 5000     /* for the last messages, and the client's answer */
#define READ_SIZE 16384

struct terminal {
    struct api_server *server;
    struct session *session; /* owned reference */
    struct MHD_UpgradeResponseHandle *handle;
    struct terminal_query query;
    struct trace trace;
    char client_name[65];
    int fd; /* borrowed from libmicrohttpd */
    struct websocket socket;
    struct buffer out; /* from out_start on not yet sent */
    size_t out_start;
    struct job_terminal job;
    int64_t next_ping, touched;
    bool awaits_pong, said_goodbye;
};

/* ---- the request --------------------------------------------------------------------------------- */

/* Browsers let any page open a WebSocket anywhere, and tell which one it was. */
static int take_cells(struct exchange *x, const char *name, uint16_t usual, uint16_t *ret)
{
    const char *text = http_query(x, name);
    uint64_t n = usual;

    if (text && !text_to_u64(text, 1, SIZE_MAX_CELLS, &n))
        return refuse(&x->refusal, REFUSAL_INVALID, "\"%s\" must be from 1 to %d", name, SIZE_MAX_CELLS);
    *ret = (uint16_t)n;
    return 0;
}

int handle_terminal(struct exchange *x)
{
    const char *version = http_header(x, "Sec-WebSocket-Version"), *command = http_query(x, "command");
    char accept[WEBSOCKET_ACCEPT_SIZE], why[200];

    if (handle_session(x) < 0)
        return -1;
    if (strcmp(x->method, "GET") != 0 || !websocket_lists(http_header(x, "Upgrade"), "websocket") ||
        !websocket_lists(http_header(x, "Connection"), "upgrade") || !version || strcmp(version, "13") != 0)
        return refuse(&x->refusal, REFUSAL_UPGRADE, "this path is for WebSockets of version 13");
    if (!websocket_accept(http_header(x, "Sec-WebSocket-Key"), accept))
        return refuse(&x->refusal, REFUSAL_INVALID, "Sec-WebSocket-Key must be 16 bytes in base64");
    if (origin_check(x) < 0 || take_cells(x, "cols", 80, &x->terminal.cols) < 0 ||
        take_cells(x, "rows", 24, &x->terminal.rows) < 0)
        return -1;
    if (command && (!command[0] || strlen(command) > COMMAND_MAX))
        return refuse(&x->refusal, REFUSAL_INVALID, "\"command\" must have 1 to %d bytes", COMMAND_MAX);
    if (x->server->stopping)
        return refuse(&x->refusal, REFUSAL_STOPPING, "the server is shutting down");
    if (session_ended(x->used_session, why, sizeof(why)))
        return refuse(&x->refusal, REFUSAL_GONE, "%s", why);
    x->terminal.command = text_copy(command);
    x->upgrade = true;
    return 0;
}

/* ---- the socket ---------------------------------------------------------------------------------- */

static int gone(struct error *e)
{
    return error_set(e, ERROR_CANCELLED, "the client went away");
}

/* Sends what fits, and says what is waited for next. */
static int flush_socket(struct terminal *t, struct error *e)
{
    while (t->out_start < t->out.size) {
        ssize_t n = send(t->fd, t->out.data + t->out_start, t->out.size - t->out_start, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n <= 0)
            return gone(e);
        t->out_start += (size_t)n;
    }
    if (t->out_start == t->out.size)
        t->out.size = t->out_start = 0;
    size_t left = t->out.size - t->out_start;
    if (left > HELD_MAX)
        return gone(e);
    t->job.events = (short)((left > HOLD_SIZE ? 0 : POLLIN) | (left > 0 ? POLLOUT : 0));
    t->job.hold = left > HOLD_SIZE;
    return 0;
}

static void touch(struct terminal *t)
{
    int64_t now = clock_monotonic_ns();

    if (now - t->touched < TOUCH_MS * 1000000ll)
        return;
    t->touched = now;
    session_touch(t->session);
}

static void say(struct terminal *t, json_t *j)
{
    cleanup_free char *text = jsontext_format(j, JSON_COMPACT);

    json_decref(j);
    if (text)
        websocket_frame(&t->out, WEBSOCKET_TEXT, text, strlen(text));
}

static void say_goodbye(struct terminal *t, uint16_t code, const char *reason)
{
    if (!t->said_goodbye)
        websocket_close_frame(&t->out, code, reason);
    t->said_goodbye = true;
}

/* Sends what is left, and waits for the client's end; for a while. */
static void part(struct terminal *t)
{
    int64_t deadline = deadline_in_ms(GOODBYE_MS);
    struct websocket_message m;
    char bytes[READ_SIZE];
    struct error e = {0};
    bool open = true;

    while (open && flush_socket(t, &e) == 0) {
        const bool sending = t->out.size > 0;
        if (t->socket.ended && !sending)
            break;
        if (deadline_wait_fd(t->fd, sending ? POLLIN | POLLOUT : POLLIN, deadline, NULL, &e) <= 0)
            break;
        ssize_t n = recv(t->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        open = n > 0 || (n < 0 && errno == EAGAIN);
        if (n > 0)
            websocket_add(&t->socket, bytes, (size_t)n);
        while (websocket_next(&t->socket, &m) > 0)
            ;
    }
}

/* ---- what the client says ------------------------------------------------------------------------ */

static int signal_number(const char *name)
{
    if (strncmp(name, "SIG", 3) == 0)
        name += 3;
    for (int i = 1; i < 32; i++)
        if (sigabbrev_np(i) && strcmp(sigabbrev_np(i), name) == 0)
            return i;
    return 0;
}

static bool take_resize(struct terminal *t, const json_t *size)
{
    json_int_t cols = json_integer_value(json_object_get(size, "cols")),
               rows = json_integer_value(json_object_get(size, "rows"));

    if (json_object_size(size) != 2 || cols < 1 || cols > SIZE_MAX_CELLS || rows < 1 || rows > SIZE_MAX_CELLS)
        return false;
    t->job.cols = (uint16_t)cols;
    t->job.rows = (uint16_t)rows;
    t->job.resized = true;
    return true;
}

static bool take_control(struct terminal *t, const struct websocket_message *m)
{
    json_t *j = jsontext_parse(m->data, m->size, CONTROL_VALUES_MAX, JSON_REJECT_DUPLICATES);
    const json_t *size = json_object_get(j, "resize"), *name = json_object_get(j, "signal");
    bool fine = json_object_size(j) == 1;

    if (fine && size)
        fine = take_resize(t, size);
    else if (fine && json_is_string(name))
        fine = (t->job.signal = (uint8_t)signal_number(json_string_value(name))) != 0;
    else
        fine = false;
    json_decref(j);
    return fine;
}

static int take_message(struct terminal *t, enum websocket_event event, const struct websocket_message *m,
                        struct error *e)
{
    switch (event) {
    case WEBSOCKET_BINARY:
        buffer_add(&t->job.typed, m->data, m->size);
        touch(t);
        return 0;
    case WEBSOCKET_TEXT:
        touch(t);
        if (take_control(t, m))
            return 0;
        say_goodbye(t, WEBSOCKET_POLICY,
                    "text messages are {\"resize\": {\"cols\": N, \"rows\": N}} or {\"signal\": NAME}");
        return gone(e);
    case WEBSOCKET_PING:
        websocket_frame(&t->out, WEBSOCKET_PONG, m->data, m->size);
        return 0;
    case WEBSOCKET_PONG:
        t->awaits_pong = false;
        return 0;
    case WEBSOCKET_CLOSE:
        say_goodbye(t, t->socket.code == WEBSOCKET_NO_CODE ? WEBSOCKET_NORMAL : t->socket.code, "");
        return gone(e);
    default:
        say_goodbye(t, t->socket.code, "");
        return gone(e);
    }
}

static int read_socket(struct terminal *t, struct error *e)
{
    char bytes[READ_SIZE];
    ssize_t n = recv(t->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return gone(e);
    websocket_add(&t->socket, bytes, (size_t)n);
    return 0;
}

/* Also called at the beginning: what came with the request is taken already. */
static int on_ready(void *context, short events, struct error *e)
{
    struct terminal *t = context;
    struct websocket_message m;
    enum websocket_event event;

    if (events & (POLLIN | POLLHUP | POLLERR) && read_socket(t, e) < 0)
        return -1;
    while ((event = websocket_next(&t->socket, &m)) != WEBSOCKET_MORE)
        if (take_message(t, event, &m, e) < 0)
            return -1;
    t->job.wake = t->next_ping;
    if (deadline_passed(t->next_ping)) {
        if (t->awaits_pong)
            return gone(e);
        websocket_frame(&t->out, WEBSOCKET_PING, "", 0);
        t->awaits_pong = true;
        t->job.wake = t->next_ping = deadline_in_ms(PING_MS);
    }
    return flush_socket(t, e);
}

static int on_output(void *context, int channel, const void *data, size_t size, struct error *e)
{
    struct terminal *t = context;

    (void)channel;
    websocket_frame(&t->out, WEBSOCKET_BINARY, data, size);
    touch(t);
    return flush_socket(t, e);
}

/* ---- the program --------------------------------------------------------------------------------- */

static int run(struct terminal *t, struct session_user *u, struct msg_exit *ret, struct error *e)
{
    static const char shell[] = "if [ -x /bin/bash ]; then exec /bin/bash -i; else exec /bin/sh -i; fi";
    const struct run_site site = session_site(u);
    const char *const own[] = {"TERM=xterm-256color", NULL};
    const char *const argv[] = {"/bin/sh", "-c", t->query.command ? t->query.command : shell, NULL};
    cleanup_free const char **env = words_of((const char *const *)own, session_env(u->session));
    const struct job_io io = {.stdin_fd = -1, .on_output = on_output, .context = t, .terminal = &t->job};
    struct program p;

    if (program_init(&p, site.language, site.user, site.language->source, NULL, env, e) < 0)
        return -1;
    int result = program_command(&p, argv, e);
    struct msg_exec m = program_job(&p, &p.argv, PROGRAM_DIRECTORY, PROTO_JOB_STDIN | PROTO_JOB_TTY);
    m.rows = t->query.rows;
    m.cols = t->query.cols;
    if (result == 0)
        result = guest_run_job(&u->guest, &m, NULL, &io, DEADLINE_NEVER, ret, e);
    program_done(&p);
    return result;
}

static void tell_exit(struct terminal *t, const struct msg_exit *m)
{
    struct run_phase phase = {0};
    struct error e = {0};

    if (run_phase_of(&phase, m, &e) < 0) {
        say_goodbye(t, WEBSOCKET_FAILED, e.text);
        return;
    }
    const struct result_phase told = {.exit_code = phase.exit_code, .signal = phase.signal, .end = phase.end};
    json_t *j = json_pack("{s:s}", "type", "exit");
    schema_put(j, SCHEMA_OBJECT_TERMINAL_EXIT, SCHEMA_OF_PHASE, &told, NULL);
    say(t, j);
    say_goodbye(t, WEBSOCKET_NORMAL, "");
}

static void tell_refusal(struct terminal *t, const struct refusal *r)
{
    json_t *j = refusal_json(SCHEMA_OBJECT_TERMINAL_ERROR, r, t->trace.id);

    json_object_set_new(j, "type", json_string("error"));
    say(t, j);
    say_goodbye(t, r->kind == REFUSAL_GONE ? WEBSOCKET_GOING_AWAY : WEBSOCKET_FAILED, r->text);
}

static void terminal_thread(void *argument)
{
    struct terminal *t = argument;
    struct session_user u;
    struct msg_exit exit;
    struct refusal r = {0};
    struct error e = {0};

    t->next_ping = deadline_in_ms(PING_MS);
    if (session_enter(t->session, -1, SESSION_TERMINAL, &u, &r) < 0) {
        tell_refusal(t, &r);
    } else {
        int result = run(t, &u, &exit, &e);
        if (result == 0)
            tell_exit(t, &exit);
        if (result < 0 && e.kind != ERROR_CANCELLED) {
            session_fail(t->session, &e, &r);
            tell_refusal(t, &r);
        }
        session_leave(&u);
    }
    if (t->said_goodbye)
        part(t);
    log_debug("terminal ended: %s trace_id=%s client=%s", e.text[0] ? e.text : "exit", t->trace.id,
              t->client_name);
    MHD_upgrade_action(t->handle, MHD_UPGRADE_ACTION_CLOSE);
    websocket_done(&t->socket);
    buffer_free(&t->out);
    buffer_free(&t->job.typed);
    free(t->query.command);
    session_unref(t->session);
    free(t);
}

/* ---- from HTTP ----------------------------------------------------------------------------------- */

static void on_upgrade(void *exchange, struct MHD_Connection *connection, void *context, const char *extra,
                       size_t extra_size, MHD_socket fd, struct MHD_UpgradeResponseHandle *handle)
{
    struct exchange *x = exchange;
    struct terminal *t = memory_allocate(sizeof(*t));
    struct error e = {0};

    (void)connection, (void)context;
    *t = (struct terminal){.server = x->server,
                           .session = x->used_session,
                           .handle = handle,
                           .query = x->terminal,
                           .trace = x->trace,
                           .fd = fd,
                           .job = {.fd = fd, .events = POLLIN, .on_ready = on_ready}};
    memcpy(t->client_name, x->task->owner, sizeof(t->client_name));
    x->used_session = NULL;
    x->terminal.command = NULL;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    websocket_add(&t->socket, extra, extra_size);
    if (sessions_start_terminal(&x->server->sessions, terminal_thread, t, &e) == 0)
        return;
    log_warning("trace_id=%s: no thread for a terminal: %s", x->trace.id, e.text);
    MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
    websocket_done(&t->socket);
    free(t->query.command);
    session_unref(t->session);
    free(t);
}

enum MHD_Result terminal_upgrade(struct exchange *x)
{
    struct MHD_Response *r = MHD_create_response_for_upgrade(on_upgrade, x);
    char accept[WEBSOCKET_ACCEPT_SIZE];

    if (!r || !websocket_accept(http_header(x, "Sec-WebSocket-Key"), accept))
        return MHD_NO;
    MHD_add_response_header(r, "Upgrade", "websocket");
    MHD_add_response_header(r, "Sec-WebSocket-Accept", accept);
    MHD_add_response_header(r, "X-Request-Id", x->trace.id);
    x->answer.status = 101;
    enum MHD_Result result = MHD_queue_response(x->connection, MHD_HTTP_SWITCHING_PROTOCOLS, r);
    MHD_destroy_response(r);
    return result;
}
