/* links: initd */
/*
 * Hosts, jobs and time against initd's whole loop. The input is a script: a byte that chooses the machine, and for how
 * many turns it is not set up, then steps, each an opcode (its highest bit: initd gets no turn before the next one) and what that takes.
 *
 * After the script everything that can end does, and the hosts read on: whoever still waits then has found
 * initd stuck. What initd_stubs.h lists is left out: boot, the forked child up to execve(2), the kernel's
 * cgroups, real terminals and FIFOs (socket pairs here) and real files (memfds with next to no semantics).
 */
#include "initd_stubs.h"

#include "../../initd/conn.h"
#include "../../initd/fault.h"
#include "../../initd/file.h"
#include "../../initd/handlers.h"
#include "../../initd/helper.h"
#include "../../initd/job.h"
#include "../../initd/limits.h"
#include "../../initd/loop.h"
#include "../../initd/snapshot.h"
#include "../../initd/strings.h"
#include "../../initd/sys.h"
#include "../../initd/terminal.h"
#include "../../initd/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOSTS 6
#define STREAMS 16 /* ids below are followed */
#define STEPS_MAX 400
#define SETTLE_NS (60 * NS_PER_S)
/* Beside what is asked for: in each of the two phases without a script initd looks how much memory is left. */
#define TURNS_MAX (6000 + 2 * SETTLE_NS / (MEMORY_LOOK_MIN_MS * NS_PER_MS))
#define UNLIMITED UINT64_MAX
#define PING_TOKEN 0x6c6c697473756f79

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "fuzz_initd: %s:%d: %s\n", __FILE__, __LINE__, #condition);                      \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* What a host knows of a stream; more than one request may have been sent on it. */
struct stream {
    unsigned requests, on_stream; /* sent: those that are answered; DATA, END and WINDOW */
    unsigned finals, infos;       /* received */
    bool attached;
    uint32_t pid; /* of the last STARTED; 0: content is not known */
    uint64_t limit[2];
    uint64_t next[2]; /* offset of the next DATA; UNLIMITED: any */
};

struct host {
    int fd;       /* -1: none */
    int guest_fd; /* the other end, when it was made */
    bool serial, greeted, broken, ponged;
    struct frame_reader rx, sent; /* what comes, and what went, to know it as initd does */
    bool sent_broken;
    uint8_t *out;
    size_t out_size, out_capacity;
    struct stream streams[STREAMS];
};

/* Made global by the build, for this. */
extern bool is_set_up, shutdown_asked, quiesced, quiescing, awaits_root, root_awaited, is_sealed;
extern struct fault set_up_fault;
extern const void *id_place;
extern uint32_t next_id;
extern uint64_t finished_seq;

static struct host hosts[HOSTS];
static uint8_t rx_buffers[HOSTS][FRAME_MAX], sent_buffers[HOSTS][FRAME_MAX];
static const uint8_t *script, *script_end;
static enum { SCRIPT, SETTLE, PING, OVER } phase;
static unsigned steps, turns;
static uint64_t settle_until;

/* ---- the input -------------------------------------------------------------------------------- */

static uint8_t take(void)
{
    return script < script_end ? *script++ : 0;
}

static uint16_t take_u16(void)
{
    uint8_t low = take();

    return (uint16_t)(low | take() << 8);
}

/* Small, round and enormous numbers. */
static uint64_t take_number(void)
{
    uint8_t b = take();

    if (b < 200)
        return b;
    if (b < 240)
        return (1ull << (b - 200)) + take();
    return UINT64_MAX - (b - 240);
}

static const uint8_t *take_bytes(size_t *size)
{
    const uint8_t *at = script;

    if (*size > (size_t)(script_end - script))
        *size = (size_t)(script_end - script);
    script += *size;
    return at;
}

/* ---- what a host sends ------------------------------------------------------------------------ */

static uint64_t plus(uint64_t a, uint64_t b)
{
    return a + b < a ? UINT64_MAX : a + b;
}

