#include "messages.h"

/* Messages without fields leave the parameters of their functions unused. */
#define USE(x) ((void)(x))

#define F(type, name, doc) m->name = wire_get_##type(&r);
#define M(NAME, name, number, sender, doc)                                                                   \
    bool msg_##name##_decode(struct msg_##name *m, const void *payload, size_t length)                       \
    {                                                                                                        \
        struct wire_reader r = wire_reader_of(payload, length);                                              \
        USE(m);                                                                                              \
        PROTO_FIELDS_##name(F) return wire_reader_done(&r);                                                  \
    }
PROTO_MESSAGES(M)
#undef M
#undef F

/* Room for the header is kept at the front; it is written last, when the length is known. */
static struct wire_writer begin_frame(uint8_t *out, size_t capacity)
{
    struct wire_writer w;

    if (capacity > FRAME_MAX)
        capacity = FRAME_MAX;
    if (capacity < FRAME_HEADER_SIZE) {
        w = wire_writer_of(out, 0);
        w.failed = true;
        return w;
    }
    return wire_writer_of(out + FRAME_HEADER_SIZE, capacity - FRAME_HEADER_SIZE);
}

static size_t finish_frame(const struct wire_writer *w, uint16_t type, uint32_t stream, uint8_t *out)
{
    if (w->failed)
        return 0;
    size_t size = (size_t)(w->pos - out);
    frame_put_header(out, type, stream, (uint32_t)(size - FRAME_HEADER_SIZE));
    return size;
}

#define F(type, name, doc) wire_put_##type(&w, m->name);
#define M(NAME, name, number, sender, doc)                                                                   \
    size_t msg_##name##_frame(const struct msg_##name *m, uint32_t stream, void *out, size_t capacity)       \
    {                                                                                                        \
        struct wire_writer w = begin_frame(out, capacity);                                                   \
        USE(m);                                                                                              \
        PROTO_FIELDS_##name(F) return finish_frame(&w, MSG_##NAME, stream, out);                             \
    }
PROTO_MESSAGES(M)
#undef M
#undef F

const char *msg_name(uint16_t type)
{
    switch (type) {
#define M(NAME, name, number, sender, doc)                                                                   \
    case number:                                                                                             \
        return #NAME;
        PROTO_MESSAGES(M)
#undef M
    default:
        return NULL;
    }
}

#define V(NAME, number, doc)                                                                                 \
    case number:                                                                                             \
        return #NAME;

const char *proto_error_name(uint16_t code)
{
    switch (code) {
        PROTO_ERRORS(V)
    default:
        return "unknown";
    }
}

const char *proto_cause_name(uint8_t cause)
{
    switch (cause) {
        PROTO_CAUSES(V)
    default:
        return "unknown";
    }
}
#undef V
