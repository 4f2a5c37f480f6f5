#include "vmm/firecracker_log.h"

#include "vmm/vmm_log.h"

#include <ctype.h>
#include <string.h>

#define LAST_WORDS 4096

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

void firecracker_log_reason(int fd, struct buffer *ret)
{
    char text[LAST_WORDS + 1];

    if (vmm_log_last(fd, text, sizeof(text)) > 0)
        buffer_add_text(ret, "%s", firecracker_log_choose(text));
}
