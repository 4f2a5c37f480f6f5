#include "core/look_tar.h"

#include "base/cleanup.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define BLOCK 512

struct ustar { /* POSIX.1-2017, pax */
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, target[100], magic[6],
        version[2], user[32], group[32], major[8], minor[8], prefix[155], unused[12];
};
_Static_assert(sizeof(struct ustar) == BLOCK, "a header is a block");

struct archive {
    look_write *write;
    void *context;
    const char *top;  /* what the walk's own path is called, where it is no directory */
    uint64_t padding; /* behind the content that comes */
};

static char tar_type(uint32_t mode)
{
    return S_ISREG(mode)    ? '0'
           : S_ISLNK(mode)  ? '2'
           : S_ISCHR(mode)  ? '3'
           : S_ISBLK(mode)  ? '4'
           : S_ISDIR(mode)  ? '5'
           : S_ISFIFO(mode) ? '6'
                            : '\0';
}

/* Octal digits and a NUL; false: there is no room, and 0 is there. */
static bool put_octal(char *field, size_t size, uint64_t value)
{
    bool fits = value >> (3 * (size - 1)) == 0;

    snprintf(field, size, "%0*llo", (int)size - 1, fits ? (unsigned long long)value : 0ull);
    return fits;
}

/* A NUL is not needed behind the last byte. */
static bool put_field(char *field, size_t size, const char *text)
{
    size_t length = strlen(text);

    memcpy(field, text, length < size ? length : size);
    return length <= size;
}

static void put_checksum(struct ustar *h)
{
    unsigned sum = 0;

    memset(h->checksum, ' ', sizeof(h->checksum));
    for (size_t i = 0; i < BLOCK; i++)
        sum += ((const unsigned char *)h)[i];
    snprintf(h->checksum, 7, "%06o", sum);
}

/* "LENGTH NAME=VALUE\n", whose length counts itself. */
static void add_record(struct buffer *pax, const char *name, const char *value)
{
    size_t rest = strlen(name) + strlen(value) + 3, size = rest + 1;

    for (size_t before = 0; before != size;) {
        before = size;
        size = rest + (size_t)snprintf(NULL, 0, "%zu", size);
    }
    buffer_add_text(pax, "%zu %s=%s\n", size, name, value);
}

static void add_number(struct buffer *pax, const char *name, int64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)value);
    add_record(pax, name, text);
}

/* What has no room goes to pax. */
static void fill(struct ustar *h, const struct look_file *f, const char *name, struct buffer *pax)
{
    *h = (struct ustar){.type = tar_type(f->mode), .magic = "ustar", .version = {'0', '0'}};
    put_octal(h->mode, sizeof(h->mode), f->mode & 07777);
    put_octal(h->major, sizeof(h->major), f->major);
    put_octal(h->minor, sizeof(h->minor), f->minor);
    if (!put_field(h->name, sizeof(h->name), name))
        add_record(pax, "path", name);
    if (f->target && !put_field(h->target, sizeof(h->target), f->target))
        add_record(pax, "linkpath", f->target);
    if (!put_octal(h->uid, sizeof(h->uid), f->uid))
        add_number(pax, "uid", f->uid);
    if (!put_octal(h->gid, sizeof(h->gid), f->gid))
        add_number(pax, "gid", f->gid);
    if (!put_octal(h->size, sizeof(h->size), f->size))
        add_number(pax, "size", (int64_t)f->size);
    if (f->mtime_s < 0 || !put_octal(h->mtime, sizeof(h->mtime), (uint64_t)f->mtime_s)) {
        put_octal(h->mtime, sizeof(h->mtime), 0);
        add_number(pax, "mtime", f->mtime_s);
    }
    put_checksum(h);
}

static int write_bytes(const struct archive *a, const void *data, size_t size, struct error *e)
{
    return size ? a->write(a->context, data, size, e) : 0;
}

static uint64_t padding_of(uint64_t size)
{
    return (BLOCK - size % BLOCK) % BLOCK;
}

static int write_zeros(const struct archive *a, uint64_t size, struct error *e)
{
    static const char zeros[2 * BLOCK];

    return write_bytes(a, zeros, (size_t)size, e);
}

static int write_pax(const struct archive *a, const struct buffer *pax, struct error *e)
{
    struct ustar h = {.name = "pax", .type = 'x', .magic = "ustar", .version = {'0', '0'}};

    put_octal(h.mode, sizeof(h.mode), 0644);
    put_octal(h.uid, sizeof(h.uid), 0);
    put_octal(h.gid, sizeof(h.gid), 0);
    put_octal(h.size, sizeof(h.size), pax->size);
    put_octal(h.mtime, sizeof(h.mtime), 0);
    put_checksum(&h);
    return write_bytes(a, &h, sizeof(h), e) < 0 || write_bytes(a, pax->data, pax->size, e) < 0
               ? -1
               : write_zeros(a, padding_of(pax->size), e);
}

/* Directories have a slash behind them. */
static char *name_in_archive(const struct archive *a, const struct look_file *f)
{
    const char *name = f->name[0] ? f->name : S_ISDIR(f->mode) ? "." : a->top;

    return text_format("%s%s", name, S_ISDIR(f->mode) ? "/" : "");
}

static int end_content(struct archive *a, struct error *e)
{
    uint64_t padding = a->padding;

    a->padding = 0;
    return write_zeros(a, padding, e);
}

static int archive_file(void *archive, const struct look_file *f, struct error *e)
{
    struct archive *a = archive;
    cleanup_free char *name = name_in_archive(a, f);
    cleanup_buffer struct buffer pax = {0};
    struct ustar h;

    if (end_content(a, e) < 0)
        return -1;
    if (!tar_type(f->mode))
        return 0;
    fill(&h, f, name, &pax);
    a->padding = padding_of(f->size);
    if (pax.size && write_pax(a, &pax, e) < 0)
        return -1;
    return write_bytes(a, &h, sizeof(h), e);
}

static int archive_data(void *archive, const void *data, size_t size, struct error *e)
{
    return write_bytes(archive, data, size, e);
}

const char *look_last_name(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

    return name[0] && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 ? name : "file";
}

int look_archive(struct look *l, const char *path, uint64_t bytes, look_write *write, void *context,
                 struct look_end *ret, struct error *e)
{
    struct archive a = {.write = write, .context = context, .top = look_last_name(path)};
    const struct look_visitor visitor = {.on_file = archive_file, .on_data = archive_data, .context = &a};

    if (look_walk(l, path, bytes, &visitor, ret, e) < 0 || end_content(&a, e) < 0)
        return -1;
    return write_zeros(&a, (uint64_t)2 * BLOCK, e);
}
