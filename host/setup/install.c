/* Files that setup installs below the state directory: fetched, compared with their SHA-256, then named. */
#include "setup/steps.h"

#include "base/child.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define FETCH_MS (30 * 60 * 1000)
#define TOLD_EVERY_MS 5000
#define MAX_TEXT "1073741824"

static const struct {
    const char *name; /* of the option, the setting, and the program inside of a release's archive */
    const char *file;
    mode_t mode;
} kinds[SETUP_SOURCES] = {
    [SETUP_KERNEL] = {"kernel", "vmlinux", 0644},
    [SETUP_FIRECRACKER] = {"firecracker", "firecracker", 0755},
    [SETUP_JAILER] = {"jailer", "jailer", 0755},
};

static const struct step *const file_steps[SETUP_SOURCES] = {&setup_step_kernel, &setup_step_firecracker,
                                                             &setup_step_jailer};

_Static_assert(SETUP_FILE_MAX == 1073741824, "MAX_TEXT is the same number");

const char *setup_source_name(int source)
{
    return kinds[source].name;
}

char *setup_installed_path(const struct setup *s, int source)
{
    return text_format("%s/bin/%s", s->options->home, kinds[source].file);
}

/* ---- getting it ---------------------------------------------------------------------------------- */

static bool is_url(const char *from)
{
    return strstr(from, "://") != NULL;
}

static bool is_archive(const char *from)
{
    size_t size = strlen(from);

    return (size > 4 && strcmp(from + size - 4, ".tgz") == 0) ||
           (size > 7 && strcmp(from + size - 7, ".tar.gz") == 0);
}

static void tell_size(int fd)
{
    struct stat st;
    char size[24];

    if (fstat(fd, &st) == 0)
        log_progress("  %s so far", text_bytes((uint64_t)st.st_size, size));
}

/* Runs host/fetch.c with output to fd; its last line is the error. */
static int run_fetch(const struct setup *s, const char *action, const char *what, int in, int out,
                     struct error *e)
{
    const char *argv[] = {s->options->fetch, action, what, MAX_TEXT, NULL};
    cleanup_fd int log = memfd_create("fetch", MFD_CLOEXEC);
    struct child_spec spec = {.argv = argv, .stdin_fd = in, .stdout_fd = out, .stderr_fd = log};
    int64_t deadline = deadline_in_ms(FETCH_MS);
    struct child c = CHILD_NONE;
    int status = 0, ended = 0;
    char text[400];

