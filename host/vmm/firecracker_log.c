#include "vmm/firecracker_log.h"

#include "base/cleanup.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOG_MAX 65536
#define LAST_WORDS 4096

/* A guest can make Firecracker log as much as it likes. So the log has its full size at once and cannot grow: what
 * is written beyond fails (fcntl(2), F_SEAL_GROW). */
int firecracker_log_open(struct error *e)
{
    cleanup_fd int fd = memfd_create("firecracker-log", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0 || ftruncate(fd, LOG_MAX) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0)
        return error_errno(e, "cannot make a log for Firecracker");
    return take_fd(&fd);
}

/*
 * What comes after the reason and only looks like one. The error once more as a Rust programmer sees it, and the exit code
 * (main() of src/firecracker/src/main.rs and of src/jailer/src/main.rs); how to get a trace (Rust's message of a panic).
 */
static bool follows_a_reason(const char *line)
{
    static const char *const starts[] = {"Error: ", "Firecracker exiting ", "note: run with "};

    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
        if (strncmp(line, starts[i], strlen(starts[i])) == 0)
            return true;
    return line[0] == '\0';
}

/* A log line is "2026-11-29T19:15:25.123456789 [ID:THREAD:LEVEL:FILE:LINE] MESSAGE" (src/vmm/src/logger/logging.rs). */
static char *skip_place(char *line)
{
    const char *space = isdigit((unsigned char)line[0]) ? strchr(line, ' ') : NULL;
    char *end = space && space[1] == '[' ? strstr(line, "] ") : NULL;

    return end ? end + strlen("] ") : line;
}

const char *firecracker_log_choose(char *text)
{
    char *last = NULL, *rest = text_trim(text);

    for (;;) {
        char *start = strrchr(rest, '\n');
        char *line = skip_place(text_trim(start ? start + 1 : rest));
        last = last ? last : line;
        if (!follows_a_reason(line))
            return text_make_plain(line);
        if (!start)
            return text_make_plain(last);
        *start = '\0';
    }
}

/* The program writes through the same open file, whose position so tells how much. */
void firecracker_log_reason(int fd, struct buffer *ret)
{
    char text[LAST_WORDS + 1];
    off_t end = fd >= 0 ? lseek(fd, 0, SEEK_CUR) : 0;
    off_t from = end > LAST_WORDS ? end - LAST_WORDS : 0;
    ssize_t n = end > 0 ? pread(fd, text, (size_t)(end - from), from) : 0;

    if (n <= 0)
        return;
    text[n] = '\0';
    buffer_add_text(ret, "%s", firecracker_log_choose(text));
}
