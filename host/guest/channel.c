#include "guest/channel.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

void guest_open(struct guest *g, int fd, int vmm_pidfd, const struct cancel *cancel)
{
    *g = (struct guest){.fd = fd,
                        .vmm_pidfd = vmm_pidfd,
                        .vmm_fd = -1,
                        .cancel = cancel,
                        .buffer = memory_allocate(FRAME_MAX)};
    frame_reader_init(&g->reader, g->buffer, FRAME_MAX);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

void guest_close(struct guest *g)
{
    close_fd(&g->fd);
    free(g->buffer);
    g->buffer = NULL;
}

uint32_t channel_new_stream(struct guest *g)
{
    return ++g->last_stream;
}

#define LATE_MAX 64       /* reads of at most FRAME_MAX bytes */
#define ENDING_MS 100     /* from the end of what a VMM has open to its own */
#define LATE_PAUSE_MS 100 /* for the VMM to pass on what it holds, once there is room */

int64_t channel_until(const struct guest *g, int64_t deadline)
{
    return g->late ? deadline_in_ms(LATE_PAUSE_MS) : deadline;
}

bool channel_is_over(struct guest *g, bool ready, int64_t deadline)
{
    if (deadline_passed(deadline))
        return !ready || ++g->late > LATE_MAX;
    g->late = 0;
    return false;
}

void channel_poll(const struct guest *g, short events, struct pollfd ret[static CHANNEL_POLLED])
{
    ret[0] = (struct pollfd){.fd = g->fd, .events = events};
    ret[1] = (struct pollfd){.fd = g->vmm_pidfd, .events = POLLIN};
    ret[2] = (struct pollfd){.fd = g->vmm_fd, .events = POLLIN};
}

int channel_check_vmm(const struct guest *g, const struct pollfd polled[static CHANNEL_POLLED],
                      struct error *e)
{
    if (polled[0].revents)
        return 0;
    if (polled[1].revents)
        return error_set(e, ERROR_VM_LOST, "the VMM ended unexpectedly");
    if (!polled[2].revents || !g->vmm_stopped(g->vmm_fd))
        return 0;
    struct pollfd ended = {.fd = g->vmm_pidfd, .events = POLLIN}; /* which a little later can be seen there */
    return error_set(e, ERROR_VM_LOST,
                     poll(&ended, 1, ENDING_MS) > 0 ? "the VMM ended unexpectedly"
                                                    : "the VMM cannot run the guest any further");
}

/* Waits for the connection; what becomes of the VMM counts as an event of its own. */
static int wait_channel(struct guest *g, short events, int64_t deadline, struct error *e)
{
    struct pollfd p[CHANNEL_POLLED];

    channel_poll(g, events, p);
    if (deadline_poll(p, CHANNEL_POLLED, channel_until(g, deadline), g->cancel, e) < 0)
        return -1;
    if (channel_is_over(g, p[0].revents, deadline))
        return error_set(e, ERROR_TIMEOUT, "the guest did not answer in time");
    return channel_check_vmm(g, p, e);
}

int channel_send(struct guest *g, const void *frame, size_t size, int64_t deadline, struct error *e)
{
    const uint8_t *p = frame;

    if (size == 0)
        return error_set(e, ERROR_USAGE, "the request is larger than a frame of %d bytes", FRAME_MAX);
    while (size > 0) {
        ssize_t n = send(g->fd, p, size, MSG_NOSIGNAL);
        if (n > 0) {
            p += n;
            size -= (size_t)n;
        } else if (errno == EAGAIN) {
            if (wait_channel(g, POLLOUT, deadline, e) < 0)
                return -1;
        } else if (errno != EINTR) {
            return error_set(e, ERROR_VM_LOST, "the connection to the guest was lost");
        }
    }
    return 0;
}

int channel_fill(struct guest *g, struct error *e)
{
    size_t room;
    uint8_t *space = frame_reader_space(&g->reader, &room);
    ssize_t n = recv(g->fd, space, room, 0);

    if (n > 0) {
        frame_reader_added(&g->reader, (size_t)n);
        return 0;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return error_set(e, ERROR_VM_LOST, "the connection to the guest was lost");
}

int channel_next(struct guest *g, struct frame *ret, struct error *e)
{
    int n = frame_reader_next(&g->reader, ret);

    if (n < 0)
        return error_set(e, ERROR_VM_LOST, "the guest sent an invalid frame");
    return n;
}

int channel_receive(struct guest *g, struct frame *ret, int64_t deadline, struct error *e)
{
    for (;;) {
        int n = channel_next(g, ret, e);
        if (n != 0)
            return n < 0 ? -1 : 0;
        if (wait_channel(g, POLLIN, deadline, e) < 0 || channel_fill(g, e) < 0)
            return -1;
    }
}

int channel_violation(struct error *e, const struct frame *f, const char *what)
{
    const char *name = msg_name(f->type);

    return error_set(e, ERROR_VM_LOST, "the guest broke the protocol: %s %s (type %u, stream %u)", what,
                     name ? name : "message", f->type, f->stream);
}

int channel_refused(struct error *e, const struct frame *f)
{
    struct msg_error m;
    char text[200];

    if (!msg_error_decode(&m, f->payload, f->length))
        return channel_violation(e, f, "invalid");
    snprintf(text, sizeof(text), "%s", m.text);
    text_make_plain(text);
    if (m.code == PROTO_ERR_SETUP)
        return error_set(e, ERROR_GENERAL, "the guest could not be set up: %s%s%s", text,
                         m.os_errno ? ": " : "", m.os_errno ? strerror((int)m.os_errno) : "");
    const char *request = msg_name(m.request);
    bool missing = m.code == PROTO_ERR_OS && m.os_errno == ENOENT;
    return error_set(e,
                     m.code == PROTO_ERR_TIMEOUT ? ERROR_TIMEOUT
                     : missing                   ? ERROR_NOT_FOUND
                                                 : ERROR_REFUSED,
                     "the guest refused %s: %s%s%s", request ? request : "a message",
                     text[0] ? text : proto_error_name(m.code), m.os_errno ? ": " : "",
                     m.os_errno ? strerror((int)m.os_errno) : "");
}

int channel_expect(struct guest *g, uint32_t stream, uint16_t type, struct frame *ret, int64_t deadline,
                   struct error *e)
{
    if (channel_receive(g, ret, deadline, e) < 0)
        return -1;
    if (ret->type == MSG_ERROR && (ret->stream == stream || ret->stream == 0))
        return channel_refused(e, ret);
    if (ret->type != type || ret->stream != stream)
        return channel_violation(e, ret, "unexpected");
    return 0;
}
