#include "vmm/qmp.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define LATE_MAX 64 /* reads after the deadline, of what came while this process was stopped */
#define LINE_MAX_SIZE (1 << 18)

void qmp_close(struct qmp *q)
{
    buffer_free(&q->input);
}

/* Takes a whole line out of the input; NULL when there is none yet. */
static char *take_line(struct qmp *q)
{
    char *end = q->input.size ? memchr(q->input.data, '\n', q->input.size) : NULL;

    if (!end)
        return NULL;
    size_t size = (size_t)(end - q->input.data);
    char *line = memory_allocate(size + 1);
    memcpy(line, q->input.data, size);
    q->input.size -= size + 1;
    memmove(q->input.data, end + 1, q->input.size);
    return line;
}

static int receive_qmp(struct qmp *q, json_t **ret, struct error *e)
{
    char chunk[8192];

    for (;;) {
        cleanup_free char *line = take_line(q);
        if (line) {
            *ret = json_loads(line, 0, NULL);
            return *ret ? 0 : error_set(e, ERROR_VM_LOST, "QEMU sent an invalid control message");
        }
        if (q->input.size > LINE_MAX_SIZE)
            return error_set(e, ERROR_VM_LOST, "QEMU sent an endless control message");
        int ready = deadline_wait_fd(q->fd, POLLIN, q->deadline, q->cancel, e);
        if (ready <= 0 || (deadline_passed(q->deadline) && ++q->late > LATE_MAX)) /* endless events */
            return ready < 0 ? -1 : error_set(e, ERROR_TIMEOUT, "QEMU did not answer in time");
        ssize_t n = recv(q->fd, chunk, sizeof(chunk), 0);
        if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
            return error_set(e, ERROR_VM_LOST, "QEMU ended");
        if (n > 0)
            buffer_add(&q->input, chunk, (size_t)n);
    }
}

/* Waits for the answer to the command that was sent. */
static int wait_answer(struct qmp *q, const char *command, json_t **ret_result, struct error *e)
{
    for (;;) {
        json_t *answer, *result;
        const char *why;
        if (receive_qmp(q, &answer, e) < 0)
            return -1;
        if ((result = json_object_get(answer, "return"))) {
            if (ret_result)
                *ret_result = json_incref(result);
            json_decref(answer);
            return 0;
        }
        if ((why = json_string_value(json_object_get(json_object_get(answer, "error"), "desc")))) {
            error_set(e, ERROR_GENERAL, "QEMU refused %s: %.300s", command, why);
            json_decref(answer);
            return -1;
        }
        json_decref(answer);
    }
}

int qmp_command(struct qmp *q, const char *command, json_t *arguments, json_t **ret_result, struct error *e)
{
    json_t *request = json_pack("{s:s, s:o*}", "execute", command, "arguments", arguments);
    cleanup_free char *text = json_dumps(request, JSON_COMPACT);

    json_decref(request);
    if (!text || send(q->fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text))
        return error_set(e, ERROR_VM_LOST, "QEMU ended");
    return wait_answer(q, command, ret_result, e);
}

int qmp_pass_fd(struct qmp *q, const char *name, int fd, struct error *e)
{
    cleanup_free char *text = text_format("{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"%s\"}}", name);
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec data = {.iov_base = text, .iov_len = strlen(text)};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    if (sendmsg(q->fd, &message, MSG_NOSIGNAL) != (ssize_t)data.iov_len)
        return error_set(e, ERROR_VM_LOST, "QEMU ended");
    return wait_answer(q, "getfd", NULL, e);
}

void qmp_init(struct qmp *q, int fd, int64_t deadline, const struct cancel *cancel)
{
    *q = (struct qmp){.fd = fd, .deadline = deadline, .cancel = cancel};
}

int qmp_greet(struct qmp *q, struct error *e)
{
    json_t *greeting;

    if (receive_qmp(q, &greeting, e) < 0)
        return -1;
    json_decref(greeting);
    return qmp_command(q, "qmp_capabilities", NULL, NULL, e);
}

/* QEMU writes an event at once. One that comes in two parts all the same, from a QEMU that was taken over, says nothing. */
bool qmp_stopped(int fd)
{
    char text[8192], *rest = text;
    ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
    bool stopped = n == 0;

    text[n > 0 ? n : 0] = '\0';
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        json_t *event = json_loads(line, 0, NULL);
        const char *name = json_string_value(json_object_get(event, "event"));
        stopped |= name && strcmp(name, "STOP") == 0;
        json_decref(event);
    }
    return stopped;
}

int qmp_wait_migration(struct qmp *q, struct error *e)
{
    for (;;) {
        json_t *event;
        if (receive_qmp(q, &event, e) < 0)
            return -1;
        const char *name = json_string_value(json_object_get(event, "event"));
        const char *status = json_string_value(json_object_get(json_object_get(event, "data"), "status"));
        bool ours = name && status && strcmp(name, "MIGRATION") == 0;
        bool completed = ours && strcmp(status, "completed") == 0;
        bool failed = ours && strcmp(status, "failed") == 0;
        json_decref(event);
        if (completed)
            return 0;
        if (failed)
            return error_set(e, ERROR_GENERAL, "QEMU could not transfer the machine's state");
    }
}
