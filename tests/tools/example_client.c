/*
 * example_client: runs one program in a guest and passes its output on. It links proto/ and nothing else of
 * Capsid, to show how little a client of the protocol needs.
 *
 *   example_client vsock:CID COMMAND [ARG...]       over AF_VSOCK, from a host that has it
 *   example_client unix:PATH COMMAND [ARG...]       a socket that is the connection itself
 *   example_client connect:PATH COMMAND [ARG...]    a VMM's socket, which wants "CONNECT 5000" first
 *
 * Exits with the program's status, 128 + N when signal N ended it, 125 when something else went wrong.
 */
#include "messages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <linux/vm_sockets.h>
#include <unistd.h>

#define STREAM 1
#define WINDOW (256 * 1024)
#define FAILED 125

static int connection;

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "example_client: %s\n", what);
    exit(FAILED);
}

static void send_all(const void *data, size_t size)
{
    const char *p = data;

    if (size == 0)
        fail("the message does not fit a frame");
    while (size > 0) {
        ssize_t n = write(connection, p, size);
        if (n <= 0)
            fail("the connection was lost");
        p += n;
        size -= (size_t)n;
    }
}

static void connect_to(const struct sockaddr *address, socklen_t size)
{
    connection = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection < 0 || connect(connection, address, size) < 0) {
        perror("example_client: connect");
        exit(FAILED);
    }
}

static void open_vsock(const char *cid)
{
    struct sockaddr_vm a = {.svm_family = AF_VSOCK, .svm_port = PROTO_PORT, .svm_cid = (unsigned)atoi(cid)};

    connect_to((const struct sockaddr *)&a, sizeof(a));
}

static void open_unix(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(a.sun_path))
        fail("the path is too long");
    strcpy(a.sun_path, path);
    connect_to((const struct sockaddr *)&a, sizeof(a));
}

/* "CONNECT 5000\n" is answered by "OK NUMBER\n". */
static void shake_hands(void)
{
    char request[32], c = 0;

    send_all(request, (size_t)snprintf(request, sizeof(request), "CONNECT %d\n", PROTO_PORT));
    for (int i = 0; c != '\n'; i++)
        if (read(connection, &c, 1) != 1 || (i == 0 && c != 'O'))
            fail("the VMM refused the connection");
}

static void open_connection(const char *where)
{
    const char *rest = strchr(where, ':');

    if (rest && strncmp(where, "vsock:", 6) == 0)
        open_vsock(rest + 1);
    else if (rest && strncmp(where, "unix:", 5) == 0)
        open_unix(rest + 1);
    else if (rest && strncmp(where, "connect:", 8) == 0)
        open_unix(rest + 1), shake_hands();
    else
        fail("say where: vsock:CID, unix:PATH or connect:PATH");
}

static void send_requests(char **command)
{
    static char argv[FRAME_MAX / 2];
    static uint8_t frame[FRAME_MAX];
    const char env[] = "PATH=/usr/local/bin:/usr/bin:/bin";
    struct msg_hello hello = {
        .magic = PROTO_MAGIC, .version_min = PROTO_VERSION, .version_max = PROTO_VERSION};
    struct msg_exec exec = {.env = {.data = env, .size = sizeof(env)}, .cwd = "/", .window = WINDOW};
    size_t used = 0;

    for (; *command; command++) {
        size_t size = strlen(*command) + 1;
        if (used + size > sizeof(argv))
            fail("the command is too long");
        memcpy(argv + used, *command, size);
        used += size;
    }
    exec.argv = (struct wire_strs){.data = argv, .size = (uint32_t)used};
    send_all(frame, msg_hello_frame(&hello, 0, frame, sizeof(frame)));
    send_all(frame, msg_exec_frame(&exec, STREAM, frame, sizeof(frame)));
}

/* What has been taken may be forgotten, and as much may follow. */
static void take_output(const struct msg_data *m)
{
    uint8_t frame[64];
    uint64_t taken = m->offset + m->data.size;
    struct msg_window w = {.channel = m->channel, .consumed = taken, .limit = taken + WINDOW};

    if (write(m->channel == 2 ? STDERR_FILENO : STDOUT_FILENO, m->data.data, m->data.size) !=
        (ssize_t)m->data.size)
        fail("cannot write the output");
    send_all(frame, msg_window_frame(&w, STREAM, frame, sizeof(frame)));
}

/* Acts on one frame; the exit status when the job has ended, -1 before. */
static int take(const struct frame *f)
{
    struct msg_error error;
    struct msg_exit end;
    struct msg_data data;

    if (f->type == MSG_DATA && msg_data_decode(&data, f->payload, f->length)) {
        take_output(&data);
    } else if (f->type == MSG_EXIT && msg_exit_decode(&end, f->payload, f->length)) {
        return end.cause == PROTO_CAUSE_EXITED ? end.status : 128 + end.signal;
    } else if (f->type == MSG_ERROR && msg_error_decode(&error, f->payload, f->length)) {
        fprintf(stderr, "example_client: %s: %s\n", proto_error_name(error.code), error.text);
        return FAILED;
    } else if (f->type != MSG_WELCOME && f->type != MSG_STARTED && f->type != MSG_END) {
        fail("an unexpected message");
    }
    return -1;
}

int main(int argc, char **argv)
{
    static uint8_t buffer[FRAME_MAX];
    struct frame_reader reader;
    int status = -1;

    if (argc < 3)
        fail("usage: example_client vsock:CID|unix:PATH|connect:PATH COMMAND [ARG...]");
    open_connection(argv[1]);
    frame_reader_init(&reader, buffer, sizeof(buffer));
    send_requests(argv + 2);
    while (status < 0) {
        struct frame f;
        int n = frame_reader_next(&reader, &f);
        if (n < 0)
            fail("an invalid frame");
        if (n > 0) {
            status = take(&f);
            continue;
        }
        size_t room;
        uint8_t *space = frame_reader_space(&reader, &room);
        ssize_t got = read(connection, space, room);
        if (got <= 0)
            fail("the connection was lost");
        frame_reader_added(&reader, (size_t)got);
    }
    return status;
}