static void grant(struct stream *s, unsigned i, uint64_t limit)
{
    if (limit > s->limit[i])
        s->limit[i] = limit;
}

static void grant_both(struct stream *s, uint64_t first, uint64_t second)
{
    grant(s, 0, first);
    grant(s, 1, second);
}

/* Takes in what a frame that goes out permits. */
static void note_sent(struct host *h, const struct frame *f)
{
    struct stream *s = f->stream < STREAMS ? &h->streams[f->stream] : NULL;
    struct msg_window w;
    struct msg_exec exec;
    struct msg_attach attach;
    struct msg_feed feed;
    struct msg_read_file file;

    if (!s)
        return;
    if (f->type == MSG_DATA || f->type == MSG_END || f->type == MSG_WINDOW || f->type == MSG_STRINGS)
        s->on_stream++;
    else
        s->requests++;
    if (f->type == MSG_WINDOW && msg_window_decode(&w, f->payload, f->length) && (w.channel - 1u) < 2)
        grant(s, w.channel - 1u, w.limit);
    if (f->type == MSG_EXEC && msg_exec_decode(&exec, f->payload, f->length))
        grant_both(s, exec.window, exec.window);
    if (f->type == MSG_ATTACH && msg_attach_decode(&attach, f->payload, f->length))
        grant_both(s, plus(attach.stdout_offset, attach.window), plus(attach.stderr_offset, attach.window));
    /* FEED grants from what an earlier ATTACH consumed. */
    if (f->type == MSG_FEED && msg_feed_decode(&feed, f->payload, f->length))
        grant_both(s, plus(feed.window, 1 << 20), plus(feed.window, 1 << 20));
    if (f->type == MSG_READ_FILE && msg_read_file_decode(&file, f->payload, f->length))
        grant(s, 0, file.window);
}

static void note_bytes(struct host *h, const uint8_t *data, size_t size)
{
    while (size > 0 && !h->sent_broken) {
        struct frame f;
        size_t room;
        uint8_t *at = frame_reader_space(&h->sent, &room);
        size_t n = size < room ? size : room;
        int r;
        memcpy(at, data, n);
        frame_reader_added(&h->sent, n);
        data += n;
        size -= n;
        while ((r = frame_reader_next(&h->sent, &f)) > 0)
            note_sent(h, &f);
        h->sent_broken = r < 0;
    }
}

static void flush(struct host *h)
{
    if (h->fd < 0 || h->out_size == 0)
        return;
    ssize_t n = send(h->fd, h->out, h->out_size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0)
        return;
    memmove(h->out, h->out + n, h->out_size - (size_t)n);
    h->out_size -= (size_t)n;
}

static void put(struct host *h, const uint8_t *data, size_t size)
{
    if (h->fd < 0 || size > h->out_capacity - h->out_size)
        return;
    note_bytes(h, data, size);
    memcpy(h->out + h->out_size, data, size);
    h->out_size += size;
    flush(h);
}

/* ---- what a host receives --------------------------------------------------------------------- */

static void check_data(struct stream *s, const struct msg_data *m)
{
    unsigned i = m->channel - 1u;

    CHECK(i < 2 && m->data.size > 0);
    CHECK(s->next[i] == UNLIMITED || m->offset == s->next[i]);
    s->next[i] = m->offset + m->data.size;
    CHECK(s->next[i] <= s->limit[i]);
    for (uint32_t n = 0; s->pid && n < m->data.size; n++)
        CHECK(m->data.data[n] == child_pattern(s->pid, m->channel, m->offset + n));
}

static void check_error(struct host *h, struct stream *s, const struct msg_error *m)
{
    bool about_stream = m->request == MSG_DATA || m->request == MSG_END || m->request == MSG_WINDOW ||
                        m->request == MSG_STRINGS;

    CHECK(m->code >= PROTO_ERR_MALFORMED && (m->code <= PROTO_ERR_TIMEOUT || set_up_fault.code));
    CHECK(strlen(m->text) > 0);
    h->broken = h->broken || m->code == PROTO_ERR_FLOW || m->code == PROTO_ERR_MALFORMED;
    if (!s)
        return;
    if (about_stream)
        CHECK(s->on_stream > 0);
    else if (m->request != 0 || m->code == PROTO_ERR_GONE)
        CHECK(++s->finals <= s->requests);
}

