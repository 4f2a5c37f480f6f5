#include "conn.h"

#include "entries.h"
#include "kmsg.h"
#include "sys.h"
#include "text.h"
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PAGE 4096
#define SERIAL_SLOT 0
#define BACKLOG 8
#define DISCARD_MAX 1024 /* reads; more than the port holds */

static struct conn conns[CONNS_MAX] = {[0 ... CONNS_MAX - 1] = {.fd = -1}};
static uint8_t rx_buffers[CONNS_MAX][FRAME_MAX] __attribute__((aligned(4096)));
static uint8_t tx_buffers[CONNS_MAX][CONN_TX_SIZE] __attribute__((aligned(4096)));
static int listener = -1;
static bool listener_is_vsock;
static uint32_t allowed_peer = VMADDR_CID_HOST;
static uint64_t hello_ns = CONN_HELLO_MS * NS_PER_MS;
static uint64_t frame_ns = CONN_FRAME_MS * NS_PER_MS;

struct conn *conn_at(unsigned index)
{
    return &conns[index];
}

static unsigned slot_of(const struct conn *c)
{
    return (unsigned)(c - conns);
}

static struct watch token_of(const struct conn *c)
{
    return (struct watch){.kind = WATCH_CONN, .slot = (uint8_t)slot_of(c), .generation = c->generation};
}

void conn_set_deadlines(uint32_t hello_ms, uint32_t frame_ms)
{
    if (hello_ms)
        hello_ns = hello_ms * NS_PER_MS;
    if (frame_ms)
        frame_ns = frame_ms * NS_PER_MS;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Forgets everything but the file descriptor. */
static void reset(struct conn *c)
{
    unsigned slot = slot_of(c);

    *c = (struct conn){.kind = c->kind, .fd = c->fd, .generation = c->generation, .events = c->events};
    c->tx = tx_buffers[slot];
    frame_reader_init(&c->rx, rx_buffers[slot], FRAME_MAX);
}

static int open_slot(struct conn *c, enum conn_kind kind, int fd)
{
    c->kind = kind;
    c->fd = fd;
    c->generation++;
    c->events = EPOLLIN;
    reset(c);
    return watch_add(fd, EPOLLIN, token_of(c));
}

/* The device in /dev of the port that has our name; see Documentation/ABI/testing/sysfs-class (virtio-ports).
 */
static int find_port(char *path, size_t size)
{
    int dir = open("/sys/class/virtio-ports", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct entries entries;
    const struct sys_dirent *e;
    int r = -ENODEV;

    if (dir < 0)
        return access("/sys/class", F_OK) == 0 ? -ENODEV : -ENOENT;
    entries_start(&entries, dir);
    while (r == -ENODEV && (e = entries_next(&entries))) {
        char file[300], name[64];
        text_join(file, sizeof(file), e->name, "/name", NULL);
        if (sys_read_text(dir, file, name, sizeof(name)) > 0 && strcmp(name, PROTO_SERIAL_NAME "\n") == 0)
            r = text_join(path, size, "/dev/", e->name, NULL);
    }
    close(dir);
    return r;
}

int conn_open_serial(void)
{
    char path[300];
    int r = find_port(path, sizeof(path));

    if (r < 0)
        return r;
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    return open_slot(&conns[SERIAL_SLOT], CONN_SERIAL, fd);
}

static int listen_on(int family, const void *address, socklen_t size)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    int r = bind(fd, address, size) < 0 || listen(fd, BACKLOG) < 0 ? -errno : 0;
    if (r == 0)
        r = watch_add(fd, EPOLLIN, (struct watch){.kind = WATCH_LISTENER});
    if (r < 0)
        close(fd);
    else
        listener = fd;
    return r;
}

void conn_allow_peer(uint32_t peer)
{
    allowed_peer = peer;
}

int conn_listen_vsock(void)
{
    struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = PROTO_PORT};

    listener_is_vsock = true;
    return listen_on(AF_VSOCK, &address, sizeof(address));
}

int conn_listen_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int r = text_join(address.sun_path, sizeof(address.sun_path), path, NULL);

    unlink(path);
    return r < 0 ? r : listen_on(AF_UNIX, &address, sizeof(address));
}

/* A slot for a new socket: a free one, or that of the oldest stranger (no HELLO yet, so it has no streams).
 */
static struct conn *take_slot(void)
{
    struct conn *oldest = NULL;

    for (unsigned i = 0; i < CONNS_MAX; i++) {
        struct conn *c = &conns[i];
        if (i == SERIAL_SLOT)
            continue;
        if (c->kind == CONN_FREE)
            return c;
        if (!c->greeted && (!oldest || c->deadline < oldest->deadline))
            oldest = c;
    }
    if (oldest)
        conn_close(oldest);
    return oldest;
}

