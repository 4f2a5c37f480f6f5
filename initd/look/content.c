#include "content.h"

#include "questions.h"
#include "tell.h"
#include "walk.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static char piece[LOOK_DATA_MAX];

int content_open(int directory, const char *name, bool follow)
{
    struct stat st;

    if (fstatat(directory, name, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    if (!S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        return -1;
    }
    return openat(directory, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));
}

int64_t content_read(int fd, void *data, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = read(fd, (char *)data + done, size - done);
        if (n < 0 && errno != EINTR)
            return -1;
        if (n == 0)
            break;
        done += n > 0 ? (size_t)n : 0;
    }
    return (int64_t)done;
}

/* So many bytes, or what there is. */
static void tell_content(int fd, uint64_t length, const char *path)
{
    while (length) {
        int64_t n = content_read(fd, piece, length < sizeof(piece) ? (size_t)length : sizeof(piece));
        if (n < 0)
            tell_failed(path);
        if (n == 0)
            return;
        tell_data(piece, (size_t)n);
        length -= (uint64_t)n;
    }
}

void look_read(const char *path, uint64_t offset, uint64_t length)
{
    int fd = content_open(AT_FDCWD, path, true);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        tell_failed(path);
    tell_entry("", &st, NULL);
    if (offset < (uint64_t)st.st_size) {
        if (lseek(fd, (off_t)offset, SEEK_SET) < 0)
            tell_failed(path);
        tell_content(fd, length, path);
    }
    tell_done(0, false, 0, NULL);
}

static bool tell_node(struct walk *w, int directory, const char *name, const char *path,
                      const struct stat *st)
{
    bool is_top = !path[0];
    int fd = S_ISREG(st->st_mode) ? content_open(directory, name, is_top) : -1;
    const char *target = S_ISLNK(st->st_mode) ? walk_target(directory, name) : NULL;

    if ((S_ISREG(st->st_mode) && fd < 0) || (S_ISLNK(st->st_mode) && !target)) {
        w->skipped++;
        return true;
    }
    tell_entry(path, st, target);
    if (fd >= 0) {
        tell_content(fd, (uint64_t)st->st_size, path);
        close(fd);
    }
    return true;
}

void look_walk(const char *path)
{
    struct walk w = {.visit = tell_node};

    walk_run(&w, path);
    tell_done(0, false, w.skipped, NULL);
}
