/* links: host */
/* What a guest's relay may say: nothing breaks the host, no descriptor is lost, and what is held stays bounded. */
#include "base/cleanup.h"
#include "base/message.h"
#include "egress/egress.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define FAR_ENDS 64

static int dialer, far[FAR_ENDS];
static unsigned far_count, records;

static void on_record(void *context, const struct egress_record *r)
{
    (void)context;
    if (r->decision >= EGRESS_DECISIONS_COUNT || !memchr(r->host, 0, sizeof(r->host)) ||
        !memchr(r->text, 0, sizeof(r->text)))
        abort();
    records++;
}

/* Every third request is refused. */
static void answer(void)
{
    struct dial_request r;
    struct error e = {0};

    while (recv(dialer, &r, sizeof(r), MSG_DONTWAIT) == (ssize_t)sizeof(r)) {
        struct dial_answer a = {.serial = r.serial, .decision = EGRESS_FAILED, .text = "failed: here"};
        struct dial_request checked;
        int pair[2] = {-1, -1};
        if (!dial_check_request(&r, sizeof(r), &checked))
            abort();
        if (r.serial % 3 && far_count < FAR_ENDS &&
            socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0) {
            a.decision = EGRESS_ALLOWED;
            far[far_count++] = pair[1];
        }
        message_send(dialer, &(struct iovec){&a, sizeof(a)}, 1, pair, pair[0] >= 0, &e);
        close_fd(&pair[0]);
    }
}

/* Servers that send, read, or leave. */
static void act(uint8_t what)
{
    static char bytes[4096];
    unsigned which = what >> 2;

    if (which >= far_count || far[which] < 0)
        return;
    if ((what & 3) == 0)
        close_fd(&far[which]);
    else if ((what & 3) == 1)
        shutdown(far[which], SHUT_WR);
    else if (send(far[which], bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        recv(far[which], bytes, sizeof(bytes), MSG_DONTWAIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Pieces: their length in a byte, what a server does in another, and bytes of the relay. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error e = {0};
    int pair[2], before, after, result = 0;

    before = dup(0);
    close_fd(&before);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return 0;
    int next = dup(0);
    close(next);
    dialer = pair[1];
    far_count = records = 0;
    struct egress *x = egress_open(
        &(struct egress_options){
            .dial_fd = pair[0], .bytes_max = 100000, .connections = 100, .on_record = on_record},
        &e);
    while (size >= 2 && result == 0) {
        size_t n = data[0] < size - 2 ? data[0] : size - 2;
        act(data[1]);
        result = egress_take(x, data + 2, n, &e);
        data += 2 + n;
        size -= 2 + n;
        answer();
        if (result == 0)
            result = egress_ready(x, &e);
        if (egress_terminal(x)->typed.size > 4u << 20)
            abort();
        if (size && data[0] & 1)
            egress_terminal(x)->typed.size = 0;
    }
    egress_close(x);
    for (unsigned i = 0; i < far_count; i++)
        close_fd(&far[i]);
    close(dialer);
    after = dup(0);
    if (after != pair[0] && after > next)
        abort();
    close(after);
    return 0;
}