/* Messages that only say that something was answered. */
static void check_final(struct host *h, const struct frame *f, struct stream *s)
{
    if (s)
        CHECK(++s->finals <= s->requests);
    h->greeted = h->greeted || f->type == MSG_WELCOME;
}

#define DECODE(name)                                                                                         \
    struct msg_##name m;                                                                                     \
    CHECK(msg_##name##_decode(&m, f->payload, f->length))

static void check_frame(struct host *h, const struct frame *f)
{
    struct stream none = {.limit = {UNLIMITED, UNLIMITED}, .next = {UNLIMITED, UNLIMITED}};
    struct stream *s = f->stream < STREAMS ? &h->streams[f->stream] : NULL;
    struct stream *any = s ? s : &none;

    CHECK(!h->broken); /* that ERROR was the last */
    switch (f->type) {
    case MSG_DATA: {
        DECODE(data);
        check_data(any, &m);
        break;
    }
    case MSG_END: {
        DECODE(end);
        CHECK(m.channel == 1 || m.channel == 2);
        CHECK(any->next[m.channel - 1] == UNLIMITED || m.offset == any->next[m.channel - 1]);
        break;
    }
    case MSG_WINDOW: {
        DECODE(window);
        CHECK(m.channel == 0 && m.consumed <= m.limit);
        break;
    }
    case MSG_STARTED: {
        DECODE(started);
        CHECK(m.pid >= FIRST_CHILD && m.pid < FIRST_HELPER && m.stdin_offset <= m.stdin_limit);
        any->pid = m.pid;
        any->next[0] = any->next[1] = UNLIMITED;
        break;
    }
    case MSG_FILE_INFO: {
        DECODE(file_info);
        CHECK(!s || ++s->infos <= s->requests);
        any->pid = 0;
        any->next[0] = UNLIMITED;
        break;
    }
    case MSG_ERROR: {
        DECODE(error);
        check_error(h, s, &m);
        break;
    }
    case MSG_PONG: {
        DECODE(pong);
        h->ponged = h->ponged || m.token == PING_TOKEN;
        check_final(h, f, s);
        break;
    }
#define ANSWER(NAME, name)                                                                                   \
    case MSG_##NAME: {                                                                                       \
        DECODE(name);                                                                                        \
        (void)m;                                                                                             \
        check_final(h, f, s);                                                                                \
        break;                                                                                               \
    }
        ANSWER(WELCOME, welcome)
        ANSWER(OK, ok)
        ANSWER(EXIT, exit)
        ANSWER(JOB_LIST, job_list)
        ANSWER(JOB_INFO, job_info)
        ANSWER(DISK_INFO, disk_info)
        ANSWER(LISTING, listing)
        ANSWER(RESUMED, resumed)
        ANSWER(USAGE, usage)
        ANSWER(CHANGED, changed)
    default:
        CHECK(msg_name(0) != NULL); /* no message of the guest */
    }
}

static void host_close(struct host *h)
{
    if (h->fd >= 0)
        close(h->fd);
    h->fd = -1;
}

/* Reads at most size bytes. */
static void drain(struct host *h, size_t size)
{
    while (h->fd >= 0 && size > 0) {
        struct frame f;
        size_t room;
        int r;
        uint8_t *at = frame_reader_space(&h->rx, &room);
        ssize_t n = recv(h->fd, at, room < size ? room : size, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            /* Half a frame may be left: who does not read is cut off in the end. */
            host_close(h);
            return;
        }
        frame_reader_added(&h->rx, (size_t)n);
        size -= (size_t)n;
        while ((r = frame_reader_next(&h->rx, &f)) > 0)
            check_frame(h, &f);
        CHECK(r == 0);
    }
}

