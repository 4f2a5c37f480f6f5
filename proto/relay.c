#include "relay.h"

#include "wire.h"

#include <string.h>

enum relay_form {
    RELAY_FORM_NONE,
    RELAY_FORM_EMPTY,
    RELAY_FORM_TARGET,
    RELAY_FORM_TEXT,
    RELAY_FORM_COUNT,
    RELAY_FORM_BYTES
};

static enum relay_form form_of(uint16_t type)
{
    switch (type) {
#define R(name, number, form)                                                                                \
    case number:                                                                                             \
        return RELAY_FORM_##form;
        RELAY_MESSAGES(R)
#undef R
    default:
        return RELAY_FORM_NONE;
    }
}

static bool is_plain(const uint8_t *s, uint32_t size, uint8_t least)
{
    for (uint32_t i = 0; i < size; i++)
        if (s[i] < least || s[i] > 126)
            return false;
    return true;
}

/* The rest of what r reads. */
static bool take_rest(struct wire_reader *r, struct relay_message *m, uint32_t least, uint32_t most)
{
    m->data = r->pos;
    m->size = (uint32_t)(r->end - r->pos);
    return !r->failed && m->size >= least && m->size <= most;
}

bool relay_decode(struct relay_message *ret, const struct frame *f)
{
    struct wire_reader r = wire_reader_of(f->payload, f->length);

    *ret = (struct relay_message){.type = (enum relay_type)f->type, .stream = f->stream};
    bool of_all = f->type == RELAY_READY || f->type == RELAY_NOTE;
    if (of_all ? f->stream != 0 : f->stream == 0 || f->stream > RELAY_NUMBERS)
        return false;
    switch (form_of(f->type)) {
    case RELAY_FORM_EMPTY:
        return f->length == 0;
    case RELAY_FORM_TARGET:
        ret->port = wire_get_u16(&r);
        return take_rest(&r, ret, 1, RELAY_HOST_MAX) && is_plain(ret->data, ret->size, 33);
    case RELAY_FORM_TEXT:
        return take_rest(&r, ret, 0, RELAY_TEXT_MAX) && is_plain(ret->data, ret->size, 32);
    case RELAY_FORM_COUNT:
        ret->count = wire_get_u32(&r);
        return wire_reader_done(&r) && ret->count > 0 && ret->count <= RELAY_WINDOW;
    case RELAY_FORM_BYTES:
        return take_rest(&r, ret, 1, RELAY_DATA_MAX);
    case RELAY_FORM_NONE:
        break;
    }
    return false;
}

size_t relay_encode(const struct relay_message *m, uint8_t *out)
{
    struct wire_writer w = wire_writer_of(out + FRAME_HEADER_SIZE, RELAY_DATA_MAX);
    enum relay_form form = form_of((uint16_t)m->type);

    if (form == RELAY_FORM_TARGET)
        wire_put_u16(&w, m->port);
    if (form == RELAY_FORM_COUNT)
        wire_put_u32(&w, m->count);
    size_t size = (size_t)(w.pos - out);
    if (form != RELAY_FORM_EMPTY && form != RELAY_FORM_COUNT) {
        memcpy(w.pos, m->data, m->size);
        size += m->size;
    }
    frame_put_header(out, (uint16_t)m->type, m->stream, (uint32_t)(size - FRAME_HEADER_SIZE));
    return size;
}
