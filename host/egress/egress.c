#include "egress/egress.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define READY_AT_A_TIME 64
#define LOOK_MS 5000           /* between two looks for idle connections */
#define TYPED_MAX (256u << 10) /* bytes for a relay that does not read, above which it is not listened to */
#define TOLD_EACH (RELAY_WINDOW / 2)
#define RELAY_UID 65534 /* nobody */

enum flow_state {
    FLOW_NONE,
    FLOW_WAITS, /* for its turn */
    FLOW_ASKED, /* the dialer has not answered yet */
    FLOW_OPEN,
    FLOW_CLOSED, /* the guest has not said so yet */
};

struct flow {
    enum flow_state state;
    int fd; /* owned; -1: none */
    uint32_t serial;
    uint32_t events;   /* that epoll waits for */
    uint32_t credit;   /* bytes that the guest may still be sent */
    uint32_t room;     /* bytes that the guest may still send */
    uint32_t untold;   /* bytes of the guest that went on, which it has not been told */
    struct buffer out; /* owned; bytes of the guest, from out_start on */
    size_t out_start;
    bool sent_end, got_end, shut, got_close;
    int64_t begun_ns, last_ns;
    struct egress_record record;
};

struct egress {
    struct egress_options options;
    int epoll; /* owned */
    struct frame_reader reader;
    uint8_t *buffer;    /* owned; FRAME_MAX bytes */
    struct flow *flows; /* owned; by number, RELAY_NUMBERS + 1 of them */
    uint32_t last_serial;
    unsigned asked; /* of the dialer, unanswered */
    uint64_t bytes, connections;
    struct job_terminal terminal;
};

static struct flow *flow_of(struct egress *x, uint32_t number)
{
    return &x->flows[number];
}

static uint32_t number_of_flow(const struct egress *x, const struct flow *f)
{
    return (uint32_t)(f - x->flows);
}

/* ---- to the relay -------------------------------------------------------------------------------- */

static void tell_relay(struct egress *x, const struct relay_message *m)
{
    uint8_t out[RELAY_FRAME_MAX];

    buffer_add(&x->terminal.typed, out, relay_encode(m, out));
}

static void tell_empty(struct egress *x, enum relay_type type, const struct flow *f)
{
    tell_relay(x, &(struct relay_message){.type = type, .stream = number_of_flow(x, f)});
}

/* ---- the end of one ------------------------------------------------------------------------------ */

static void record_flow(struct egress *x, struct flow *f)
{
    f->record.ns = clock_monotonic_ns() - f->begun_ns;
    x->options.on_record(x->options.context, &f->record);
}

static void free_flow(struct flow *f)
{
    close_fd(&f->fd);
    buffer_free(&f->out);
    *f = (struct flow){.fd = -1};
}

static void refuse_flow(struct egress *x, struct flow *f, enum egress_decision decision, const char *text)
{
    f->record.decision = decision;
    snprintf(f->record.text, sizeof(f->record.text), "%s", text);
    tell_relay(x, &(struct relay_message){.type = RELAY_REFUSED,
                                          .stream = number_of_flow(x, f),
                                          .data = (const uint8_t *)f->record.text,
                                          .size = (uint32_t)strlen(f->record.text)});
    record_flow(x, f);
    free_flow(f);
}

/* Of one that is open: no byte goes on. */
static void close_flow(struct egress *x, struct flow *f)
{
    bool both = f->got_close;

    record_flow(x, f);
    tell_empty(x, RELAY_CLOSE, f);
    free_flow(f);
    f->state = both ? FLOW_NONE : FLOW_CLOSED;
}

/* Who waits for nothing is still told of a socket's end, and is once. */
static void wait_for(struct egress *x, struct flow *f)
{
    uint32_t events = (!f->sent_end && f->credit ? EPOLLIN : 0) | (f->out.size ? EPOLLOUT : 0);
    struct epoll_event v = {.events = events ? events : EPOLLET, .data.u32 = number_of_flow(x, f)};

    if (events != f->events && epoll_ctl(x->epoll, EPOLL_CTL_MOD, f->fd, &v) == 0)
        f->events = events;
}