/* ---- connections ------------------------------------------------------------------------------ */

static void host_init(struct host *h, int fd)
{
    unsigned i = (unsigned)(h - hosts);
    uint8_t *out = h->out ? h->out : malloc(1 << 18);

    CHECK(out);
    *h = (struct host){.fd = fd, .out = out, .out_capacity = 1 << 18};
    frame_reader_init(&h->rx, rx_buffers[i], FRAME_MAX);
    frame_reader_init(&h->sent, sent_buffers[i], FRAME_MAX);
    for (unsigned n = 0; n < STREAMS; n++)
        h->streams[n].next[0] = h->streams[n].next[1] = UNLIMITED;
}

/* Returns initd's end, or -1. The buffers are small, so that they fill. */
static int host_open(struct host *h)
{
    const int small = 4096;
    int pair[2];

    if (h->fd >= 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -1;
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    host_init(h, pair[0]);
    h->guest_fd = pair[1];
    return pair[1];
}

static void connect_host(struct host *h)
{
    int fd = stub_offered() || h == &hosts[0] ? -1 : host_open(h);

    if (fd >= 0)
        stub_offer(fd);
}

/* hosts[0] is at the serial port, which initd has open all the time; who opens it again is a new host. */
static void connect_serial(struct host *h, int epoll)
{
    struct conn *c = conn_at(0);
    int fd = c->kind == CONN_FREE || c->hung ? host_open(h) : -1;
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)c->generation << 32 | WATCH_CONN};

    if (fd < 0)
        return;
    h->serial = true;
    if (c->kind == CONN_FREE) {
        c->kind = CONN_SERIAL;
        c->fd = fd;
        c->generation++;
        c->hung = false;
        conn_close(c);
        e.data.u64 = (uint64_t)c->generation << 32 | WATCH_CONN;
    } else {
        CHECK(dup2(fd, c->fd) == c->fd);
        close(fd);
        e.events = c->events;
    }
    c->events = e.events;
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e) == 0);
}

/* ---- requests --------------------------------------------------------------------------------- */

static uint8_t frame[FRAME_MAX];