void conn_accept(uint64_t now)
{
    struct sockaddr_vm peer = {0};
    socklen_t size = sizeof(peer);
    int fd = accept4(listener, listener_is_vsock ? (struct sockaddr *)&peer : NULL,
                     listener_is_vsock ? &size : NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    struct conn *c = !listener_is_vsock || peer.svm_cid == allowed_peer ? take_slot() : NULL;
    if (!c) {
        close(fd);
        return;
    }
    if (open_slot(c, CONN_SOCKET, fd) < 0)
        c->dead = true;
    c->deadline = now + hello_ns;
}

void conn_greet(struct conn *c)
{
    c->greeted = true;
    c->deadline = 0;
    c->gone_count = 0;
}

/* Large frames have touched many pages; what is zero again after this needs no memory. */
static void give_back_buffers(struct conn *c)
{
    unsigned slot = slot_of(c);

    sys_give_back(rx_buffers[slot], sizeof(rx_buffers[slot]));
    sys_give_back(tx_buffers[slot], sizeof(tx_buffers[slot]));
    c->large = false;
    c->trim_at = 0;
}

void conn_close(struct conn *c)
{
    give_back_buffers(c);
    if (c->kind == CONN_SOCKET) {
        sys_close(&c->fd);
        c->kind = CONN_FREE;
        reset(c);
        return;
    }
    bool hung = c->hung;
    reset(c);
    c->hung = hung;
}

/* ---- receiving ------------------------------------------------------------------------------- */

static void lose(struct conn *c)
{
    c->dead = true;
    c->hung = c->kind == CONN_SERIAL;
}

static void receive(struct conn *c)
{
    size_t room;
    uint8_t *at = frame_reader_space(&c->rx, &room);
    ssize_t n = read(c->fd, at, room);

    if (n > 0) {
        frame_reader_added(&c->rx, (size_t)n);
        c->large = c->large || c->rx.end > PAGE;
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        lose(c);
    }
    if (c->broken)
        frame_reader_reset(&c->rx);
}

/* What the host had sent before it closed its end is still there, and would be taken for the beginning of the next
 * connection. */
static void discard_port(const struct conn *c)
{
    uint8_t unread[1024];

    for (int i = 0; i < DISCARD_MAX && read(c->fd, unread, sizeof(unread)) > 0; i++) {
    }
}

void conn_on_event(struct conn *c, uint32_t events)
{
    if (c->kind == CONN_FREE || c->dead)
        return;
    if (c->kind == CONN_SERIAL && (events & EPOLLHUP)) {
        /* The host closed its end. Said once: a hung port is watched for changes only (see
         * conn_update_events). */
        if (!c->hung) {
            discard_port(c);
            lose(c);
        }
        return;
    }
    c->hung = false;
    if (events & EPOLLIN)
        receive(c);
    else if (events & (EPOLLHUP | EPOLLERR))
        lose(c);
}

/* ---- sending --------------------------------------------------------------------------------- */

size_t conn_room(const struct conn *c)
{
    return CONN_TX_SIZE - (c->tx_end - c->tx_start);
}

size_t conn_stream_room(const struct conn *c)
{
    size_t room = conn_room(c);

    return room > CONN_ANSWER_MAX && !c->broken ? room - CONN_ANSWER_MAX : 0;
}

bool conn_can_answer(const struct conn *c)
{
    return !c->broken && !c->dead && conn_room(c) >= CONN_ANSWER_MAX;
}

uint8_t *conn_build(struct conn *c, size_t *ret_room)
{
    if (c->tx_start > 0) {
        memmove(c->tx, c->tx + c->tx_start, c->tx_end - c->tx_start);
        c->tx_end -= c->tx_start;
        c->tx_start = 0;
    }
    *ret_room = CONN_TX_SIZE - c->tx_end;
    return c->tx + c->tx_end;
}

void conn_built(struct conn *c, size_t size)
{
    c->tx_end += size;
    c->large = c->large || c->tx_end > PAGE;
}

void conn_send_error(struct conn *c, uint32_t stream, uint16_t request, uint16_t code, int os_errno,
                     const char *text)
{
    struct msg_error m = {
        .request = request,
        .code = code,
        .os_errno = (uint32_t)(os_errno < 0 ? -os_errno : os_errno),
        .text = text,
    };

    CONN_SEND(c, error, stream, &m);
}

bool conn_idle(const struct conn *c)
{
    return c->tx_start == c->tx_end && !c->broken && !c->dead && !c->hung;
}

/* DATA's last field is its only one of no fixed size, so the head is that of an empty one with other lengths. */
static void put_data_head(uint8_t *head, uint32_t stream, const struct msg_data *m)
{
    struct msg_data empty = {.channel = m->channel, .offset = m->offset};
    struct wire_writer size = wire_writer_of(head + CONN_DATA_HEAD - sizeof(uint32_t), sizeof(uint32_t));

    msg_data_frame(&empty, stream, head, CONN_DATA_HEAD);
    frame_put_header(head, MSG_DATA, stream, CONN_DATA_HEAD - FRAME_HEADER_SIZE + m->data.size);
    wire_put_u32(&size, m->data.size);
}

uint8_t *conn_data_space(struct conn *c, size_t *ret_room)
{
    uint8_t *at = conn_build(c, ret_room);

    *ret_room = conn_stream_room(c) - CONN_DATA_HEAD;
    return at + CONN_DATA_HEAD;
}

void conn_send_data(struct conn *c, uint32_t stream, const struct msg_data *m)
{
    put_data_head(c->tx + c->tx_end, stream, m);
    conn_built(c, CONN_DATA_HEAD + m->data.size);
}

void conn_send_in_place(struct conn *c, uint32_t stream, const struct msg_data *m)
{
    /* One write(2) and no copy: the head takes the place of what is before the data for as long as that lasts. */
    uint8_t *frame = (uint8_t *)(uintptr_t)m->data.data - CONN_DATA_HEAD, kept[CONN_DATA_HEAD];
    size_t size = CONN_DATA_HEAD + m->data.size;

    memcpy(kept, frame, sizeof(kept));
    put_data_head(frame, stream, m);
    ssize_t n = write(c->fd, frame, size);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        lose(c);
    size_t sent = n > 0 ? (size_t)n : 0;
    memcpy(c->tx, frame + sent, size - sent);
    c->tx_start = c->tx_end = 0;
    conn_built(c, size - sent);
    memcpy(frame, kept, sizeof(kept));
}

void conn_break(struct conn *c, uint32_t stream, uint16_t request, uint16_t code, const char *text)
{
    if (c->broken)
        return;
    conn_send_error(c, stream, request, code, 0, text);
    frame_reader_reset(&c->rx);
    c->broken = true;
    c->half_since = 0;
    c->deadline = c->kind == CONN_SOCKET ? sys_now() + CONN_CLOSE_MS * NS_PER_MS : 0;
}

void conn_send_gone(struct conn *c, uint32_t stream)
{
    conn_send_error(c, stream, 0, PROTO_ERR_GONE, 0, "the job was taken over by an ATTACH");
}

void conn_note_gone(struct conn *c, uint32_t stream)
{
    if (c->gone_count < CONN_GONE_MAX)
        c->gone[c->gone_count++] = stream;
    else
        c->dead = true; /* It takes no answers, so it cannot be told. */
    c->again = true;
}

static void tell_gone(struct conn *c)
{
    while (c->gone_count > 0 && conn_stream_room(c) > 0)
        conn_send_gone(c, c->gone[--c->gone_count]);
}

bool conn_flush(struct conn *c)
{
    tell_gone(c);
    while (c->tx_start < c->tx_end && !c->dead && !c->hung) {
        ssize_t n = write(c->fd, c->tx + c->tx_start, c->tx_end - c->tx_start);
        if (n < 0 && errno == EAGAIN)
            return false;
        if (n < 0 && errno != EINTR)
            lose(c);
        if (n > 0)
            c->tx_start += (size_t)n;
    }
    if (c->dead)
        return true; /* it is still there: not sent */
    c->tx_start = c->tx_end = 0;
    if (c->broken && !c->shut && c->kind == CONN_SOCKET) {
        /* close(2) now could throw away what the host has not read yet. */
        shutdown(c->fd, SHUT_WR);
        c->shut = true;
    }
    return true;
}

/* ---- waiting --------------------------------------------------------------------------------- */

void conn_update_events(struct conn *c, uint64_t now)
{
    bool takes = conn_can_answer(c) && !c->waiting && !c->again;
    uint32_t events = 0;

    if (takes || c->broken)
        events |= EPOLLIN;
    if (c->tx_start < c->tx_end)
        events |= EPOLLOUT;
    if (c->hung)
        events = EPOLLIN | EPOLLET; /* the hang-up lasts; only its end is news */
    if (!takes || frame_reader_pending(&c->rx) == 0)
        c->half_since = 0;
    else if (c->half_since == 0)
        c->half_since = now;
    if (c->large && !c->trim_at)
        c->trim_at = now + CONN_IDLE_MS * NS_PER_MS;
    if (events != c->events && watch_change(c->fd, events, token_of(c)) == 0)
        c->events = events;
}

uint64_t conn_next_deadline(const struct conn *c)
{
    if (c->kind == CONN_FREE)
        return 0;
    return sys_earlier(sys_earlier(c->deadline, c->trim_at), c->half_since ? c->half_since + frame_ns : 0);
}

void conn_check_deadline(struct conn *c, uint64_t now)
{
    if (c->kind == CONN_FREE)
        return;
    if (c->trim_at && now >= c->trim_at) {
        if (frame_reader_pending(&c->rx) == 0 && c->tx_start == c->tx_end) {
            frame_reader_reset(&c->rx);
            give_back_buffers(c);
        } else {
            c->trim_at = now + CONN_IDLE_MS * NS_PER_MS;
        }
    }
    if (c->deadline && now >= c->deadline)
        c->dead = true;
    else if (c->half_since && now >= c->half_since + frame_ns)
        conn_break(c, 0, 0, PROTO_ERR_MALFORMED, "a frame did not get complete in time");
}