/* ---- making one ---------------------------------------------------------------------------------- */

static struct flow *next_waiting(struct egress *x)
{
    struct flow *first = NULL;

    for (uint32_t i = 1; i <= RELAY_CONNECTIONS; i++) {
        struct flow *f = flow_of(x, i);
        if (f->state == FLOW_WAITS && (!first || f->serial < first->serial))
            first = f;
    }
    return first;
}

static int ask_dialer(struct egress *x, struct error *e)
{
    for (struct flow *f; x->asked < DIAL_AT_A_TIME && (f = next_waiting(x));) {
        struct dial_request r = {.serial = f->serial, .port = f->record.port};
        strcpy(r.host, f->record.host);
        if (dial_send_request(x->options.dial_fd, &r, e) < 0)
            return -1;
        f->state = FLOW_ASKED;
        x->asked++;
    }
    return 0;
}

static int on_open(struct egress *x, struct flow *f, const struct relay_message *m, struct error *e)
{
    uint32_t number = number_of_flow(x, f);

    if (f->state != FLOW_NONE || number > RELAY_CONNECTIONS)
        return error_set(e, ERROR_GENERAL, "the relay opened connection %u twice", number);
    f->begun_ns = f->last_ns = clock_monotonic_ns();
    f->record = (struct egress_record){.port = m->port};
    memcpy(f->record.host, m->data, m->size);
    f->serial = ++x->last_serial;
    f->credit = f->room = RELAY_WINDOW;
    f->state = FLOW_WAITS;
    if (m->port == 0)
        refuse_flow(x, f, EGRESS_MALFORMED, "malformed: port 0");
    else if (++x->connections > x->options.connections)
        refuse_flow(x, f, EGRESS_LIMIT, "limit: the program had as many connections as it may have");
    else if (x->bytes > x->options.bytes_max)
        refuse_flow(x, f, EGRESS_LIMIT, "limit: the program sent and received as much as it may");
    return ask_dialer(x, e);
}

static void begin_flow(struct egress *x, struct flow *f, int fd, const struct dial_answer *a)
{
    struct epoll_event v = {.events = EPOLLIN, .data.u32 = number_of_flow(x, f)};

    f->fd = fd;
    f->state = FLOW_OPEN;
    f->events = EPOLLIN;
    f->last_ns = clock_monotonic_ns();
    f->record.decision = EGRESS_ALLOWED;
    strcpy(f->record.address, a->address);
    if (epoll_ctl(x->epoll, EPOLL_CTL_ADD, fd, &v) < 0)
        refuse_flow(x, f, EGRESS_FAILED, "failed: the host has no room for it");
    else
        tell_empty(x, RELAY_OPENED, f);
}

/* One whose connection was given up meanwhile has another serial, or none. */
static int on_dialed(struct egress *x, struct error *e)
{
    struct dial_answer a;
    struct flow *f = NULL;
    int fd;

    if (dial_receive_answer(x->options.dial_fd, &a, &fd, e) < 0)
        return -1;
    for (uint32_t i = 1; !f && i <= RELAY_CONNECTIONS; i++)
        if (flow_of(x, i)->state == FLOW_ASKED && flow_of(x, i)->serial == a.serial)
            f = flow_of(x, i);
    x->asked -= x->asked > 0;
    if (!f)
        close_fd(&fd);
    else if (fd >= 0)
        begin_flow(x, f, fd, &a);
    else {
        strcpy(f->record.address, a.address);
        refuse_flow(x, f, (enum egress_decision)a.decision, a.text);
    }
    return ask_dialer(x, e);
}

/* ---- bytes --------------------------------------------------------------------------------------- */

