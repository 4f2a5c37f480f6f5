#include "core/look.h"

#include "base/cleanup.h"
#include "base/file.h"

#include <string.h>
#include <sys/stat.h>

#define LOOK_SIZE_MAX (1u << 20)      /* bytes of it */
#define LOOK_PLACE "/dev/capsid-look" /* in the guest: in no layer of its filesystem */
#define SPARE_MS 500                  /* for a search to tell what it has found when its time is over */

static int bring_program(struct look *l, struct guest *g, const char *data, uint64_t ms, struct error *e)
{
    cleanup_free char *path = text_format("%s/" LOOK_PROGRAM, data);
    cleanup_buffer struct buffer content = {0};

    l->guest = g;
    l->deadline = deadline_in_ms((int64_t)ms);
    if (file_read(path, LOOK_SIZE_MAX, &content, e) < 0)
        return error_wrap(e, "the program that looks at files in a guest");
    return guest_write_file(g, LOOK_PLACE, S_IFREG | 0755, 0, 0, 0, content.data, content.size, l->deadline,
                            e);
}

/* Of a VM of its own. */
static void explain(struct look *l, struct error *e)
{
    if (l->guest == &l->machine.guest)
        machine_explain(&l->machine, e);
}

int look_open(struct look *ret, struct host *host, const struct call *call, const char *image, uint64_t ms,
              struct error *e)
{
    const struct target_wish wish = {.image = image, .start = TARGET_RESTORE};

    *ret = (struct look){.machine = MACHINE_NONE};
    if (target_open_and_load(&ret->target, &ret->machine, host, call, &wish, e) < 0) {
        *ret = (struct look){.machine = MACHINE_NONE};
        return -1;
    }
    if (bring_program(ret, &ret->machine.guest, host->config.data, ms, e) == 0)
        return 0;
    explain(ret, e);
    look_close(ret);
    return -1;
}

int look_begin(struct look *ret, struct guest *g, const char *data, uint64_t ms, struct error *e)
{
    *ret = (struct look){.machine = MACHINE_NONE};
    return bring_program(ret, g, data, ms, e);
}

void look_close(struct look *l)
{
    if (l->guest == &l->machine.guest) {
        machine_destroy(&l->machine);
        target_done(&l->target);
    }
    *l = (struct look){.machine = MACHINE_NONE};
}

/* ---- a question ---------------------------------------------------------------------------------- */

static void add_word(struct buffer *argv, const char *word)
{
    buffer_add(argv, word, strlen(word) + 1);
}

static void add_number(struct buffer *argv, uint64_t number)
{
    buffer_add_text(argv, "%llu", (unsigned long long)number);
    buffer_add(argv, "", 1);
}

static int check_length(const char *what, const char *text, size_t most, struct error *e)
{
    return strlen(text) <= most ? 0 : error_set(e, ERROR_USAGE, "%s has more than %zu bytes", what, most);
}

/* The beginning of a question. */
static int begin(struct buffer *argv, const char *question, const char *path, struct error *e)
{
    if (check_length("the path", path, LOOK_PATH_MAX - 1, e) < 0)
        return -1;
    add_word(argv, LOOK_PLACE);
    add_word(argv, question);
    if (path[0] != '/')
        buffer_add(argv, "/", 1);
    add_word(argv, path);
    return 0;
}

static int take_answer(void *stream, int channel, const void *data, size_t size, struct error *e)
{
    return channel == 1 ? look_stream_take(stream, data, size, e) : 0; /* it has nothing else to say */
}

static int ask(struct look *l, const struct buffer *argv, struct look_stream *s, struct look_end *ret,
               struct error *e)
{
    const struct job_io io = {.stdin_fd = -1, .on_output = take_answer, .context = s};
    const struct msg_exec exec = {.argv = {.data = argv->data, .size = (uint32_t)argv->size}, .cwd = "/"};
    struct msg_exit end;

