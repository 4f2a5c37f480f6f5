/*
 * log: (any thread; the level is set before there are several) one line on stderr per event. Only the top layers (cli/, core/) log above debug; libraries return
 * errors. Progress is for people: a line that says what a long step is doing.
 */
#ifndef CAPSID_LOG_H
#define CAPSID_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_QUIET, LOG_PROGRESS, LOG_DEBUG };

void log_set_level(enum log_level level);
bool log_wants(enum log_level level);

/* Since the level was set, which a program does first. */
int64_t log_since_start_ns(void);

/* A whole line with its newline, at whatever level. */
void log_line(const char *line, size_t size);

/* "what", with a newline, at LOG_PROGRESS and above. */
void log_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same for warnings ("Warning: ..."), never suppressed. */
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* key=value lines with a time stamp since start, at LOG_DEBUG. */
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