static void count_bytes(struct egress *x, struct flow *f, uint64_t *count, size_t n)
{
    *count += n;
    x->bytes += n;
    f->last_ns = clock_monotonic_ns();
}

/* All of them at once: a bound that is reached is reached by all. */
static void check_bytes(struct egress *x)
{
    if (x->bytes <= x->options.bytes_max)
        return;
    for (uint32_t i = 1; i <= RELAY_NUMBERS; i++) {
        struct flow *f = flow_of(x, i);
        if (f->state != FLOW_OPEN)
            continue;
        f->record.decision = EGRESS_LIMIT;
        close_flow(x, f);
    }
}

static void end_flow_if_done(struct egress *x, struct flow *f)
{
    if (f->sent_end && f->shut)
        close_flow(x, f);
    else
        wait_for(x, f);
}

/* What the socket takes of what the guest sent. */
static void write_out(struct egress *x, struct flow *f)
{
    while (f->out_start < f->out.size) {
        ssize_t n = send(f->fd, f->out.data + f->out_start, f->out.size - f->out_start, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            close_flow(x, f);
            return;
        }
        f->out_start += (size_t)n;
        f->untold += (uint32_t)n;
    }
    if (f->out_start == f->out.size)
        f->out.size = f->out_start = 0;
    if (f->untold >= TOLD_EACH) {
        tell_relay(x, &(struct relay_message){
                          .type = RELAY_TAKEN, .stream = number_of_flow(x, f), .count = f->untold});
        f->room += f->untold;
        f->untold = 0;
    }
    if (f->got_end && !f->shut && f->out.size == 0) {
        shutdown(f->fd, SHUT_WR);
        f->shut = true;
    }
    if (f->got_close && f->out.size == 0)
        close_flow(x, f);
    else
        end_flow_if_done(x, f);
}

static int on_flow_data(struct egress *x, struct flow *f, const struct relay_message *m, struct error *e)
{
    if (f->state != FLOW_OPEN)
        return 0;
    if (m->size > f->room || f->got_end)
        return error_set(e, ERROR_GENERAL, "the relay sent more than its window");
    f->room -= m->size;
    buffer_add(&f->out, m->data, m->size);
    count_bytes(x, f, &f->record.sent, m->size);
    write_out(x, f);
    check_bytes(x);
    return 0;
}

/* What came for the guest, as far as it may be sent that. */
static void read_in(struct egress *x, struct flow *f)
{
    uint8_t data[RELAY_DATA_MAX];
    size_t most = f->credit < sizeof(data) ? f->credit : sizeof(data);
    ssize_t n = recv(f->fd, data, most, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) {
        close_flow(x, f);
        return;
    }
    if (n == 0) {
        f->sent_end = true;
        tell_empty(x, RELAY_END, f);
        end_flow_if_done(x, f);
        return;
    }
    tell_relay(x, &(struct relay_message){
                      .type = RELAY_DATA, .stream = number_of_flow(x, f), .data = data, .size = (uint32_t)n});
    f->credit -= (uint32_t)n;
    count_bytes(x, f, &f->record.received, (size_t)n);
    wait_for(x, f);
}

/* ---- from the relay ------------------------------------------------------------------------------ */

static int on_taken(struct egress *x, struct flow *f, uint32_t count, struct error *e)
{
    if (f->state != FLOW_OPEN)
        return 0;
    if (count > RELAY_WINDOW - f->credit)
        return error_set(e, ERROR_GENERAL, "the relay took more than it was sent");
    f->credit += count;
    wait_for(x, f);
    return 0;
}

