/* links: host */
/* What a client may send over a WebSocket: the same messages come out whether the bytes come at once or one by one. */
#include "api/websocket.h"

#include <stdlib.h>
#include <string.h>

static void check(bool fine)
{
    if (!fine)
        abort();
}

/* Adds what comes out of w to seen. False: it wants more. */
static void drain(struct websocket *w, struct buffer *seen)
{
    struct websocket_message m;
    enum websocket_event event;

    while ((event = websocket_next(w, &m)) != WEBSOCKET_MORE) {
        check(m.size <= WEBSOCKET_MESSAGE_MAX);
        check(event != WEBSOCKET_TEXT || text_utf8_prefix(m.data, m.size) == m.size);
        check(event < WEBSOCKET_CLOSE || m.size <= 125);
        buffer_add_text(seen, "%d %zu %d ", (int)event, m.size, event == WEBSOCKET_BROKEN ? w->code : 0);
        buffer_add(seen, m.data, m.size);
        check(w->ended == (event == WEBSOCKET_BROKEN || event == WEBSOCKET_CLOSE));
        if (w->ended)
            return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct websocket once = {0}, bytewise = {0};
    struct buffer first = {0}, second = {0}, out = {0};
    char accept[WEBSOCKET_ACCEPT_SIZE];

    websocket_add(&once, data, size);
    drain(&once, &first);
    for (size_t i = 0; i < size; i++) {
        websocket_add(&bytewise, data + i, 1);
        drain(&bytewise, &second);
    }
    check(first.size == second.size && (!first.size || memcmp(first.data, second.data, first.size) == 0));
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    if (websocket_accept(text, accept))
        check(strlen(accept) == WEBSOCKET_ACCEPT_SIZE - 1);
    websocket_lists(text, "upgrade");
    websocket_close_frame(&out, 1000, text);
    check(out.size >= 4 && out.size <= 127);
    free(text);
    buffer_free(&out);
    buffer_free(&first);
    buffer_free(&second);
    websocket_done(&once);
    websocket_done(&bytewise);
    return 0;
}