#define PUT(name, ...)                                                                                       \
    put(h, frame, msg_##name##_frame(&(struct msg_##name){__VA_ARGS__}, stream, frame, sizeof(frame)))

#define WORDS(s) ((struct wire_strs){.data = (s), .size = sizeof(s)})

static const char *take_path(void)
{
    static const char *const paths[] = {"/a", "/b", "/x/c", "/d", "e", "", "/f", "/d/g"};

    return paths[take() % 8];
}

static void put_job(struct host *h, uint32_t stream, uint8_t kind)
{
    switch (kind % 4) {
    case 0:
        PUT(exec, .argv = WORDS("/bin/x"), .cwd = "/", .flags = take(), .wall_ms = (uint32_t)take_number(),
            .cpu_ms = (uint32_t)take_number(), .output = take_number(), .window = take_number());
        break;
    case 1:
        PUT(prime, .argv = WORDS("/bin/x"), .cwd = "/", .script = take_path(), .uid = take(),
            .settle_ms = (uint32_t)take_number());
        break;
    case 2:
        PUT(feed, .job = take(), .source = take_path(), .flags = take(), .wall_ms = (uint32_t)take_number(),
            .cpu_ms = (uint32_t)take_number(), .output = take_number(), .window = take_number(),
            .files = take());
        break;
    default:
        PUT(attach, .job = take(), .stdout_offset = take_number(), .stderr_offset = take_number(),
            .window = take_number());
    }
}

static void put_on_stream(struct host *h, uint32_t stream, uint8_t kind)
{
    static uint8_t zeros[65000];
    uint64_t offset = take_number();
    size_t size = take_u16();

    switch (kind % 4) {
    case 0:
        PUT(data, .offset = offset, .channel = 0, .data = {.data = zeros, .size = size % sizeof(zeros)});
        break;
    case 1:
        PUT(end, .offset = offset);
        break;
    default:
        PUT(window, .channel = kind % 4 - 1, .consumed = offset, .limit = plus(offset, size));
    }
}

/* One entry of any kind, cut anywhere; its content, or the next one, is what DATA brings. */
static void put_tree(struct host *h, uint32_t stream, const char *path, uint32_t mode)
{
    static const char *const names[] = {"f", "d/f", "d/e/f", "../f", "", "d//f", "d/..", "/f"};
    uint8_t entry[64];
    struct wire_writer w = wire_writer_of(entry, sizeof(entry));

    wire_put_u32(&w, mode);
    wire_put_u32(&w, take());
    wire_put_u32(&w, 0);
    wire_put_u64(&w, take_number());
    wire_put_u64(&w, take_number());
    wire_put_str(&w, names[take() % 8]);
    size_t size = take();
    if (size > (size_t)(w.pos - entry))
        size = (size_t)(w.pos - entry);
    PUT(unpack, .path = path, .uid = take(), .size = take_number(), .data = {entry, (uint32_t)size});
}

static void put_file(struct host *h, uint32_t stream, uint8_t kind)
{
    static const uint8_t zeros[60000];
    static const uint32_t modes[] = {S_IFREG | 0644, S_IFDIR | 0755, S_IFLNK, 0};
    const char *path = take_path();
    uint32_t mode = modes[kind / 8 % 4];

    switch (kind % 8) {
    case 0:
        PUT(write_file, .path = path, .mode = mode, .flags = take(), .uid = take(), .offset = take_number(),
            .size = take_number(), .data = {.data = zeros, .size = take_u16() % sizeof(zeros)});
        break;
    case 1:
        PUT(read_file, .path = path, .offset = take_number(), .length = take_number(),
            .window = take_number());
        break;
    case 2:
        PUT(stat, .path = path, .flags = take());
        break;
    case 3:
        PUT(list, .path = path, .cursor = take_number());
        break;
    case 4:
        PUT(remove, .path = path, .flags = take());
        break;
    case 5:
        PUT(mount, .source = "x", .target = path, .fstype = "tmpfs", .options = "");
        break;
    case 6:
        put_tree(h, stream, path, mode);
        break;
    default:
        PUT(unmount, .target = path);
    }
}

static void put_strings(struct host *h, uint32_t stream)
{
    static const uint8_t words[40000] = "/bin/x";

    PUT(strings, .argv_size = (uint32_t)take_number(), .env_size = (uint32_t)take_number(),
        .offset = (uint32_t)take_number(), .data = {.data = words, .size = take_u16() % sizeof(words)});
}

static void put_about_job(struct host *h, uint32_t stream, uint8_t kind)
{
    uint8_t job = kind / 4;

    if (kind % 4 == 1)
        PUT(job, .job = job);
    else if (kind % 4 == 2)
        PUT(kill_job, .job = job);
    else if (kind % 4 == 3)
        PUT(disk, .path = job % 2 ? "/" : "nowhere");
    else
        PUT(release, .job = job);
}

static void put_root(struct host *h, uint32_t stream, uint8_t kind)
{
    static const struct wire_strs layers[] = {
        WORDS("erofs:vdc"),
        WORDS("erofs:vdc\0ext4:vdd"),
        WORDS("erofs:x"),
        WORDS("erofs:"),
        WORDS("ext4:a/b"),
        WORDS("ext4:a\0ext4:b\0ext4:c\0ext4:d\0ext4:e\0ext4:f\0ext4:g\0ext4:h\0ext4:i"),
        {0},
        WORDS("erofs:a-name-of-thirty-two-characters."),
    };
    static const char *const uppers[] = {"", "vdb", "x", "/vdb"};

    if (kind % 4 == 0)
        PUT(seal, .fold = kind / 4);
    else if (kind % 4 == 1)
        put(h, frame, msg_changes_frame(&(struct msg_changes){}, stream, frame, sizeof(frame)));
    else
        PUT(root, .layers = layers[kind / 4 % 8], .upper = uppers[kind / 32 % 4]);
}

static void put_other(struct host *h, uint32_t stream, uint8_t kind)
{
    static const uint8_t entropy[PROTO_ENTROPY_MAX + 1];

    switch (kind % 15) {
    case 0:
        PUT(hello, .magic = PROTO_MAGIC, .version_min = 1, .version_max = 1);
        break;
    case 1:
        PUT(ping, .token = take());
        break;
    case 2:
        PUT(resize, .rows = take());
        break;
    case 3:
        PUT(signal, .signal = take(), .scope = take());
        break;
    case 4:
        put(h, frame, msg_kill_frame(&(struct msg_kill){}, stream, frame, sizeof(frame)));
        break;
    case 5:
        put_about_job(h, stream, take());
        break;
    case 6:
        put(h, frame, msg_jobs_frame(&(struct msg_jobs){}, stream, frame, sizeof(frame)));
        break;
    case 7:
        put(h, frame, msg_quiesce_frame(&(struct msg_quiesce){}, stream, frame, sizeof(frame)));
        break;
    case 8:
        PUT(resume, .entropy = {.data = entropy, .size = take_u16() % sizeof(entropy)}, .hostname = "x");
        break;
    case 9:
        put(h, frame, msg_stats_frame(&(struct msg_stats){}, stream, frame, sizeof(frame)));
        break;
    case 10:
        for (unsigned n = take(); n > 0; n--)
            PUT(ping, .token = n);
        break;
    case 11:
        put_strings(h, stream);
        break;
    case 12: /* of which STRINGS came before, or not */
        PUT(exec, .cwd = "/", .window = take_number());
        break;
    case 13:
        PUT(shutdown, .action = take());
        break;
    default:
        put_root(h, stream, take());
    }
}

/* ---- steps ------------------------------------------------------------------------------------ */

static void step_child(uint8_t kind)
{
    uint8_t which = take();
    struct child *c = &stub_children[which % CHILDREN_MAX];

    if (!c->pid)
        return;
    switch (kind % 8) {
    case 0:
        child_exec(c, 0);
        break;
    case 1:
        child_exec(c, take());
        break;
    case 2:
        child_write(c, 1, take_u16());
        break;
    case 3:
        child_write(c, 2, take_u16());
        break;
    case 4:
        child_read(c, take_u16());
        break;
    case 5:
        child_close(c, take() % 3);
        break;
    case 6:
        child_exit(c, take() << 8, true);
        break;
    default:
        child_exit(c, take(), false); /* by a signal, mostly */
    }
}

static void step_time(int timeout_ms)
{
    uint8_t b = take();

    if (b == 0)
        stub_now += timeout_ms > 0 ? (uint64_t)timeout_ms * NS_PER_MS : 0;
    else
        stub_now += b * (b < 128 ? NS_PER_MS : 100 * NS_PER_MS);
}

/* Bytes as they come: 0: as they are, 1: as the payload of a frame. */
static void step_raw(struct host *h, bool framed)
{
    uint8_t header[FRAME_HEADER_SIZE];
    uint8_t type = framed ? take() : 0, stream = framed ? take() : 0;
    size_t size = take();
    const uint8_t *data = take_bytes(&size);

    frame_put_header(header, type, stream, (uint32_t)size);
    if (framed)
        put(h, header, sizeof(header));
    put(h, data, size);
}

static void step(uint8_t op, int epoll, int timeout_ms)
{
    uint8_t which = take();
    struct host *h = &hosts[which % HOSTS];
    uint32_t stream = which / HOSTS % STREAMS;

    switch (op % 16) {
    case 0:
        if (h == &hosts[0])
            connect_serial(h, epoll);
        else
            connect_host(h);
        PUT(hello, .magic = PROTO_MAGIC, .version_min = 1, .version_max = 1);
        break;
    case 1:
        if (h != &hosts[0])
            connect_host(h);
        break;
    case 2:
        host_close(h);
        break;
    case 3:
    case 4:
        put_job(h, stream, take());
        break;
    case 5:
        put_on_stream(h, stream, take());
        break;
    case 6:
        put_file(h, stream, take());
        break;
    case 7:
        put_other(h, stream, take());
        break;
    case 8:
    case 9:
    case 10:
        step_child(which);
        break;
    case 11:
        step_time(timeout_ms);
        break;
    case 12:
        drain(h, (size_t)take() * take());
        flush(h);
        break;
    case 13:
        helper_exit(which);
        fifo_drain();
        break;
    default:
        step_raw(h, op & 1);
    }
}

/* ---- the end: all that can go on does --------------------------------------------------------- */

static bool healthy(const struct host *h, const struct conn *c)
{
    return h->fd >= 0 && h->greeted && !h->broken && !h->sent_broken && frame_reader_pending(&h->sent) == 0 &&
           !c->broken && !c->dead && c->kind != CONN_FREE;
}

/* The connection of a host, or NULL. */
static struct conn *conn_of(const struct host *h)
{
    for (unsigned i = 0; i < CONNS_MAX && h->fd >= 0; i++)
        if (conn_at(i)->kind != CONN_FREE && (h->serial ? i == 0 : i > 0 && conn_at(i)->fd == h->guest_fd))
            return conn_at(i);
    return NULL;
}

/* Tells that all output was taken and that any amount may come. */
static void grant_all(struct host *h, const struct conn *c)
{
    for (unsigned i = 0; i < JOBS_MAX; i++) {
        const struct job *j = job_at(i);
        uint32_t stream = j->stream;
        if (j->state == JOB_FREE || j->conn != c || h->out_size > 0)
            continue;
        for (uint8_t n = 0; n < 2; n++)
            if (j->io.out[n].limit != UNLIMITED || j->io.out[n].ring.start < j->io.out[n].sent)
                PUT(window, .channel = (uint8_t)(n + 1), .consumed = j->io.out[n].sent, .limit = UNLIMITED);
    }
}

static void settle_hosts(void)
{
    for (unsigned i = 0; i < HOSTS; i++) {
        struct host *h = &hosts[i];
        flush(h);
        drain(h, SIZE_MAX);
        const struct conn *c = conn_of(h);
        if (c && healthy(h, c))
            grant_all(h, c);
    }
}

static void end_everything(void)
{
    quiesced = quiescing = is_sealed = awaits_root = false; /* WINDOW is taken again */
    for (unsigned i = 0; i < CHILDREN_MAX; i++)
        if (stub_children[i].pid)
            child_exit(&stub_children[i], 0, false);
    while (helper_exit(0)) {
    }
    fifo_drain();
}

static void check_settled(void)
{
    for (unsigned i = 0; i < HOSTS; i++) {
        struct host *h = &hosts[i];
        const struct conn *c = conn_of(h);
        if (!c || !healthy(h, c))
            continue;
        CHECK(phase != PING || h->ponged || h->out_size > 0);
        CHECK(h->out_size == 0);
        for (unsigned n = 0; n < JOBS_MAX; n++)
            CHECK(job_at(n)->state == JOB_FREE || job_at(n)->conn != c); /* it has had its EXIT */
    }
}

static void ping_all(void)
{
    const uint32_t stream = 0;

    for (unsigned i = 0; i < HOSTS; i++) {
        struct host *h = &hosts[i];
        const struct conn *c = conn_of(h);
        if (c && healthy(h, c))
            PUT(ping, .token = PING_TOKEN);
    }
}

/* Nothing happens any more, or only timers that go on for ever. */
static void next_phase(void)
{
    settle_until = stub_now + SETTLE_NS;
    if (phase == SETTLE) {
        check_settled();
        phase = PING;
        ping_all();
    } else {
        check_settled();
        phase = OVER;
        stub_over = true;
    }
}

static int wait_settling(int epoll, struct epoll_event *events, int max, int timeout_ms)
{
    end_everything();
    settle_hosts();
    int n = epoll_wait(epoll, events, max, 0);
    if (n > 0 || phase == OVER)
        return n;
    if (timeout_ms > 0)
        stub_now += (uint64_t)timeout_ms * NS_PER_MS;
    if (timeout_ms < 0 || stub_now > settle_until)
        next_phase();
    return 0;
}

int script_step(int epoll, struct epoll_event *events, int max, int timeout_ms)
{
    uint8_t op = 0x80;

    CHECK(++turns < TURNS_MAX); /* it spins */
    while (phase == SCRIPT && (op & 0x80)) {
        if (script == script_end || ++steps > STEPS_MAX) {
            phase = SETTLE;
            settle_until = stub_now + SETTLE_NS;
            break;
        }
        op = take();
        step(op & 0x7f, epoll, timeout_ms);
    }
    if (stub_offered()) {
        events[0] = (struct epoll_event){.events = EPOLLIN, .data.u64 = WATCH_LISTENER};
        return 1;
    }
    return phase == SCRIPT ? epoll_wait(epoll, events, max, 0)
                           : wait_settling(epoll, events, max, timeout_ms);
}

/* ---- one input -------------------------------------------------------------------------------- */

static const void *id_place_at_boot;

static void forget_everything(void)
{
    for (unsigned i = 0; i < CONNS_MAX; i++) {
        struct conn *c = conn_at(i);
        if (c->kind == CONN_FREE)
            continue;
        handlers_drop_streams(c);
        c->kind = CONN_SOCKET; /* so that the serial port is closed, too */
        conn_close(c);
    }
    for (unsigned i = 0; i < JOBS_MAX; i++)
        if (job_at(i)->state != JOB_FREE)
            job_free(job_at(i));
    for (pid_t pid = FIRST_HELPER; pid < FIRST_HELPER + helper_count(); pid++)
        helper_on_child(pid, 0);
    for (unsigned i = 0; i < HOSTS; i++)
        host_close(&hosts[i]);
    CHECK(!strings_any());
    is_set_up = shutdown_asked = quiesced = quiescing = awaits_root = root_awaited = is_sealed = false;
    set_up_fault = FAULT_NONE;
    id_place = id_place_at_boot;
    snapshot_tidy(); /* a SHUTDOWN before RESUME leaves the file of the machine id open */
    stub_reset();
    next_id = 1;
    finished_seq = 0;
}

/* Of the low ones; what stays open in every input gets among them sooner or later. */
static unsigned count_fds(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < 128; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void begin(void)
{
    static bool begun;

    if (begun)
        return;
    begun = true;
    id_place_at_boot = id_place;
    signal(SIGPIPE, SIG_IGN); /* blocked, in initd */
    stub_confine();
    for (unsigned i = 0; i < HOSTS; i++)
        hosts[i].fd = -1;
    terminal_init();
    job_init();
    file_init();
    CHECK(watch_open() == 0 && loop_init() == 0);
    handlers_init(1, 2);
    forget_everything();
}

/* So many turns of the script hosts have to wait. */
static unsigned set_up_turns;

static uint64_t set_up(uint64_t now)
{
    if (is_set_up)
        return 0;
    if (phase != SCRIPT || set_up_turns-- == 0)
        handlers_set_up(NULL, 0);
    return now;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    begin();
    if (size < 1)
        return 0;
    stub_no_cgroup = data[0] & 1;
    stub_no_fork = data[0] & 2;
    stub_never_sleeps = data[0] & 4;
    set_up_turns = data[0] >> 3 & 15;
    if (data[0] & 128)
        handlers_await_root();
    script = data + 1;
    script_end = data + size;
    phase = SCRIPT;
    steps = turns = 0;
    unsigned before = count_fds();
    loop_run(set_up);
    forget_everything();
    CHECK(count_fds() == before);
    return 0;
}
