#include "guest/guest.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "guest/channel.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SMALL_FRAME 1024
#define WRITE_CHUNK 32768

static size_t put_hello(uint8_t *out, size_t room)
{
    const struct msg_hello hello = {.magic = PROTO_MAGIC,
                                    .version_min = PROTO_VERSION,
                                    .version_max = PROTO_VERSION,
                                    .features = PROTO_FEATURES};

    return msg_hello_frame(&hello, 0, out, room);
}

/* Returns 0 when the host has no random numbers. */
static size_t put_resume(struct guest *g, uint8_t *out, size_t room, struct error *e)
{
    uint8_t entropy[64];
    struct msg_resume m = {.entropy = {.data = entropy, .size = sizeof(entropy)}, .hostname = ""};

    if (getrandom(entropy, sizeof(entropy), 0) != (ssize_t)sizeof(entropy) ||
        getrandom(m.instance.byte, sizeof(m.instance.byte), 0) != (ssize_t)sizeof(m.instance.byte)) {
        error_errno(e, "no random numbers on the host");
        return 0;
    }
    m.wall_clock_ns = (uint64_t)clock_realtime_ns();
    g->resume = channel_new_stream(g);
    return msg_resume_frame(&m, g->resume, out, room);
}

static int take_welcome(struct guest *g, int64_t deadline, struct error *e)
{
    struct msg_welcome w;
    struct frame f;

    do { /* a serial port may still hold what was meant for its host before this one */
        if (channel_receive(g, &f, deadline, e) < 0)
            return -1;
        if (f.type == MSG_ERROR && f.stream == 0)
            return channel_refused(e, &f);
    } while (f.type != MSG_WELCOME);
    if (!msg_welcome_decode(&w, f.payload, f.length) || w.magic != PROTO_MAGIC || w.version != PROTO_VERSION)
        return channel_violation(e, &f, "invalid");
    g->state = w.state;
    g->features = w.features;
    g->init_ns = w.init_ns;
    g->ready_ns = w.ready_ns;
    snprintf(g->build, sizeof(g->build), "%s", w.build);
    text_make_plain(g->build);
    return 0;
}

int guest_hello(struct guest *g, int64_t deadline, struct error *e)
{
    uint8_t out[SMALL_FRAME];

    return channel_send(g, out, put_hello(out, sizeof(out)), deadline, e) < 0 ? -1
                                                                              : take_welcome(g, deadline, e);
}

int guest_hello_again(struct guest *g, int64_t deadline, struct error *e)
{
    uint8_t out[2 * SMALL_FRAME];
    size_t hello = put_hello(out, SMALL_FRAME), resume = put_resume(g, out + hello, SMALL_FRAME, e);

    return resume == 0 || channel_send(g, out, hello + resume, deadline, e) < 0
               ? -1
               : take_welcome(g, deadline, e);
}

int guest_resume(struct guest *g, int64_t deadline, struct error *e)
{
    const uint16_t needed = PROTO_RESUMED_ENTROPY | PROTO_RESUMED_RESEEDED | PROTO_RESUMED_CLOCK;
    uint8_t out[SMALL_FRAME];
    struct msg_resumed r;
    struct frame f;

    if (g->resume == 0) {
        size_t size = put_resume(g, out, sizeof(out), e);
        if (size == 0 || channel_send(g, out, size, deadline, e) < 0)
            return -1;
    }
    if (channel_expect(g, g->resume, MSG_RESUMED, &f, deadline, e) < 0)
        return -1;
    g->resume = 0;
    if (!msg_resumed_decode(&r, f.payload, f.length))
        return channel_violation(e, &f, "invalid");
    if ((r.done & needed) != needed)
        return error_set(e, ERROR_VM_LOST,
                         "the guest could not be made unique after the restore (steps done: %#x)", r.done);
    return 0;
}

int guest_quiesce(struct guest *g, int64_t deadline, struct error *e)
{
    uint8_t out[SMALL_FRAME];
    struct frame f;
    uint32_t stream = channel_new_stream(g);

    if (channel_send(g, out, msg_quiesce_frame(&(struct msg_quiesce){}, stream, out, sizeof(out)), deadline,
                     e) < 0 ||
        channel_expect(g, stream, MSG_OK, &f, deadline, e) < 0)
        return -1;
    return 0;
}

/* 1: f is the PONG that is waited for. */
static int take_pong(struct guest *g, const struct frame *f, struct error *e)
{
    struct msg_pong m;

    if (g->ping == 0 || f->type != MSG_PONG || f->stream != g->ping)
        return channel_violation(e, f, "unexpected");
    if (!msg_pong_decode(&m, f->payload, f->length) || m.token != g->ping)
        return channel_violation(e, f, "invalid");
    g->ping = 0;
    return 1;
}

int guest_ping_begin(struct guest *g, struct error *e)
{
    uint32_t stream = channel_new_stream(g);
    const struct msg_ping m = {.token = stream};
    uint8_t out[64];

    /* A deadline in the past: a guest that takes nothing more does not hold the caller up. */
    if (channel_send(g, out, msg_ping_frame(&m, stream, out, sizeof(out)), 0, e) < 0)
        return -1;
    g->ping = stream;
    return 0;
}

