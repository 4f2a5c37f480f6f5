#include "api/websocket.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* section 1.3 */
#define CONTROL_MAX 125                             /* section 5.5 */
#define KEY_SIZE 24                                 /* 16 bytes in base64 */

bool websocket_accept(const char *key, char ret[static WEBSOCKET_ACCEPT_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    struct buffer nonce = {0};
    unsigned size = 0;
    char text[KEY_SIZE + sizeof(GUID)];

    bool fine =
        key && strlen(key) == KEY_SIZE && text_base64_decode(key, KEY_SIZE, &nonce) && nonce.size == 16;
    buffer_free(&nonce);
    if (!fine)
        return false;
    memcpy(text, key, KEY_SIZE);
    memcpy(text + KEY_SIZE, GUID, sizeof(GUID));
    if (EVP_Digest(text, KEY_SIZE + sizeof(GUID) - 1, digest, &size, EVP_sha1(), NULL) != 1)
        return false;
    char *encoded = text_base64(digest, size);
    fine = strlen(encoded) < WEBSOCKET_ACCEPT_SIZE;
    if (fine)
        strcpy(ret, encoded);
    free(encoded);
    return fine;
}

bool websocket_lists(const char *header, const char *word)
{
    const size_t size = strlen(word);

    for (const char *p = header ? header : ""; *p; p += *p == ',') {
        p += strspn(p, " \t");
        size_t n = strcspn(p, ",");
        size_t end = n;
        while (end > 0 && (p[end - 1] == ' ' || p[end - 1] == '\t'))
            end--;
        if (end == size && strncasecmp(p, word, size) == 0)
            return true;
        p += n;
    }
    return false;
}

void websocket_add(struct websocket *w, const void *data, size_t size)
{
    if (w->start > 0) {
        memmove(w->in.data, w->in.data + w->start, w->in.size - w->start);
        w->in.size -= w->start;
        w->start = 0;
    }
    if (!w->ended)
        buffer_add(&w->in, data, size);
}

void websocket_done(struct websocket *w)
{
    buffer_free(&w->in);
    buffer_free(&w->message);
    buffer_free(&w->control);
    *w = (struct websocket){0};
}

/* ---- one frame ----------------------------------------------------------------------------------- */

struct head {
    bool final;
    int opcode;
    uint64_t size;
    const uint8_t *mask;
    size_t length; /* of the head itself */
};

static enum websocket_event broken(struct websocket *w, uint16_t code)
{
    w->ended = true;
    w->code = code;
    return WEBSOCKET_BROKEN;
}

/* 1: the head is whole; 0: more is needed; -1: it is not valid, and this is the code. */
static int read_head(const uint8_t *p, size_t size, struct head *ret, uint16_t *ret_code)
{
    *ret_code = WEBSOCKET_PROTOCOL;
    if (size < 2)
        return 0;
    *ret = (struct head){.final = p[0] & 0x80, .opcode = p[0] & 0x0f, .size = p[1] & 0x7f, .length = 2};
    if (p[0] & 0x70 || !(p[1] & 0x80) || (ret->opcode > 2 && ret->opcode < 8) || ret->opcode > 10)
        return -1;
    if (ret->opcode >= 8 && (!ret->final || ret->size > CONTROL_MAX))
        return -1;
    size_t more = ret->size == 126 ? 2 : ret->size == 127 ? 8 : 0;
    if (size < 2 + more)
        return 0;
    if (more) {
        ret->size = 0;
        for (size_t i = 0; i < more; i++)
            ret->size = ret->size << 8 | p[2 + i];
        if (ret->size < (more == 2 ? 126u : 65536u) || ret->size >> 63)
            return -1;
    }
    if (ret->size > WEBSOCKET_MESSAGE_MAX) {
        *ret_code = WEBSOCKET_TOO_LARGE;
        return -1;
    }
    ret->length += more + 4;
    ret->mask = p + 2 + more;
    return size >= ret->length;
}

static void add_unmasked(struct buffer *to, const struct head *h, const uint8_t *payload)
{
    size_t at = to->size;

    buffer_add(to, payload, (size_t)h->size);
    for (size_t i = 0; i < h->size; i++)
        to->data[at + i] = (char)((uint8_t)to->data[at + i] ^ h->mask[i % 4]);
}

/* Those that may be sent (section 7.4.2; 1012 to 1014 are registered with IANA). */
static bool is_code(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

static enum websocket_event take_close(struct websocket *w, struct websocket_message *ret)
{
    const uint8_t *p = (const uint8_t *)w->control.data;

    if (ret->size == 1)
        return broken(w, WEBSOCKET_PROTOCOL);
    w->code = WEBSOCKET_NO_CODE;
    if (ret->size >= 2) {
        unsigned code = (unsigned)p[0] << 8 | p[1];
        if (!is_code(code))
            return broken(w, WEBSOCKET_PROTOCOL);
        ret->data += 2;
        ret->size -= 2;
        if (text_utf8_prefix(ret->data, ret->size) != ret->size)
            return broken(w, WEBSOCKET_NOT_UTF8);
        w->code = (uint16_t)code;
    }
    w->ended = true;
    return WEBSOCKET_CLOSE;
}

static enum websocket_event take_control(struct websocket *w, const struct head *h, const uint8_t *payload,
                                         struct websocket_message *ret)
{
    w->control.size = 0;
    add_unmasked(&w->control, h, payload);
    *ret = (struct websocket_message){w->control.data ? w->control.data : "", w->control.size};
    return h->opcode == WEBSOCKET_CLOSE ? take_close(w, ret) : (enum websocket_event)h->opcode;
}

/* WEBSOCKET_MORE: a fragment, and the last one is not here yet. */
static enum websocket_event take_data(struct websocket *w, const struct head *h, const uint8_t *payload,
                                      struct websocket_message *ret)
{
    if (!h->opcode != !!w->fragments)
        return broken(w, WEBSOCKET_PROTOCOL); /* a continuation of nothing, or one message within another */
    if (w->taken)
        w->message.size = 0;
    w->taken = false;
    if (w->message.size + h->size > WEBSOCKET_MESSAGE_MAX)
        return broken(w, WEBSOCKET_TOO_LARGE);
    if (h->opcode)
        w->fragments = h->opcode;
    add_unmasked(&w->message, h, payload);
    if (!h->final)
        return WEBSOCKET_MORE;
    enum websocket_event event = (enum websocket_event)w->fragments;
    w->fragments = 0;
    w->taken = true;
    *ret = (struct websocket_message){w->message.data ? w->message.data : "", w->message.size};
    if (event == WEBSOCKET_TEXT && text_utf8_prefix(ret->data, ret->size) != ret->size)
        return broken(w, WEBSOCKET_NOT_UTF8);
    return event;
}

enum websocket_event websocket_next(struct websocket *w, struct websocket_message *ret)
{
    struct head h;
    uint16_t code;

    *ret = (struct websocket_message){"", 0};
    while (!w->ended && w->in.size > w->start) {
        const uint8_t *p = (const uint8_t *)w->in.data + w->start;
        size_t size = w->in.size - w->start;
        int whole = read_head(p, size, &h, &code);
        if (whole < 0)
            return broken(w, code);
        if (whole == 0 || size - h.length < h.size)
            return WEBSOCKET_MORE;
        w->start += h.length + (size_t)h.size;
        enum websocket_event event =
            h.opcode >= 8 ? take_control(w, &h, p + h.length, ret) : take_data(w, &h, p + h.length, ret);
        if (event != WEBSOCKET_MORE)
            return event;
    }
    return WEBSOCKET_MORE;
}

/* ---- out ----------------------------------------------------------------------------------------- */

void websocket_frame(struct buffer *out, enum websocket_event opcode, const void *data, size_t size)
{
    uint8_t head[10] = {(uint8_t)(0x80 | opcode)};
    size_t length = size < 126 ? 2 : size < 65536 ? 4 : 10;

    if (length == 2)
        head[1] = (uint8_t)size;
    else
        head[1] = length == 4 ? 126 : 127;
    for (size_t i = 2; i < length; i++)
        head[i] = (uint8_t)((uint64_t)size >> (8 * (length - 1 - i)));
    buffer_add(out, head, length);
    buffer_add(out, data, size);
}

void websocket_close_frame(struct buffer *out, uint16_t code, const char *reason)
{
    char payload[CONTROL_MAX] = {(char)(code >> 8), (char)(code & 0xff)};
    size_t size = strlen(reason);

    size = text_utf8_prefix(reason, size < CONTROL_MAX - 2 ? size : CONTROL_MAX - 2);
    memcpy(payload + 2, reason, size);
    websocket_frame(out, WEBSOCKET_CLOSE, payload, size + 2);
}