    if (guest_run_job(l->guest, &exec, NULL, &io, l->deadline, &end, e) < 0) {
        explain(l, e);
        return -1;
    }
    if (end.cause == PROTO_CAUSE_OOM)
        return error_set(e, ERROR_GENERAL, "there are more files than the guest's memory can hold");
    return look_stream_end(s, ret, e);
}

static int ask_and_close(struct look *l, const struct buffer *argv, struct look_stream *s,
                         struct look_end *ret, struct error *e)
{
    int result = ask(l, argv, s, ret, e);

    look_stream_close(s);
    return result;
}

int look_list(struct look *l, const char *path, const char *after, uint64_t limit,
              const struct look_visitor *visitor, struct look_end *ret, struct error *e)
{
    const struct look_bounds bounds = {.files = limit < LOOK_PAGE_MAX ? limit : LOOK_PAGE_MAX,
                                       .after = after};
    cleanup_buffer struct buffer argv = {0};

    if (begin(&argv, "list", path, e) < 0 ||
        (after && check_length("the name to go on after", after, LOOK_NAME_MAX, e) < 0))
        return -1;
    add_number(&argv, bounds.files);
    add_word(&argv, after ? after : "");
    return ask_and_close(l, &argv, look_stream_open(LOOK_LIST, &bounds, visitor), ret, e);
}

int look_read(struct look *l, const char *path, uint64_t offset, uint64_t length,
              const struct look_visitor *visitor, struct error *e)
{
    const struct look_bounds bounds = {.bytes = length};
    cleanup_buffer struct buffer argv = {0};
    struct look_end end;

    if (begin(&argv, "read", path, e) < 0)
        return -1;
    add_number(&argv, offset);
    add_number(&argv, length);
    return ask_and_close(l, &argv, look_stream_open(LOOK_READ, &bounds, visitor), &end, e);
}

int look_walk(struct look *l, const char *path, uint64_t bytes, const struct look_visitor *visitor,
              struct look_end *ret, struct error *e)
{
    const struct look_bounds bounds = {.bytes = bytes};
    cleanup_buffer struct buffer argv = {0};

    if (begin(&argv, "walk", path, e) < 0)
        return -1;
    return ask_and_close(l, &argv, look_stream_open(LOOK_WALK, &bounds, visitor), ret, e);
}

static uint64_t ms_left(const struct look *l)
{
    int64_t ms = (l->deadline - clock_monotonic_ns()) / 1000000 - SPARE_MS;

    return ms > 0 ? (uint64_t)ms : 0;
}

int look_grep(struct look *l, const struct look_search *search, const struct look_visitor *visitor,
              struct look_end *ret, struct error *e)
{
    const char *glob = search->glob ? search->glob : "";
    const struct look_bounds bounds = {.matches = search->max_total < LOOK_MATCHES_MAX ? search->max_total
                                                                                       : LOOK_MATCHES_MAX};
    cleanup_buffer struct buffer argv = {0};

    if (begin(&argv, "grep", search->path, e) < 0 ||
        check_length("the pattern", search->pattern, LOOK_PATTERN_MAX, e) < 0 ||
        check_length("the pattern of names", glob, LOOK_PATTERN_MAX, e) < 0)
        return -1;
    add_number(&argv, ms_left(l));
    add_number(&argv, search->max_count ? search->max_count : bounds.matches);
    add_number(&argv, bounds.matches);
    add_number(&argv, search->ignore_case ? LOOK_IGNORE_CASE : 0);
    add_word(&argv, glob);
    add_word(&argv, search->pattern);
    return ask_and_close(l, &argv, look_stream_open(LOOK_GREP, &bounds, visitor), ret, e);
}

const char *look_type_name(uint32_t mode)
{
    return S_ISREG(mode)    ? "file"
           : S_ISDIR(mode)  ? "directory"
           : S_ISLNK(mode)  ? "symlink"
           : S_ISFIFO(mode) ? "fifo"
           : S_ISSOCK(mode) ? "socket"
           : S_ISCHR(mode)  ? "character_device"
                            : "block_device";
}
