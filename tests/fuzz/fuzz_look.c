/* links: host */
/* What a guest may tell of an image's files: nothing breaks the host, and a visitor sees only what was asked for. */
#include "core/look_stream.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BYTES_MAX 100000

static struct {
    enum look_question question;
    uint64_t files, bytes, matches;
} seen;

static void check_path(const char *path)
{
    size_t size = strlen(path);

    if (path[0] == '/' || size > LOOK_PATH_MAX || (size && path[size - 1] == '/') || strstr(path, "//") ||
        strcmp(path, "..") == 0 || strncmp(path, "../", 3) == 0 || strstr(path, "/../") ||
        (size > 2 && strcmp(path + size - 3, "/..") == 0))
        abort();
}

static int on_file(void *context, const struct look_file *f, struct error *e)
{
    (void)context, (void)e;
    check_path(f->name);
    if ((seen.files++ == 0) != (f->name[0] == '\0') || S_ISLNK(f->mode) != (f->target != NULL) ||
        (seen.question == LOOK_LIST && seen.files > 4) || (seen.question == LOOK_READ && !S_ISREG(f->mode)) ||
        seen.question == LOOK_GREP)
        abort();
    return 0;
}

static int on_data(void *context, const void *data, size_t size, struct error *e)
{
    static char copy[LOOK_DATA_MAX];

    (void)context, (void)e;
    memcpy(copy, data, size);
    seen.bytes += size;
    if (seen.files == 0 || size == 0 || seen.bytes > BYTES_MAX)
        abort();
    return 0;
}

static int on_match(void *context, const struct look_match *m, struct error *e)
{
    static char copy[LOOK_TEXT_MAX];

    (void)context, (void)e;
    check_path(m->path);
    memcpy(copy, m->text, m->size);
    if (++seen.matches > 5 || m->line == 0 || seen.question != LOOK_GREP)
        abort();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The question in a byte; then pieces, their length in a byte. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct look_bounds bounds = {.files = 3, .bytes = BYTES_MAX, .matches = 5};
    const struct look_visitor visitor = {on_file, on_data, on_match, NULL};
    struct look_end end;
    struct error e = {0};
    int result = 0;

    if (size == 0)
        return 0;
    memset(&seen, 0, sizeof(seen));
    seen.question = data[0] % 4;
    struct look_stream *s = look_stream_open(seen.question, &bounds, &visitor);
    for (data++, size--; size && result == 0;) {
        size_t n = data[0] < size - 1 ? data[0] : size - 1;
        result = look_stream_take(s, data + 1, n, &e);
        data += 1 + n;
        size -= 1 + n;
    }
    if (result == 0)
        look_stream_end(s, &end, &e);
    look_stream_close(s);
    return 0;
}
