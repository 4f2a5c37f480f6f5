#include "store/blobs.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

char *blobs_path(const struct home *h, const struct blobs *b, const char *digest)
{
    return home_path(h, "%s/%s%s", b->place, digest, b->ending);
}

bool blobs_have(const struct home *h, const struct blobs *b, const char *digest)
{
    cleanup_free char *path = blobs_path(h, b, digest);

    return file_exists(path);
}

int blobs_put(const struct home *h, const struct blobs *b, const char *digest, const char *file,
              struct error *e)
{
    cleanup_free char *path = blobs_path(h, b, digest);

    return rename(file, path) < 0 ? error_errno(e, "cannot create %s", path) : 0;
}

int blobs_put_text(const struct home *h, const struct blobs *b, const char *digest, const char *text,
                   struct error *e)
{
    cleanup_free char *path = blobs_path(h, b, digest);

    return file_replace(path, h->scratch, text, strlen(text), 0600, e);
}

int blobs_remove(const struct home *h, const struct blobs *b, const char *digest, struct error *e)
{
    cleanup_free char *path = blobs_path(h, b, digest);

    return unlink(path) < 0 && errno != ENOENT ? error_errno(e, "cannot remove %s", path) : 0;
}

/* Whether the name is that of one of them. */
static bool parse_name(const struct blobs *b, const char *name, char ret[static DIGEST_HEX_SIZE])
{
    size_t size = DIGEST_HEX_SIZE - 1;

    if (strlen(name) != size + strlen(b->ending) || strcmp(name + size, b->ending) != 0)
        return false;
    memcpy(ret, name, size);
    ret[size] = '\0';
    return digest_is_hex(ret);
}

int blobs_each(const struct home *h, const struct blobs *b,
               int (*visit)(const struct blob *one, void *context), void *context, struct error *e)
{
    cleanup_free char *place = home_path(h, "%s", b->place);
    cleanup_dir DIR *dir = opendir(place);
    int result = 0;

    if (!dir)
        return error_errno(e, "cannot read %s", place);
    for (struct dirent *d; result == 0 && (d = readdir(dir));) {
        struct blob one;
        struct stat st;
        if (!parse_name(b, d->d_name, one.digest) || fstatat(dirfd(dir), d->d_name, &st, 0) < 0)
            continue;
        one.size = (uint64_t)st.st_size;
        one.allocated = (uint64_t)st.st_blocks * 512;
        one.created = st.st_mtim.tv_sec;
        result = visit(&one, context);
    }
    return result;
}
