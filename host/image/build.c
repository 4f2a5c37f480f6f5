#include "image/build.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <stdbool.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define LOG_TAIL 4096

void arguments_add(struct arguments *a, const char *word)
{
    if (a->count < ARGUMENTS_MAX)
        a->words[a->count++] = word;
}

static void add_option(struct arguments *a, const char *option, const char *value)
{
    if (value && value[0]) {
        arguments_add(a, option);
        arguments_add(a, value);
    }
}

void arguments_add_namespaces(struct arguments *a)
{
    arguments_add(a, "unshare");
    if (geteuid() != 0) {
        arguments_add(a, "--map-root-user");
        arguments_add(a, "--map-auto");
    }
    arguments_add(a, "--mount");
    arguments_add(a, "--pid");
    arguments_add(a, "--fork");
    arguments_add(a, "--mount-proc");
    arguments_add(a, "--kill-child=KILL");
    arguments_add(a, "--");
}

/* The builder's last "Error: " line, or its last line. */
static void find_reason(const char *log, char *out, size_t size)
{
    char tail[LOG_TAIL + 1];
    cleanup_file FILE *f = fopen(log, "re");
    long start = 0;

    snprintf(out, size, "no output");
    if (!f || fseek(f, 0, SEEK_END) < 0)
        return;
    if (ftell(f) > LOG_TAIL)
        start = ftell(f) - LOG_TAIL;
    fseek(f, start, SEEK_SET);
    tail[fread(tail, 1, LOG_TAIL, f)] = '\0';

    bool found = false;
    for (char *state = NULL, *line = strtok_r(tail, "\n", &state); line;
         line = strtok_r(NULL, "\n", &state)) {
        bool marked = strncmp(line, "Error: ", 7) == 0;
        if (marked || !found)
            snprintf(out, size, "%s", marked ? line + 7 : line);
        found = found || marked;
    }
}

/* Repeats the builder's phases on stderr, until the builder closes its end. */
static int show_phases(int fd, const char *name, int64_t deadline, const struct cancel *cancel,
                       struct error *e)
{
    char text[1024];
    size_t used = 0;

    for (;;) {
        int ready = deadline_wait_fd(fd, POLLIN, deadline, cancel, e);
        if (ready <= 0)
            return ready < 0 ? -1 : error_set(e, ERROR_TIMEOUT, "it did not end in time");
        ssize_t n = read(fd, text + used, sizeof(text) - 1 - used);
        if (n <= 0)
            return 0;
        used += (size_t)n;
        text[used] = '\0';
        for (char *end; (end = strchr(text, '\n')); used = strlen(text)) {
            *end = '\0';
            log_progress("  %s: %s", name, text);
            memmove(text, end + 1, strlen(end + 1) + 1);
        }
        if (used == sizeof(text) - 1)
            used = 0;
    }
}

static int run_with_status(struct home *h, const struct arguments *a, int status[static 2], const char *log,
                           const char *name, int64_t deadline, const struct cancel *cancel, struct error *e)
{
    cleanup_fd int log_fd = file_open(log, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, e);
    struct child c = CHILD_NONE;
    int code = 0;

    if (log_fd < 0)
        return -1;
    struct child_spec spec = {.argv = a->words, .stdin_fd = -1, .stdout_fd = status[1], .stderr_fd = log_fd};
    if (child_spawn(&c, &spec, e) < 0)
        return -1;
    close_fd(&status[1]);
    bool ended = home_record_child(h, &c, e) == 0 && show_phases(status[0], name, deadline, cancel, e) == 0 &&
                 child_wait(&c, deadline, cancel, &code, e) > 0;
    child_kill(&c);
    home_forget_child(h, &c);
    if (!ended)
        return -1;
    if (code != 0) {
        char reason[300];
        find_reason(log, reason, sizeof(reason));
        return error_set(e, ERROR_GENERAL, "%s (log: %s)", reason, log);
    }
    return 0;
}

int image_run_builder(struct home *h, const struct arguments *a, const char *log, const char *name,
                      int64_t deadline, const struct cancel *cancel, struct error *e)
{
    int status[2];

    if (pipe2(status, O_CLOEXEC) < 0)
        return error_errno(e, "pipe");
    int result = run_with_status(h, a, status, log, name, deadline, cancel, e);
    close_fd(&status[0]);
    close_fd(&status[1]);
    return result;
}

/* The builder's command line; the strings stay the caller's. */
static void add_builder(struct arguments *a, const struct config *config, const struct recipe *r,
                        const struct build_paths *paths)
{
    add_option(a, "--packages", r->packages);
    add_option(a, "--suite", r->suite);
    add_option(a, "--extra", r->extra);
    add_option(a, "--npm", r->npm);
    add_option(a, "--pip", r->pip);
    add_option(a, "--method", r->method);
    add_option(a, "--post", r->post);
    add_option(a, "--drop", r->drop);
    add_option(a, "--mirror", config->mirror);
    add_option(a, "--npm-registry", config->npm_registry);
    add_option(a, "--pip-index", config->pip_index);
    add_option(a, "--output", paths->output);
    add_option(a, "--lock-out", paths->lock_out);
    add_option(a, "--lock", paths->lock);
    add_option(a, "--status-fd", "1");
}

int image_build(const struct config *config, struct home *h, const char *name, const struct recipe *recipe,
                const struct build_paths *paths, int64_t deadline, const struct cancel *cancel,
                struct error *e)
{
    cleanup_free char *builder = text_format("%s/build-image", config->data);
    cleanup_free char *initd = text_format("%s/initd", config->data);
    cleanup_free char *work = text_format("%s/tree-%s", h->scratch, name);
    cleanup_free char *log = home_path(h, "log/image-%s.log", name);
    cleanup_free char *cache = home_path(h, "cache/packages");
    struct arguments a = {0};

    if (file_make_directories(work, e) < 0)
        return -1;
    log_progress("Building the image %s (log: %s)", name, log);

    arguments_add_namespaces(&a);
    arguments_add(&a, builder);
    add_builder(&a, config, recipe, paths);
    add_option(&a, "--initd", initd);
    add_option(&a, "--work", work);
    add_option(&a, "--cache", cache);

    int64_t start = clock_monotonic_ns();
    if (image_run_builder(h, &a, log, name, deadline, cancel, e) < 0)
        return error_wrap(e, "image %s could not be built", name);
    log_progress("  %s: done in %.1f s", name, (double)(clock_monotonic_ns() - start) / 1e9);
    return 0;
}
