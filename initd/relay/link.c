#include "link.h"

#include "head.h"
#include "host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MS 15000 /* for naming a host */
#define LINGER_MS                                                                                            \
    1000 /* for a client that still sends when its answer is complete: a close would be a reset */
#define TOLD_EACH (RELAY_WINDOW / 2)

enum link_state {
    LINK_FREE,
    LINK_HEAD,       /* the client has not named its host yet */
    LINK_ASKED,      /* the host has not answered yet */
    LINK_CONNECTING, /* into the guest */
    LINK_BEGINS,     /* open, and what came with the head is still to go on */
    LINK_OPEN,
    LINK_LINGERS,
    LINK_CLOSED, /* the host has not said so yet */
};

/* All of them are looked at at each step: so they are small, and what is large lies apart. */
struct link {
    enum link_state state;
    int fd;
    int64_t until; /* ms; 0: for ever */
    int64_t body;  /* as in struct head, once there is one */
    uint32_t typed_size;
    uint32_t start, size; /* of data */
    uint32_t credit;      /* bytes that the host may still be sent */
    uint32_t untold;      /* bytes that were taken from it */
    bool known;           /* to the host, under its number */
    bool one;             /* a request, and then the end */
    bool sent_end, got_end, shut, got_close;
};

static struct link links[RELAY_NUMBERS + 1];
static uint32_t last_link; /* above it none was ever used */

static struct room {
    struct head head;
    uint8_t typed[HEAD_MAX];
    uint8_t data[RELAY_WINDOW]; /* from the host, a ring */
} rooms[RELAY_NUMBERS + 1];

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint32_t link_number(const struct link *l)
{
    return (uint32_t)(l - links);
}

static struct room *room_of(const struct link *l)
{
    return &rooms[link_number(l)];
}

/* ---- beginning and end --------------------------------------------------------------------------- */

static struct link *begin_link(uint32_t number, int fd, enum link_state state)
{
    struct link *l = &links[number];

    *l = (struct link){.state = state, .fd = fd, .body = -1, .credit = RELAY_WINDOW};
    rooms[number].head = (struct head){0};
    last_link = number > last_link ? number : last_link;
    return l;
}

/* Without a word to the host, which knows nothing of it or has had the last one. */
static void drop_link(struct link *l)
{
    close(l->fd);
    l->state = LINK_FREE;
}

static void close_link(struct link *l)
{
    close(l->fd);
    host_tell_empty(RELAY_CLOSE, link_number(l));
    l->state = l->got_close ? LINK_FREE : LINK_CLOSED;
}

static void answer_client(struct link *l, const char *text, size_t size)
{
    if (size && write(l->fd, text, size) < 0)
        l->until = 1; /* it is gone: link_tick() */
}

/* The client still reads what it was told, or sends. */
static void linger(struct link *l)
{
    shutdown(l->fd, SHUT_WR);
    l->state = LINK_LINGERS;
    l->until = now_ms() + LINGER_MS;
}

static struct link *free_link(void)
{
    for (uint32_t i = 1; i <= RELAY_CONNECTIONS; i++)
        if (links[i].state == LINK_FREE)
            return &links[i];
    return NULL;
}

static struct link *longest_silent(void)
{
    struct link *longest = NULL;

    for (uint32_t i = 1; i <= RELAY_CONNECTIONS; i++)
        if (links[i].state == LINK_HEAD && (!longest || links[i].until < longest->until))
            longest = &links[i];
    return longest;
}

bool link_has_place(void)
{
    return free_link() || longest_silent();
}

void link_accept(int fd)
{
    struct link *l = free_link();

    if (!l && (l = longest_silent())) {
        host_note("a connection that named no host made room for another");
        drop_link(l);
    }
    if (!l) {
        close(fd);
        return;
    }
    begin_link(link_number(l), fd, LINK_HEAD)->until = now_ms() + HEAD_MS;
}

/* ---- a client names its host ---------------------------------------------------------------------- */

static void ask_host(struct link *l)
{
    l->body = room_of(l)->head.body;
    l->one = room_of(l)->head.kind == HEAD_FORWARD;
    host_tell(&(struct relay_message){.type = RELAY_OPEN,
                                      .stream = link_number(l),
                                      .port = room_of(l)->head.port,
                                      .data = (const uint8_t *)room_of(l)->head.host,
                                      .size = (uint32_t)strlen(room_of(l)->head.host)});
    l->state = LINK_ASKED;
    l->until = 0;
}

static void forget_typed(struct link *l)
{
    struct room *r = room_of(l);

    l->typed_size -= (uint32_t)r->head.used;
    memmove(r->typed, r->typed + r->head.used, l->typed_size);
    r->head.used = 0;
}

static void look_at_head(struct link *l)
{
    char reply[HEAD_REPLY_MAX];
    size_t size = 0;

    for (;;) {
        switch (head_look(&room_of(l)->head, room_of(l)->typed, l->typed_size, reply, &size)) {
        case HEAD_MORE:
            return;
        case HEAD_ANSWER:
            answer_client(l, reply, size);
            forget_typed(l);
            continue;
        case HEAD_TARGET:
            ask_host(l);
            return;
        case HEAD_BAD:
            host_note("a connection asked the relay for something malformed");
            answer_client(l, reply, size);
            linger(l);
            return;
        }
    }
}