    if (log < 0)
        return error_errno(e, "memfd_create");
    if (child_spawn(&c, &spec, e) < 0)
        return -1;
    while (ended == 0 && clock_monotonic_ns() < deadline) {
        ended = child_wait(&c, deadline_in_ms(TOLD_EVERY_MS), s->cancel, &status, e);
        if (ended == 0)
            tell_size(out);
    }
    if (ended <= 0) {
        child_kill(&c);
        return ended < 0 ? -1 : error_set(e, ERROR_TIMEOUT, "%.200s: no end in time", what);
    }
    if (status == 0)
        return 0;
    ssize_t n = pread(log, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return error_set(e, ERROR_GENERAL, "%s", text[0] ? text : "the program that fetches files failed");
}

static int copy_file(const char *from, int out, struct error *e)
{
    cleanup_fd int in = open(from, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    cleanup_free char *chunk = memory_allocate(1 << 16);
    uint64_t size = 0;
    struct stat st;
    ssize_t n;

    if (in < 0 || fstat(in, &st) < 0)
        return error_errno(e, "cannot open %s", from);
    if (!S_ISREG(st.st_mode))
        return error_set(e, ERROR_GENERAL, "%s is not a regular file", from);
    while ((n = read(in, chunk, 1 << 16)) > 0) {
        size += (uint64_t)n;
        if (size > SETUP_FILE_MAX)
            return error_set(e, ERROR_GENERAL, "%s is larger than " MAX_TEXT " bytes", from);
        if (file_write_fd(out, chunk, (size_t)n) < 0)
            return error_errno(e, "cannot write a copy of %s", from);
    }
    return n < 0 ? error_errno(e, "cannot read %s", from) : 0;
}

static int get(const struct setup *s, const struct setup_source *source, int fd, struct error *e)
{
    char digest[DIGEST_HEX_SIZE];

    log_progress("Getting %s", source->from);
    int result =
        is_url(source->from) ? run_fetch(s, "get", source->from, -1, fd, e) : copy_file(source->from, fd, e);
    if (result < 0)
        return -1;
    if (lseek(fd, 0, SEEK_SET) < 0 || digest_fd(fd, NULL, digest, e) < 0)
        return error_errno(e, "cannot read %s again", source->from);
    if (strcmp(digest, source->sha256) != 0)
        return error_set(e, ERROR_CORRUPT, "%s has the SHA-256 %s, not %s; nothing was installed",
                         source->from, digest, source->sha256);
    return 0;
}

/* A new file of that name, whatever a killed setup left there. */
static int open_scratch(const char *path, struct error *e)
{
    unlink(path);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd < 0 ? error_errno(e, "cannot create %s", path) : fd;
}

/* Gets the source into path, unpacked, with its mode, synced; ret is the SHA-256 of what is there then. */
static int prepare_install(const struct setup *s, int kind, const char *path,
                           char ret[static DIGEST_HEX_SIZE], struct error *e)
{
    const struct setup_source *source = &s->options->sources[kind];
    cleanup_fd int fd = open_scratch(path, e);

    if (fd < 0 || get(s, source, fd, e) < 0)
        return -1;
    if (is_archive(source->from)) {
        cleanup_fd int archive = take_fd(&fd);
        fd = open_scratch(path, e);
        if (fd < 0 || lseek(archive, 0, SEEK_SET) < 0 ||
            run_fetch(s, "unpack", kinds[kind].name, archive, fd, e) < 0)
            return error_wrap(e, "%s", source->from);
    }
    if (lseek(fd, 0, SEEK_SET) < 0 || digest_fd(fd, NULL, ret, e) < 0 || fchmod(fd, kinds[kind].mode) < 0 ||
        fsync(fd) < 0)
        return error_errno(e, "cannot write %s", path);
    return 0;
}

/* ---- the step ------------------------------------------------------------------------------------ */

static int digest_file(const char *path, char ret[static DIGEST_HEX_SIZE], struct error *e)
{
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return error_errno(e, "cannot open %s", path);
    return digest_fd(fd, NULL, ret, e);
}

static bool note_says(const json_t *note, const char *key, const char *value)
{
    const char *said = json_string_value(json_object_get(note, key));

    return said && strcmp(said, value) == 0;
}

static int plan_file(struct setup *s, int kind, struct buffer *what, struct error *e)
{
    const struct setup_source *source = &s->options->sources[kind];
    cleanup_free char *installed = setup_installed_path(s, kind);
    cleanup_free char *path = setup_path(s, installed);
    const json_t *note = setup_noted(s, file_steps[kind]->name);
    struct config probe = {0};
    char digest[DIGEST_HEX_SIZE];

    if (!source->from)
        return PLAN_SKIP;
    if (config_set(&probe, kinds[kind].name, installed, "setup", e) < 0)
        return error_set(e, ERROR_USAGE, "this capsid has no setting %s", kinds[kind].name);
    config_done(&probe);
    buffer_add_text(what, "%s from %s", path, source->from);
    if (!file_exists(path))
        return PLAN_TO_DO;
    if (digest_file(path, digest, e) < 0)
        return -1;
    if (note)
        return note_says(note, "sha256", source->sha256) && note_says(note, "installed", digest) ? PLAN_DONE
                                                                                                 : PLAN_TO_DO;
    if (strcmp(digest, source->sha256) == 0)
        return PLAN_DONE;
    return error_set(e, ERROR_GENERAL, "%s is there already, and setup did not install it", path);
}

static int note_file(struct setup *s, int kind, const char *installed, struct error *e)
{
    json_t *note =
        json_pack("{s:s, s:s?}", "sha256", s->options->sources[kind].sha256, "installed", installed);

    return setup_note(s, file_steps[kind]->name, note, e);
}

static int make_file_install(struct setup *s, int kind, struct error *e)
{
    cleanup_free char *directory = text_format("%s/bin", s->home);
    cleanup_free char *path = text_format("%s/%s", directory, kinds[kind].file);
    cleanup_free char *scratch = text_format("%s/.%s.new", directory, kinds[kind].file);
    char digest[DIGEST_HEX_SIZE];

    if (note_file(s, kind, NULL, e) < 0 || file_make_directories(directory, e) < 0)
        return -1;
    if (prepare_install(s, kind, scratch, digest, e) < 0 || note_file(s, kind, digest, e) < 0) {
        unlink(scratch);
        return -1;
    }
    return rename(scratch, path) < 0 ? error_errno(e, "cannot create %s", path) : 0;
}

static int undo_file(struct setup *s, int kind, struct buffer *what, struct error *e)
{
    cleanup_free char *directory = text_format("%s/bin", s->home);
    cleanup_free char *path = text_format("%s/%s", directory, kinds[kind].file);
    cleanup_free char *scratch = text_format("%s/.%s.new", directory, kinds[kind].file);

    buffer_add_text(what, "%s", path);
    if ((unlink(path) < 0 && errno != ENOENT) || (unlink(scratch) < 0 && errno != ENOENT))
        return error_errno(e, "cannot remove %s", path);
    rmdir(directory); /* not while others are in it */
    return 1;
}

#define FILE_STEP(name, kind)                                                                                \
    static int plan_##name(struct setup *s, struct buffer *what, struct error *e)                            \
    {                                                                                                        \
        return plan_file(s, kind, what, e);                                                                  \
    }                                                                                                        \
    static int make_##name(struct setup *s, struct error *e)                                                 \
    {                                                                                                        \
        return make_file_install(s, kind, e);                                                                \
    }                                                                                                        \
    static int undo_##name(struct setup *s, json_t *note, struct buffer *what, struct error *e)              \
    {                                                                                                        \
        (void)note;                                                                                          \
        return undo_file(s, kind, what, e);                                                                  \
    }                                                                                                        \
    const struct step setup_step_##name = {#name, plan_##name, make_##name, undo_##name}

FILE_STEP(kernel, SETUP_KERNEL);
FILE_STEP(firecracker, SETUP_FIRECRACKER);
FILE_STEP(jailer, SETUP_JAILER);
