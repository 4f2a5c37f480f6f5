#include "base/log.h"

#include "base/deadline.h"
#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum log_level current = LOG_PROGRESS;
static int64_t started_ns;

void log_set_level(enum log_level level)
{
    current = level;
    started_ns = clock_monotonic_ns();
}

bool log_wants(enum log_level level)
{
    return current >= level;
}

int64_t log_since_start_ns(void)
{
    return clock_monotonic_ns() - started_ns;
}

void log_line(const char *line, size_t size)
{
    int saved = errno;

    while (write(STDERR_FILENO, line, size) < 0 && errno == EINTR)
        ;
    errno = saved;
}

/* One write per line, so that lines of several processes or threads on one stderr do not mix. */
static void print_line(const char *prefix, const char *format, va_list args)
{
    char line[1400];
    int saved = errno;
    size_t used = (size_t)snprintf(line, sizeof(line), "%s", prefix);
    int text = vsnprintf(line + used, sizeof(line) - used - 1, format, args);

    if (text > 0)
        used = strlen(text_make_plain(line)); /* others' words may hold anything */
    line[used++] = '\n';
    errno = saved;
    log_line(line, used);
}

void log_progress(const char *format, ...)
{
    va_list args;

    if (current < LOG_PROGRESS)
        return;
    va_start(args, format);
    print_line("", format, args);
    va_end(args);
}

void log_warning(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    print_line("Warning: ", format, args);
    va_end(args);
}

void log_debug(const char *format, ...)
{
    char prefix[32];
    va_list args;

    if (current < LOG_DEBUG)
        return;
    snprintf(prefix, sizeof(prefix), "[%8.1f ms] ", (double)log_since_start_ns() / 1e6);
    va_start(args, format);
    print_line(prefix, format, args);
    va_end(args);
}