static int on_close(struct egress *x, struct flow *f, struct error *e)
{
    switch (f->state) {
    case FLOW_NONE:
        return error_set(e, ERROR_GENERAL, "the relay closed a connection that there is not");
    case FLOW_CLOSED:
        free_flow(f);
        return 0;
    case FLOW_WAITS:
    case FLOW_ASKED:
    case FLOW_OPEN:
        break;
    }
    f->got_close = true;
    if (f->state != FLOW_OPEN)
        snprintf(f->record.text, sizeof(f->record.text), "the program gave it up");
    if (f->state != FLOW_OPEN && !f->record.decision)
        f->record.decision = EGRESS_FAILED;
    if (f->state != FLOW_OPEN || !f->got_end || f->out.size == 0)
        close_flow(x, f);
    return 0;
}

static void on_note(struct egress *x, const struct relay_message *m)
{
    struct egress_record r = {.decision = EGRESS_MALFORMED};

    memcpy(r.text, m->data, m->size);
    x->options.on_record(x->options.context, &r);
}

static int on_message(struct egress *x, const struct relay_message *m, struct error *e)
{
    struct flow *f = flow_of(x, m->stream);

    switch (m->type) {
    case RELAY_READY:
        if (x->options.on_ready)
            x->options.on_ready(x->options.context);
        return 0;
    case RELAY_NOTE:
        on_note(x, m);
        return 0;
    case RELAY_OPEN:
        return on_open(x, f, m, e);
    case RELAY_DATA:
        return on_flow_data(x, f, m, e);
    case RELAY_TAKEN:
        return on_taken(x, f, m->count, e);
    case RELAY_CLOSE:
        return on_close(x, f, e);
    case RELAY_END:
        if (f->state == FLOW_OPEN && !f->got_end) {
            f->got_end = true;
            write_out(x, f);
        }
        return 0;
    case RELAY_OPENED:
    case RELAY_REFUSED:
        break;
    }
    return error_set(e, ERROR_GENERAL, "the relay answered what nobody asked");
}

static void hold_if_behind(struct egress *x)
{
    x->terminal.hold = x->terminal.typed.size > TYPED_MAX;
}

int egress_take(struct egress *x, const void *data, size_t size, struct error *e)
{
    const uint8_t *from = data;
    struct relay_message m;
    struct frame f;
    int next = 0;

    while (size > 0) {
        size_t room;
        uint8_t *space = frame_reader_space(&x->reader, &room);
        size_t n = size < room ? size : room;
        memcpy(space, from, n);
        frame_reader_added(&x->reader, n);
        from += n;
        size -= n;
        while ((next = frame_reader_next(&x->reader, &f)) > 0) {
            if (!relay_decode(&m, &f))
                return error_set(e, ERROR_GENERAL, "the relay sent a malformed message");
            if (on_message(x, &m, e) < 0)
                return -1;
        }
        if (next < 0)
            return error_set(e, ERROR_GENERAL, "the relay sent what is no message");
    }
    hold_if_behind(x);
    return 0;
}

/* ---- the loop ------------------------------------------------------------------------------------ */

static void close_idle(struct egress *x)
{
    int64_t before = clock_monotonic_ns() - EGRESS_IDLE_MS * INT64_C(1000000);

    if (!deadline_passed(x->terminal.wake))
        return;
    for (uint32_t i = 1; i <= RELAY_NUMBERS; i++)
        if (flow_of(x, i)->state == FLOW_OPEN && flow_of(x, i)->last_ns < before)
            close_flow(x, flow_of(x, i));
    x->terminal.wake = deadline_in_ms(LOOK_MS);
}

