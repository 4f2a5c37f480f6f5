/* argv and env of an EXEC or PRIME that do not fit in its frame, sent before it. */
#include "guest/channel.h"

#include "base/cleanup.h"
#include "base/text.h"

#define CHUNK 32768

bool channel_strings_fit(struct wire_strs argv, struct wire_strs env)
{
    return wire_strs_count(argv) + wire_strs_count(env) <= PROTO_FRAME_STRINGS_MAX;
}

static int send_part(struct guest *g, uint32_t stream, const struct msg_strings *m, int64_t deadline,
                     struct error *e)
{
    uint8_t out[CHUNK + 64];

    return channel_send(g, out, msg_strings_frame(m, stream, out, sizeof(out)), deadline, e);
}

int channel_send_strings(struct guest *g, uint32_t stream, struct wire_strs *argv, struct wire_strs *env,
                         int64_t deadline, struct error *e)
{
    cleanup_buffer struct buffer all = {0};
    struct msg_strings m = {.argv_size = argv->size, .env_size = env->size};

    if (!(g->features & PROTO_FEATURE_STRINGS))
        return error_set(
            e, ERROR_USAGE,
            "arguments and environment of %zu bytes are too many for this guest: its initd (%s) takes one "
            "frame of %d bytes; an image with a newer initd takes more",
            (size_t)argv->size + env->size, g->build, FRAME_MAX);
    buffer_add(&all, argv->data, argv->size);
    buffer_add(&all, env->data, env->size);
    for (; m.offset < all.size; m.offset += m.data.size) {
        size_t left = all.size - m.offset;
        m.data.data = (const uint8_t *)all.data + m.offset;
        m.data.size = (uint32_t)(left < CHUNK ? left : CHUNK);
        if (send_part(g, stream, &m, deadline, e) < 0)
            return -1;
    }
    *argv = *env = (struct wire_strs){0};
    return 0;
}
