/* Trees of files, made in a guest from one stream. */
#include "guest/channel.h"
#include "guest/guest.h"

#include <string.h>

#define CHUNK 32768
#define FRAME_SIZE (CHUNK + 8192)

size_t guest_put_entry(uint8_t *out, size_t room, uint32_t mode, uint32_t uid, uint32_t gid, uint64_t size,
                       const char *path)
{
    struct wire_writer w = wire_writer_of(out, room);

    wire_put_u32(&w, mode);
    wire_put_u32(&w, uid);
    wire_put_u32(&w, gid);
    wire_put_u64(&w, 0); /* made now */
    wire_put_u64(&w, size);
    wire_put_str(&w, path);
    return (size_t)(w.pos - out);
}

static int send_part(struct guest *g, const struct guest_tree *t, uint32_t stream, uint64_t offset,
                     uint64_t limit, int64_t deadline, uint64_t *ret_sent, struct error *e)
{
    uint8_t bytes[CHUNK], out[FRAME_SIZE];
    size_t size = limit - offset < CHUNK ? (size_t)(limit - offset) : CHUNK;
    const struct msg_data d = {.channel = 0, .offset = offset, .data = {bytes, (uint32_t)size}};

    if (t->read(t->context, offset, bytes, size, e) < 0)
        return -1;
    *ret_sent = offset + size;
    return channel_send(g, out, msg_data_frame(&d, stream, out, sizeof(out)), deadline, e);
}

/* 0: there may be more; 1: it is done. */
static int take_word(struct guest *g, uint32_t stream, uint64_t *limit, int64_t deadline, struct error *e)
{
    struct msg_window w;
    struct frame f;

    if (channel_receive(g, &f, deadline, e) < 0)
        return -1;
    if (f.stream == stream && f.type == MSG_ERROR)
        return channel_refused(e, &f);
    if (f.stream == stream && f.type == MSG_OK)
        return 1;
    if (f.stream != stream || f.type != MSG_WINDOW || !msg_window_decode(&w, f.payload, f.length) ||
        w.channel != 0)
        return channel_violation(e, &f, "invalid");
    *limit = w.limit > *limit ? w.limit : *limit;
    return 0;
}

int guest_unpack(struct guest *g, const struct guest_tree *t, const char *path, uint32_t uid, uint32_t gid,
                 int64_t deadline, struct error *e)
{
    const struct msg_unpack m = {.path = path, .uid = uid, .gid = gid, .size = t->size};
    uint32_t stream = channel_new_stream(g);
    uint8_t out[8192];
    uint64_t sent = 0, limit = 0;
    int done = 0;

    if (!(g->features & PROTO_FEATURE_UNPACK))
        return error_set(e, ERROR_USAGE,
                         "this guest's initd (%s) takes no trees of files; an image with a newer initd does",
                         g->build);
    if (channel_send(g, out, msg_unpack_frame(&m, stream, out, sizeof(out)), deadline, e) < 0)
        return -1;
    while (done == 0) {
        if (sent < limit && sent < t->size) {
            if (send_part(g, t, stream, sent, limit < t->size ? limit : t->size, deadline, &sent, e) < 0)
                return -1;
        } else {
            done = take_word(g, stream, &limit, deadline, e);
        }
    }
    return done < 0 ? -1
           : sent == t->size
               ? 0
               : error_set(e, ERROR_VM_LOST, "the guest says that it is done, and has not got all");
}