static void serve_flow(struct egress *x, struct flow *f, uint32_t events)
{
    if (f->state == FLOW_OPEN && events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
        write_out(x, f);
    if (f->state == FLOW_OPEN && !f->sent_end && f->credit && events & (EPOLLIN | EPOLLERR | EPOLLHUP) &&
        x->terminal.typed.size < JOB_TYPED_MAX)
        read_in(x, f);
    else if (f->state == FLOW_OPEN && events & EPOLLERR)
        close_flow(x, f);
}

int egress_ready(struct egress *x, struct error *e)
{
    struct epoll_event v[READY_AT_A_TIME];
    int count = epoll_wait(x->epoll, v, READY_AT_A_TIME, 0);

    for (int i = 0; i < count; i++) {
        if (v[i].data.u32 == 0 && on_dialed(x, e) < 0)
            return -1;
        if (v[i].data.u32 > 0)
            serve_flow(x, flow_of(x, v[i].data.u32), v[i].events);
    }
    close_idle(x);
    check_bytes(x);
    hold_if_behind(x);
    return 0;
}

struct job_terminal *egress_terminal(struct egress *x)
{
    return &x->terminal;
}

/* ---- from begin to end ---------------------------------------------------------------------------- */

struct egress *egress_open(const struct egress_options *options, struct error *e)
{
    struct egress *x = memory_allocate(sizeof(*x));
    struct epoll_event v = {.events = EPOLLIN};

    x->options = *options;
    x->options.bytes_max = options->bytes_max ? options->bytes_max : EGRESS_BYTES_MAX;
    x->options.connections = options->connections ? options->connections : EGRESS_CONNECTIONS_MAX;
    x->buffer = memory_allocate(FRAME_MAX);
    frame_reader_init(&x->reader, x->buffer, FRAME_MAX);
    x->flows = memory_allocate((RELAY_NUMBERS + 1) * sizeof(*x->flows));
    for (uint32_t i = 0; i <= RELAY_NUMBERS; i++)
        x->flows[i].fd = -1;
    x->epoll = epoll_create1(EPOLL_CLOEXEC);
    x->terminal = (struct job_terminal){.fd = x->epoll, .events = POLLIN, .wake = deadline_in_ms(LOOK_MS)};
    if (x->epoll >= 0 && epoll_ctl(x->epoll, EPOLL_CTL_ADD, options->dial_fd, &v) == 0)
        return x;
    error_errno(e, "cannot wait for connections");
    egress_close(x);
    return NULL;
}

void egress_close(struct egress *x)
{
    for (uint32_t i = 1; i <= RELAY_NUMBERS; i++) {
        struct flow *f = flow_of(x, i);
        if (f->state == FLOW_WAITS || f->state == FLOW_ASKED)
            f->record.decision = EGRESS_FAILED;
        if (f->state != FLOW_NONE && f->state != FLOW_CLOSED)
            record_flow(x, f);
        free_flow(f);
    }
    close_fd(&x->options.dial_fd);
    close_fd(&x->epoll);
    buffer_free(&x->terminal.typed);
    free(x->flows);
    free(x->buffer);
    free(x);
}

static int on_relay_output(void *context, int channel, const void *data, size_t size, struct error *e)
{
    char words[200];

    if (channel == 1)
        return egress_take(context, data, size, e);
    snprintf(words, sizeof(words), "%.*s", (int)(size < sizeof(words) ? size : sizeof(words)),
             (const char *)data);
    log_debug("%s", text_make_plain(words));
    return 0;
}

static int on_relay_ready(void *context, short events, struct error *e)
{
    (void)events;
    return egress_ready(context, e);
}

int egress_run(struct egress *x, struct guest *g, const char *relay, struct error *e)
{
    const struct job_io io = {
        .stdin_fd = -1, .on_output = on_relay_output, .context = x, .terminal = &x->terminal};
    const struct msg_exec m = {.argv = {.data = relay, .size = (uint32_t)strlen(relay) + 1},
                               .cwd = "/",
                               .uid = RELAY_UID,
                               .gid = RELAY_UID,
                               .flags = PROTO_JOB_STDIN};
    struct msg_exit exit = {0};

    x->terminal.on_ready = on_relay_ready;
    if (guest_run_job(g, &m, NULL, &io, DEADLINE_NEVER, &exit, e) < 0)
        return -1;
    return error_set(e, ERROR_GENERAL, "the relay ended, with status %u and signal %u", exit.status,
                     exit.signal);
}
