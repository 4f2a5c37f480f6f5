#include "server/status.h"

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define NAME "status"
#define SIZE_MAX_ (4u << 20) /* bytes of both lines */
#define TOLD_MAX (1u << 20)  /* of the front's */
#define ANSWER_MS 5000

/* Its name may be longer than an address; so it is named by the directory's descriptor. */
static int address_in(const char *directory, struct sockaddr_un *ret, int *ret_fd, struct error *e)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    *ret_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*ret_fd < 0)
        return error_errno(e, "cannot open %s", directory);
    snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/" NAME, *ret_fd);
    return 0;
}

int status_listen(const char *directory, struct error *e)
{
    cleanup_fd int in = -1, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un a;

    if (address_in(directory, &a, &in, e) < 0)
        return -1;
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 8) < 0)
        return error_errno(e, "cannot listen in %s", directory);
    return take_fd(&fd);
}

static bool send_all(int fd, const char *data, size_t size)
{
    return send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size;
}

void status_answer(int *connection, json_t *broker, int told)
{
    cleanup_free char *line = json_dumps(broker, JSON_COMPACT), *front = memory_allocate(TOLD_MAX);
    ssize_t size = told >= 0 ? pread(told, front, TOLD_MAX, 0) : 0;
    const int room = SIZE_MAX_;

    json_decref(broker);
    setsockopt(*connection, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    if (line && send_all(*connection, line, strlen(line)) && send_all(*connection, "\n", 1) && size > 0)
        send_all(*connection, front, (size_t)size);
    close_fd(connection);
}

static int read_answer(int fd, struct buffer *ret, struct error *e)
{
    int64_t deadline = deadline_in_ms(ANSWER_MS);
    char chunk[16384];

    for (;;) {
        int ready = deadline_wait_fd(fd, POLLIN, deadline, NULL, e);
        if (ready <= 0)
            return ready < 0 ? -1 : error_set(e, ERROR_TIMEOUT, "the server does not answer");
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n <= 0)
            return n == 0 ? 0 : error_errno(e, "the server does not answer");
        buffer_add(ret, chunk, (size_t)n);
        if (ret->size > SIZE_MAX_)
            return error_set(e, ERROR_GENERAL, "the server says too much");
    }
}

json_t *status_ask(const char *directory, struct error *e)
{
    cleanup_fd int in = -1, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cleanup_buffer struct buffer text = {0};
    struct sockaddr_un a;

    if (address_in(directory, &a, &in, e) < 0)
        return NULL;
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
        error_errno(e, "no server answers in %s", directory);
        e->kind = ERROR_NOT_FOUND;
        return NULL;
    }
    if (read_answer(fd, &text, e) < 0)
        return NULL;
    const char *end = text.data ? memchr(text.data, '\n', text.size) : NULL;
    json_t *j = end ? json_loadb(text.data, (size_t)(end - text.data), 0, NULL) : NULL;
    if (!json_is_object(j)) {
        json_decref(j);
        error_set(e, ERROR_GENERAL, "the server's answer is no JSON");
        return NULL;
    }
    end++;
    json_t *front = json_loadb(end, text.size - (size_t)(end - text.data), 0, NULL);
    json_object_set_new(j, "front", front ? front : json_null());
    return j;
}