int guest_ping_poll(struct guest *g, struct error *e)
{
    struct frame f;

    if (channel_fill(g, e) < 0)
        return -1;
    int n = channel_next(g, &f, e);
    return n <= 0 ? n : take_pong(g, &f, e);
}

int guest_ping(struct guest *g, int64_t deadline, struct error *e)
{
    struct frame f;

    if (g->ping == 0 && guest_ping_begin(g, e) < 0)
        return -1;
    return channel_receive(g, &f, deadline, e) < 0 || take_pong(g, &f, e) < 0 ? -1 : 0;
}

/* The rest of a file's content, as the guest's windows allow. */
static int send_content(struct guest *g, uint32_t stream, const uint8_t *data, size_t sent, size_t size,
                        int64_t deadline, struct error *e)
{
    uint64_t limit = sent;
    uint8_t out[WRITE_CHUNK + 64];
    struct msg_window w;
    struct frame f;

    while (sent < size) {
        while (limit <= sent) {
            if (channel_expect(g, stream, MSG_WINDOW, &f, deadline, e) < 0)
                return -1;
            if (!msg_window_decode(&w, f.payload, f.length) || w.channel != 0)
                return channel_violation(e, &f, "invalid");
            limit = w.limit > limit ? w.limit : limit;
        }
        uint64_t n = size - sent < limit - sent ? size - sent : limit - sent;
        struct msg_data d = {.channel = 0,
                             .offset = sent,
                             .data = {data + sent, (uint32_t)(n < WRITE_CHUNK ? n : WRITE_CHUNK)}};
        if (channel_send(g, out, msg_data_frame(&d, stream, out, sizeof(out)), deadline, e) < 0)
            return -1;
        sent += d.data.size;
    }
    return 0;
}

int guest_write_file(struct guest *g, const char *path, uint32_t mode, uint16_t flags, uint32_t uid,
                     uint32_t gid, const void *data, size_t size, int64_t deadline, struct error *e)
{
    uint8_t out[WRITE_CHUNK + 8192];
    uint32_t first = (uint32_t)(size < WRITE_CHUNK ? size : WRITE_CHUNK);
    struct msg_write_file m = {.path = path,
                               .mode = mode,
                               .uid = uid,
                               .gid = gid,
                               .flags = (uint16_t)(flags | PROTO_WRITE_PARENTS),
                               .size = size,
                               .data = {.data = data, .size = first}};
    struct frame f;
    uint32_t stream = channel_new_stream(g);

    if (channel_send(g, out, msg_write_file_frame(&m, stream, out, sizeof(out)), deadline, e) < 0 ||
        send_content(g, stream, data, first, size, deadline, e) < 0)
        return -1;
    do { /* late windows may come before the answer */
        if (channel_receive(g, &f, deadline, e) < 0)
            return -1;
    } while (f.type == MSG_WINDOW && f.stream == stream);
    if (f.type == MSG_ERROR && f.stream == stream)
        return channel_refused(e, &f);
    return f.type == MSG_OK && f.stream == stream ? 0 : channel_violation(e, &f, "unexpected");
}

int guest_remove(struct guest *g, const char *path, int64_t deadline, struct error *e)
{
    const struct msg_remove m = {.path = path, .flags = PROTO_REMOVE_TREE};
    uint8_t out[8192];
    struct frame f;
    uint32_t stream = channel_new_stream(g);

    return channel_send(g, out, msg_remove_frame(&m, stream, out, sizeof(out)), deadline, e) < 0 ||
                   channel_expect(g, stream, MSG_OK, &f, deadline, e) < 0
               ? -1
               : 0;
}

static int send_prime(struct guest *g, struct msg_prime m, uint32_t stream, int64_t deadline, struct error *e)
{
    cleanup_free uint8_t *out = memory_allocate(FRAME_MAX);
    size_t size = channel_strings_fit(m.argv, m.env) ? msg_prime_frame(&m, stream, out, FRAME_MAX) : 0;

    if (size == 0 && channel_send_strings(g, stream, &m.argv, &m.env, deadline, e) < 0)
        return -1;
    if (size == 0)
        size = msg_prime_frame(&m, stream, out, FRAME_MAX);
    return channel_send(g, out, size, deadline, e);
}

int guest_prime(struct guest *g, const struct msg_prime *m, uint32_t *ret_job, int64_t deadline,
                struct error *e)
{
    uint32_t stream = channel_new_stream(g);
    struct msg_started s;
    struct frame f;

    if (send_prime(g, *m, stream, deadline, e) < 0 ||
        channel_expect(g, stream, MSG_STARTED, &f, deadline, e) < 0)
        return -1;
    if (!msg_started_decode(&s, f.payload, f.length))
        return channel_violation(e, &f, "invalid");
    *ret_job = s.job;
    return 0;
}