/* Of a link without a host. */
static void read_client_head(struct link *l)
{
    ssize_t n = read(l->fd, room_of(l)->typed + l->typed_size, HEAD_MAX - l->typed_size);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        if (l->typed_size)
            host_note("a connection ended before it named a host");
        drop_link(l);
        return;
    }
    l->typed_size += (uint32_t)n;
    look_at_head(l);
}

/* ---- bytes --------------------------------------------------------------------------------------- */

static void send_data(struct link *l, const uint8_t *data, size_t size)
{
    host_tell(&(struct relay_message){
        .type = RELAY_DATA, .stream = link_number(l), .data = data, .size = (uint32_t)size});
    l->credit -= (uint32_t)size;
}

/* What the client may still say, of n bytes. */
static size_t count_body(struct link *l, size_t n)
{
    if (l->body < 0)
        return n;
    n = (uint64_t)l->body < n ? (size_t)l->body : n;
    l->body -= (int64_t)n;
    return n;
}

static void send_end(struct link *l)
{
    if (!l->sent_end)
        host_tell_empty(RELAY_END, link_number(l));
    l->sent_end = true;
}

/* Both have said all they had to say. */
static void end_if_done(struct link *l)
{
    if (!l->shut)
        return;
    if (l->one)
        linger(l);
    else if (l->sent_end)
        close_link(l);
}

static void read_client(struct link *l)
{
    uint8_t data[RELAY_DATA_MAX];
    size_t most = l->credit < sizeof(data) ? l->credit : sizeof(data);

    if (l->body >= 0 && (uint64_t)l->body < most)
        most = (size_t)l->body;
    ssize_t n = most ? read(l->fd, data, most) : 0;
    if (n < 0 && errno == EAGAIN)
        return;
    if (n < 0) {
        close_link(l);
        return;
    }
    if (n == 0) {
        send_end(l);
        end_if_done(l);
        return;
    }
    send_data(l, data, count_body(l, (size_t)n));
}

static void tell_taken(struct link *l, size_t n)
{
    l->untold += (uint32_t)n;
    if (l->untold < TOLD_EACH)
        return;
    host_tell(&(struct relay_message){.type = RELAY_TAKEN, .stream = link_number(l), .count = l->untold});
    l->untold = 0;
}

/* The ring, as far as the client takes it. */
static void write_client(struct link *l)
{
    while (l->size) {
        size_t run = RELAY_WINDOW - l->start < l->size ? RELAY_WINDOW - l->start : l->size;
        ssize_t n = send(l->fd, room_of(l)->data + l->start, run, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            close_link(l);
            return;
        }
        l->start = (l->start + (uint32_t)n) % RELAY_WINDOW;
        l->size -= (uint32_t)n;
        tell_taken(l, (size_t)n);
    }
    if (l->got_end && !l->shut) {
        shutdown(l->fd, SHUT_WR);
        l->shut = true;
        end_if_done(l);
    }
}

static void take_data(struct link *l, const struct relay_message *m)
{
    size_t end = (l->start + l->size) % RELAY_WINDOW,
           run = RELAY_WINDOW - end < m->size ? RELAY_WINDOW - end : m->size;

    if (m->size > RELAY_WINDOW - l->size || l->got_end)
        _exit(1);
    memcpy(room_of(l)->data + end, m->data, run);
    memcpy(room_of(l)->data, m->data + run, m->size - run);
    l->size += m->size;
    write_client(l);
}

/* ---- what the host says -------------------------------------------------------------------------- */

static void connect_link(const struct relay_message *m)
{
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(m->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    static const char text[] = "failed: nothing listens there";
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0 && (connect(fd, (const void *)&to, sizeof(to)) == 0 || errno == EINPROGRESS)) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        begin_link(m->stream, fd, LINK_CONNECTING)->known = true;
        return;
    }
    if (fd >= 0)
        close(fd);
    host_tell(&(struct relay_message){
        .type = RELAY_REFUSED, .stream = m->stream, .data = (const uint8_t *)text, .size = sizeof(text) - 1});
}

static void connected(struct link *l)
{
    static const char text[] = "failed: nothing listens there";
    socklen_t size = sizeof(int);
    int problem = 0;

    getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &problem, &size);
    if (problem == 0) {
        l->state = LINK_OPEN;
        host_tell_empty(RELAY_OPENED, link_number(l));
        return;
    }
    host_tell(&(struct relay_message){.type = RELAY_REFUSED,
                                      .stream = link_number(l),
                                      .data = (const uint8_t *)text,
                                      .size = sizeof(text) - 1});
    drop_link(l);
}

