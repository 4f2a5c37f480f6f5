#include "tell.h"

#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* The last frame always fits. */
static uint8_t out[4 * FRAME_MAX];
static size_t used;

static void flush(void)
{
    for (size_t done = 0; done < used;) {
        ssize_t n = write(STDOUT_FILENO, out + done, used - done);
        if (n < 0 && errno != EINTR)
            _exit(1);
        done += n > 0 ? (size_t)n : 0;
    }
    used = 0;
}

static void add_frame(size_t size)
{
    used += size;
    if (used > sizeof(out) - FRAME_MAX)
        flush();
}

static struct wire_bytes text_bytes(const char *s)
{
    return (struct wire_bytes){(const uint8_t *)s, s ? (uint32_t)strlen(s) : 0};
}

void tell_entry(const char *name, const struct stat *st, const char *target)
{
    bool device = S_ISBLK(st->st_mode) || S_ISCHR(st->st_mode);
    const struct look_msg_entry m = {.mode = st->st_mode,
                                     .uid = st->st_uid,
                                     .gid = st->st_gid,
                                     .size = S_ISDIR(st->st_mode) ? 0 : (uint64_t)st->st_size,
                                     .mtime_s = (uint64_t)st->st_mtim.tv_sec,
                                     .mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
                                     .major = device ? major(st->st_rdev) : 0,
                                     .minor = device ? minor(st->st_rdev) : 0,
                                     .name = text_bytes(name),
                                     .target = text_bytes(target)};

    add_frame(look_entry_frame(&m, out + used, FRAME_MAX));
}

void tell_data(const void *data, size_t size)
{
    const struct look_msg_data m = {.data = {data, (uint32_t)size}};

    add_frame(look_data_frame(&m, out + used, FRAME_MAX));
}

void tell_match(const char *path, uint64_t line, const char *text, size_t size)
{
    bool cut = size > LOOK_TEXT_MAX;
    const struct look_msg_match m = {
        .line = line,
        .path = text_bytes(path),
        .text = {(const uint8_t *)text, cut ? LOOK_TEXT_MAX : (uint32_t)size},
        .cut = cut,
    };

    add_frame(look_match_frame(&m, out + used, FRAME_MAX));
}

void tell_done(int os_errno, bool truncated, uint64_t skipped, const char *text)
{
    struct look_msg_done m = {
        .os_errno = (uint32_t)os_errno, .truncated = truncated, .skipped = skipped, .text = text_bytes(text)};

    if (m.text.size > LOOK_TEXT_MAX)
        m.text.size = LOOK_TEXT_MAX;
    add_frame(look_done_frame(&m, out + used, FRAME_MAX));
    flush();
    _exit(0);
}

void tell_failed(const char *path)
{
    tell_done(errno, false, 0, path);
}
