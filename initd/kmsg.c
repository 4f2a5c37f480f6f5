#include "kmsg.h"

#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int kmsg_fd = -1;
static int with_level = 1;

void kmsg_open(int to_stderr)
{
    with_level = !to_stderr;
    kmsg_fd = to_stderr ? STDERR_FILENO : open("/dev/kmsg", O_WRONLY | O_CLOEXEC | O_NONBLOCK);
}

void kmsg_log(enum kmsg_level level, const char *what, const char *name, int error)
{
    int saved = errno;
    char line[256];
    struct text t = text_of(line, sizeof(line) - 1);

    if (with_level) {
        text_add(&t, "<");
        text_add_u64(&t, (unsigned)level);
        text_add(&t, ">");
    }
    text_add(&t, "initd: ");
    text_add(&t, what);
    if (name) {
        text_add(&t, " name=");
        text_add(&t, name);
    }
    if (error) {
        text_add(&t, " errno=");
        text_add_u64(&t, (uint64_t)(error < 0 ? -error : error));
    }
    line[t.length++] = '\n';
    if (kmsg_fd >= 0 && write(kmsg_fd, line, t.length) < 0) {
        /* Nobody is left to tell. */
    }
    errno = saved;
}