/* What the client sent with the head, and ahead of the answer, goes on when there is room. */
static void begin_bytes(struct link *l)
{
    uint8_t first[RELAY_DATA_MAX];

    l->state = LINK_OPEN;
    if (l->one)
        send_data(l, first, head_rewrite(room_of(l)->typed, room_of(l)->head.used, first));
    forget_typed(l);
    size_t rest = count_body(l, l->typed_size);
    if (rest)
        send_data(l, room_of(l)->typed, rest);
}

static void opened(struct link *l)
{
    char reply[HEAD_REPLY_MAX];

    l->state = LINK_BEGINS;
    l->known = true;
    answer_client(l, reply, head_opened(&room_of(l)->head, reply));
}

static void refused(struct link *l, const struct relay_message *m)
{
    char reply[HEAD_REPLY_MAX];

    answer_client(l, reply, head_refused(&room_of(l)->head, m->data, m->size, reply));
    linger(l);
}

static bool is_open(const struct link *l)
{
    return l->state == LINK_OPEN || l->state == LINK_BEGINS;
}

static void take_close(struct link *l)
{
    l->got_close = true;
    if (l->state == LINK_CLOSED)
        l->state = LINK_FREE;
    else if (l->state == LINK_CONNECTING || (is_open(l) && !l->got_end))
        close_link(l); /* what is whole is still delivered */
}

void link_take(const struct relay_message *m)
{
    struct link *l = &links[m->stream];

    if (m->type == RELAY_OPEN && m->stream > RELAY_CONNECTIONS && l->state == LINK_FREE)
        connect_link(m);
    else if (m->type == RELAY_CLOSE)
        take_close(l);
    else if (m->type == RELAY_OPENED && l->state == LINK_ASKED)
        opened(l);
    else if (m->type == RELAY_REFUSED && l->state == LINK_ASKED)
        refused(l, m);
    else if (!is_open(l)) /* about what has just been closed */
        return;
    else if (m->type == RELAY_DATA)
        take_data(l, m);
    else if (m->type == RELAY_TAKEN)
        l->credit += m->count;
    else if (m->type == RELAY_END) {
        l->got_end = true;
        write_client(l);
    }
}

/* ---- the loop's side ----------------------------------------------------------------------------- */

static short wanted_events(const struct link *l)
{
    switch (l->state) {
    case LINK_HEAD:
    case LINK_LINGERS:
        return POLLIN;
    case LINK_CONNECTING:
        return POLLOUT;
    case LINK_OPEN:
        break;
    default:
        return 0;
    }
    short events = l->size ? POLLOUT : 0;
    if (!l->sent_end && l->body == 0)
        return (short)(events | POLLRDHUP);
    return (short)(events | (!l->sent_end && l->credit ? POLLIN : 0));
}

unsigned link_polled(struct pollfd *ret, uint16_t *ret_links, int *ret_ms)
{
    int64_t until = INT64_MAX;
    unsigned count = 0;

    for (uint32_t i = 1; i <= last_link; i++) {
        const struct link *l = &links[i];
        short events = l->state == LINK_FREE ? 0 : wanted_events(l);
        if (l->state != LINK_FREE && l->until && l->until < until)
            until = l->until;
        /* One that is asked about, or has to wait for the host, would be told of its client's end again and again. */
        if (l->state == LINK_BEGINS && host_has_room())
            until = 0;
        if (!events)
            continue;
        ret[count] = (struct pollfd){.fd = l->fd, .events = events};
        ret_links[count++] = (uint16_t)i;
    }
    int64_t left = until == INT64_MAX ? -1 : until ? until - now_ms() : 0;
    *ret_ms = until != INT64_MAX && left < 0 ? 0 : (int)left;
    return count;
}

void link_ready(uint16_t link, short events)
{
    struct link *l = &links[link];
    uint8_t drop[4096];

    switch (l->state) {
    case LINK_HEAD:
        read_client_head(l);
        break;
    case LINK_CONNECTING:
        connected(l);
        break;
    case LINK_LINGERS:
        if (read(l->fd, drop, sizeof(drop)) <= 0)
            l->until = 1;
        break;
    case LINK_OPEN:
        if (events & (POLLOUT | POLLERR))
            write_client(l);
        if (l->state == LINK_OPEN && events & POLLERR)
            close_link(l);
        else if (l->state == LINK_OPEN && !l->sent_end && (l->credit || l->body == 0) &&
                 events & (POLLIN | POLLHUP | POLLRDHUP))
            read_client(l);
        break;
    default:
        break;
    }
}

/* Its time is over. */
static void expire_link(struct link *l)
{
    l->until = 0;
    if (l->state == LINK_HEAD)
        host_note("a connection named no host in time");
    if (l->known)
        close_link(l);
    else if (l->state == LINK_HEAD || l->state == LINK_LINGERS)
        drop_link(l);
}

void link_tick(void)
{
    int64_t now = 0; /* asked for once, where somebody has a time */

    for (uint32_t i = 1; i <= last_link; i++) {
        struct link *l = &links[i];
        if (l->state == LINK_BEGINS && host_has_room())
            begin_bytes(l);
        if (l->state == LINK_FREE || !l->until)
            continue;
        now = now ? now : now_ms();
        if (l->until <= now)
            expire_link(l);
    }
}
