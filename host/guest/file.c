/* What a guest's files are and hold. */
#include "guest/channel.h"
#include "guest/guest.h"

#include <string.h>

#define REQUEST_SIZE 8192
#define READ_WINDOW (256u << 10) /* bytes that the guest may have under way */

static int take_info(const struct frame *f, struct guest_file *ret, struct error *e)
{
    struct msg_file_info m;

    if (!msg_file_info_decode(&m, f->payload, f->length))
        return channel_violation(e, f, "invalid");
    *ret = (struct guest_file){m.mode, m.uid, m.gid, m.size, m.mtime_ns};
    return 0;
}

int guest_stat(struct guest *g, const char *path, struct guest_file *ret, int64_t deadline, struct error *e)
{
    const struct msg_stat m = {.path = path};
    uint8_t out[REQUEST_SIZE];
    struct frame f;
    uint32_t stream = channel_new_stream(g);

    if (channel_send(g, out, msg_stat_frame(&m, stream, out, sizeof(out)), deadline, e) < 0 ||
        channel_expect(g, stream, MSG_FILE_INFO, &f, deadline, e) < 0)
        return -1;
    return take_info(&f, ret, e);
}

/* One DATA frame, which is acknowledged at once; or, at the END, 1. */
static int take_content(struct guest *g, uint32_t stream, uint64_t length, uint64_t *got, struct buffer *ret,
                        int64_t deadline, struct error *e)
{
    struct msg_data d;
    struct msg_end end;
    struct frame f;
    uint8_t out[64];

    if (channel_receive(g, &f, deadline, e) < 0)
        return -1;
    if (f.stream != stream)
        return channel_violation(e, &f, "unexpected");
    if (f.type == MSG_ERROR)
        return channel_refused(e, &f);
    if (f.type == MSG_END)
        return msg_end_decode(&end, f.payload, f.length) && end.channel == 1 && end.offset == *got
                   ? 1
                   : channel_violation(e, &f, "invalid");
    if (f.type != MSG_DATA || !msg_data_decode(&d, f.payload, f.length) || d.channel != 1 ||
        d.offset != *got || d.data.size == 0 || d.data.size > length - *got)
        return channel_violation(e, &f, "invalid");
    buffer_add(ret, d.data.data, d.data.size);
    *got += d.data.size;
    const struct msg_window w = {.channel = 1, .consumed = *got, .limit = *got + READ_WINDOW};
    return channel_send(g, out, msg_window_frame(&w, stream, out, sizeof(out)), deadline, e);
}

int guest_read_file(struct guest *g, const char *path, uint64_t offset, uint64_t length,
                    struct guest_file *ret_info, struct buffer *ret, int64_t deadline, struct error *e)
{
    const struct msg_read_file m = {.path = path, .offset = offset, .length = length, .window = READ_WINDOW};
    uint8_t out[REQUEST_SIZE];
    struct frame f;
    uint32_t stream = channel_new_stream(g);
    uint64_t got = 0;
    int ended = 0;

    if (channel_send(g, out, msg_read_file_frame(&m, stream, out, sizeof(out)), deadline, e) < 0 ||
        channel_expect(g, stream, MSG_FILE_INFO, &f, deadline, e) < 0 || take_info(&f, ret_info, e) < 0)
        return -1;
    while (ended == 0)
        ended = take_content(g, stream, length, &got, ret, deadline, e);
    return ended < 0 ? -1 : 0;
}

/* 0: all entries of a page were visited; 1: the visitor has enough; -1 broken. */
static int visit_page(const struct wire_bytes *entries,
                      bool (*visit)(const char *name, const struct guest_file *file, void *context),
                      void *context)
{
    struct wire_reader r = wire_reader_of(entries->data, entries->size);

    while (!wire_reader_done(&r)) {
        struct guest_file file = {.mode = wire_get_u32(&r)};
        file.size = wire_get_u64(&r);
        file.mtime_ns = wire_get_u64(&r);
        const char *name = wire_get_str(&r);
        if (r.failed || !name[0] || strchr(name, '/'))
            return -1;
        if (!visit(name, &file, context))
            return 1;
    }
    return 0;
}

int guest_list(struct guest *g, const char *path,
               bool (*visit)(const char *name, const struct guest_file *file, void *context), void *context,
               int64_t deadline, struct error *e)
{
    struct msg_list m = {.path = path};
    uint8_t out[REQUEST_SIZE];
    struct msg_listing page;
    struct frame f;

    do {
        uint32_t stream = channel_new_stream(g);
        if (channel_send(g, out, msg_list_frame(&m, stream, out, sizeof(out)), deadline, e) < 0 ||
            channel_expect(g, stream, MSG_LISTING, &f, deadline, e) < 0)
            return -1;
        if (!msg_listing_decode(&page, f.payload, f.length))
            return channel_violation(e, &f, "invalid");
        int n = visit_page(&page.entries, visit, context);
        if (n != 0)
            return n < 0 ? channel_violation(e, &f, "invalid") : 0;
        m.cursor = page.cursor; /* pages without end come to the deadline (channel_is_over()) */
    } while (m.cursor);
    return 0;
}
