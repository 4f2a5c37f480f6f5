#include "guest/guest.h"

#include "guest/channel.h"

#define ROOT_FRAME 1024

static int expect_ok(struct guest *g, uint32_t stream, const uint8_t *out, size_t size, int64_t deadline,
                     struct error *e)
{
    struct frame f;

    return channel_send(g, out, size, deadline, e) < 0 ? -1
                                                       : channel_expect(g, stream, MSG_OK, &f, deadline, e);
}

int guest_make_root(struct guest *g, const struct buffer *layers, const char *upper, int64_t deadline,
                    struct error *e)
{
    const struct msg_root m = {.layers = {.data = layers->data, .size = (uint32_t)layers->size},
                               .upper = upper};
    uint32_t stream = channel_new_stream(g);
    uint8_t out[ROOT_FRAME];

    if (!(g->features & PROTO_FEATURE_ROOT))
        return error_set(e, ERROR_GENERAL, "the guest's initd cannot be told of its root");
    return expect_ok(g, stream, out, msg_root_frame(&m, stream, out, sizeof(out)), deadline, e);
}

int guest_root_changed(struct guest *g, bool *ret, int64_t deadline, struct error *e)
{
    uint32_t stream = channel_new_stream(g);
    struct msg_changed m;
    uint8_t out[ROOT_FRAME];
    struct frame f;

    if (channel_send(g, out, msg_changes_frame(&(struct msg_changes){}, stream, out, sizeof(out)), deadline,
                     e) < 0 ||
        channel_expect(g, stream, MSG_CHANGED, &f, deadline, e) < 0)
        return -1;
    if (!msg_changed_decode(&m, f.payload, f.length))
        return channel_violation(e, &f, "invalid");
    *ret = m.changed;
    return 0;
}

int guest_seal_root(struct guest *g, unsigned fold, int64_t deadline, struct error *e)
{
    const struct msg_seal m = {.fold = (uint8_t)fold};
    uint32_t stream = channel_new_stream(g);
    uint8_t out[ROOT_FRAME];

    return expect_ok(g, stream, out, msg_seal_frame(&m, stream, out, sizeof(out)), deadline, e);
}
