#include "look_messages.h"

#define F(type, name, doc) m->name = wire_get_##type(&r);
#define L(NAME, name, number, doc)                                                                           \
    bool look_##name##_decode(struct look_msg_##name *m, const struct frame *f)                              \
    {                                                                                                        \
        struct wire_reader r = wire_reader_of(f->payload, f->length);                                        \
        LOOK_FIELDS_##name(F) return f->type == LOOK_##NAME && f->stream == 0 && wire_reader_done(&r);       \
    }
LOOK_MESSAGES(L)
#undef L
#undef F

#define F(type, name, doc) wire_put_##type(&w, m->name);
#define L(NAME, name, number, doc)                                                                           \
    size_t look_##name##_frame(const struct look_msg_##name *m, void *out, size_t capacity)                  \
    {                                                                                                        \
        if (capacity < FRAME_HEADER_SIZE)                                                                    \
            return 0;                                                                                        \
        size_t room = capacity < FRAME_MAX ? capacity : FRAME_MAX;                                           \
        uint8_t *payload = (uint8_t *)out + FRAME_HEADER_SIZE;                                               \
        struct wire_writer w = wire_writer_of(payload, room - FRAME_HEADER_SIZE);                            \
        LOOK_FIELDS_##name(F) if (w.failed) return 0;                                                        \
        size_t size = (size_t)(w.pos - payload);                                                             \
        frame_put_header(out, LOOK_##NAME, 0, (uint32_t)size);                                               \
        return FRAME_HEADER_SIZE + size;                                                                     \
    }
LOOK_MESSAGES(L)
#undef L
#undef F
