#include "helper.h"

#include "limits.h"
#include "messages.h"
#include "sys.h"

#include <errno.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct helper {
    pid_t pid; /* 0: the slot is free */
    struct conn *conn;
    uint32_t stream;
    uint16_t request;
    void (*done)(int result);
};

/* A connection has one helper at a time; those of closed connections stay until they end. */
static struct helper helpers[2 * HELPERS_MAX];

static void answer(const struct helper *h, int result)
{
    if (h->done)
        h->done(result);
    if (!h->conn)
        return;
    h->conn->waiting = false;
    h->conn->again = true;
    if (result == 0)
        CONN_SEND(h->conn, ok, h->stream, &((struct msg_ok){}));
    else
        conn_send_error(h->conn, h->stream, h->request, PROTO_ERR_OS, result, msg_name(h->request));
}

void helper_start(struct conn *c, uint32_t stream, uint16_t request, int (*work)(const void *argument),
                  const void *argument, void (*done)(int result))
{
    struct helper now = {.conn = c, .stream = stream, .request = request, .done = done};
    struct helper *h = NULL;

    for (unsigned i = 0; i < 2 * HELPERS_MAX && !h; i++)
        if (helpers[i].pid == 0)
            h = &helpers[i];
    pid_t pid = h ? sys_fork() : -EAGAIN;
    /* It may take long, or be stopped: what initd closes meanwhile must not stay open here. Otherwise a job would not
     * see the end of its input, and epoll would tell for ever of files that initd cannot remove any more. */
    if (pid == 0)
        syscall(SYS_close_range, 3u, ~0u, 0u);
    if (pid == 0)
        _exit(-work(argument) & 0xff); /* errno values are below 134 */
    if (pid < 0) {
        /* No process to be had (a fork bomb, say): then it has to be done here. */
        answer(&now, work(argument));
        return;
    }
    *h = now;
    h->pid = pid;
    c->waiting = true;
}

static struct helper *find_helper(pid_t pid)
{
    for (unsigned i = 0; i < 2 * HELPERS_MAX; i++)
        if (helpers[i].pid == pid)
            return &helpers[i];
    return NULL;
}

bool helper_is(pid_t pid)
{
    return find_helper(pid);
}

bool helper_on_child(pid_t pid, int status)
{
    struct helper *h = find_helper(pid);

    if (!h)
        return false;
    h->pid = 0;
    answer(h, WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR);
    return true;
}

void helper_drop_conn(const struct conn *c)
{
    for (unsigned i = 0; i < 2 * HELPERS_MAX; i++)
        if (helpers[i].conn == c)
            helpers[i].conn = NULL;
}

bool helper_has_stream(const struct conn *c, uint32_t stream)
{
    for (unsigned i = 0; i < 2 * HELPERS_MAX; i++)
        if (helpers[i].pid && helpers[i].conn == c && helpers[i].stream == stream)
            return true;
    return false;
}
