/* What can be computed again: where it cannot be kept, that is done each time. */
#include "store/home.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CACHED_MAX 512 /* bytes of a remembered digest */

/* What the process itself lacks is no fault of a cache, and stops it elsewhere, where it is told. */
static bool cache_is_to_blame(int cause)
{
    return cause != EMFILE && cause != ENFILE && cause != ENOMEM;
}

bool home_cache_read(const struct home *h, const char *name, size_t max, struct buffer *ret)
{
    cleanup_free char *path = home_path(h, "cache/%s", name);
    cleanup_fd int fd = -1;
    struct error why = {0};

    if (access(path, F_OK) == 0)
        fd = file_open(path, O_RDONLY | O_NOFOLLOW, &why);
    bool read = fd >= 0 && file_read_fd(fd, path, max, ret, &why) == 0;
    if (why.text[0] && cache_is_to_blame(errno))
        log_warning("%s; what it holds is found out anew", why.text);
    if (!read)
        buffer_free(ret);
    return read;
}

void home_cache_write(const struct home *h, const char *name, const char *text)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;
    cleanup_free char *path = home_path(h, "cache/%s", name);
    struct error why = {0};

    if (file_replace(path, h->scratch, text, strlen(text), 0600, &why) == 0)
        return;
    int cause = errno;
    if (cache_is_to_blame(cause) && !atomic_flag_test_and_set(&told))
        log_warning("%s; this takes longer each time, until %s", why.text,
                    cause == ENOSPC || cause == EDQUOT || cause == EFBIG ? "there is room"
                                                                         : "it can be written");
}

/* One line: what identifies the state of a file. */
static void describe_state(const struct stat *st, char out[static 160])
{
    snprintf(out, 160, "%llu %llu %lld %lld.%09ld %lld.%09ld", (unsigned long long)st->st_dev,
             (unsigned long long)st->st_ino, (long long)st->st_size, (long long)st->st_mtim.tv_sec,
             st->st_mtim.tv_nsec, (long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
}

/* "STATE DIGEST\n" */
static bool cached_digest(const struct home *h, const char *name, const char *state, char ret[static 65])
{
    cleanup_buffer struct buffer line = {0};
    size_t size = strlen(state);

    if (!home_cache_read(h, name, CACHED_MAX, &line) || line.size != size + DIGEST_HEX_SIZE + 1 ||
        strncmp(line.data, state, size) != 0 || line.data[size] != ' ' || line.data[line.size - 1] != '\n')
        return false;
    line.data[line.size - 1] = '\0';
    if (!digest_is_hex(line.data + size + 1))
        return false;
    memcpy(ret, line.data + size + 1, DIGEST_HEX_SIZE);
    return true;
}

/* Under which name the digest of path is remembered; the caller frees it. */
static char *digest_cache(const char *path)
{
    char path_digest[DIGEST_HEX_SIZE];

    digest_bytes(path, strlen(path), path_digest);
    return text_format("digest-%.32s", path_digest);
}

void home_forget_digest(const struct home *h, const char *path)
{
    cleanup_free char *name = digest_cache(path);
    cleanup_free char *cache = home_path(h, "cache/%s", name);

    unlink(cache);
}

static int find_digest(const struct home *h, const char *path,
                       int (*compute)(int fd, const struct cancel *cancel, char ret[static DIGEST_HEX_SIZE],
                                      struct error *e),
                       char ret[static 65], struct error *e)
{
    cleanup_fd int fd = file_open(path, O_RDONLY, e);
    char state[160], after[160];
    struct stat st;

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) < 0)
        return error_errno(e, "cannot open %s", path);
    cleanup_free char *name = digest_cache(path);
    describe_state(&st, state);
    if (cached_digest(h, name, state, ret))
        return 0;

    if (compute(fd, NULL, ret, e) < 0)
        return error_wrap(e, "%s", path);
    /* A file that changed within the clock's granularity would keep the same state; do not remember those. */
    if (fstat(fd, &st) == 0 && clock_realtime_ns() / 1000000000 - st.st_ctim.tv_sec > 1) {
        describe_state(&st, after);
        cleanup_free char *line = text_format("%s %s\n", after, ret);
        if (strcmp(after, state) == 0)
            home_cache_write(h, name, line);
    }
    return 0;
}

int home_digest(const struct home *h, const char *path, char ret[static 65], struct error *e)
{
    return find_digest(h, path, digest_fd, ret, e);
}

int home_digest_sparse(const struct home *h, const char *path, char ret[static 65], struct error *e)
{
    return find_digest(h, path, digest_sparse_fd, ret, e);
}
