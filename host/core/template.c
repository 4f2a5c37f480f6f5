#include "core/template.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK (1u << 18)
#define PAGE 4096u

struct template
{
    struct vm_template files; /* owned */
    uint64_t size;
    atomic_uint owners;
};

/* One file on its way into memory. */
struct copy {
    int from, to;
    const char *path;
    EVP_MD_CTX *digest;
    char *chunk; /* CHUNK bytes */
    const struct cancel *cancel;
};

static const char zeros[PAGE];

static bool is_zero(const char *page, size_t size)
{
    return memcmp(page, zeros, size) == 0;
}

/* Writes a chunk; a page of zeros becomes a hole. */
static int put(const struct copy *c, size_t size, off_t at, struct error *e)
{
    for (size_t done = 0; done < size;) {
        size_t n = size - done < PAGE ? size - done : PAGE;
        if (!is_zero(c->chunk + done, n)) {
            /* As many pages in one go as there are. */
            while (n < size - done &&
                   !is_zero(c->chunk + done + n, size - done - n < PAGE ? size - done - n : PAGE))
                n += size - done - n < PAGE ? size - done - n : PAGE;
            ssize_t written = pwrite(c->to, c->chunk + done, n, at + (off_t)done);
            if (written < 0 && errno != EINTR)
                return error_errno(e, "cannot load %s into memory", c->path);
            n = written > 0 ? (size_t)written : 0;
        }
        done += n;
    }
    return 0;
}

/* The digest is of everything, so also of what is not stored. */
static int copy_hole(struct copy *c, off_t from, off_t to)
{
    memset(c->chunk, 0, CHUNK);
    for (; from < to; from += CHUNK)
        EVP_DigestUpdate(c->digest, c->chunk, to - from < (off_t)CHUNK ? (size_t)(to - from) : CHUNK);
    return 0;
}

static int copy_data(struct copy *c, off_t from, off_t to, struct error *e)
{
    while (from < to) {
        size_t wanted = to - from < (off_t)CHUNK ? (size_t)(to - from) : CHUNK;
        ssize_t n = pread(c->from, c->chunk, wanted, from);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(e, "cannot read %s", c->path);
        if (n == 0)
            return error_set(e, ERROR_CORRUPT, "%s became shorter while it was read", c->path);
        EVP_DigestUpdate(c->digest, c->chunk, (size_t)n);
        if (put(c, (size_t)n, from, e) < 0 || deadline_poll(NULL, 0, 0, c->cancel, e) < 0)
            return -1;
        from += n;
    }
    return 0;
}

static int copy_extents(struct copy *c, off_t size, struct error *e)
{
    if (ftruncate(c->to, size) < 0)
        return error_errno(e, "cannot load %s into memory", c->path);
    for (off_t at = 0; at < size;) {
        off_t data = lseek(c->from, at, SEEK_DATA);
        if (data < 0 && errno != ENXIO) /* ENXIO: nothing but a hole up to the end (lseek(2)) */
            return error_errno(e, "cannot read %s", c->path);
        data = data < 0 || data > size ? size : data;
        copy_hole(c, at, data);
        if (data == size)
            return 0;
        off_t hole = lseek(c->from, data, SEEK_HOLE);
        if (hole < 0)
            return error_errno(e, "cannot read %s", c->path);
        at = hole > size ? size : hole;
        if (copy_data(c, data, at, e) < 0)
            return -1;
    }
    return 0;
}

static int compare_digest(const struct copy *c, const char *wanted, struct error *e)
{
    unsigned char raw[32] = {0};
    char digest[DIGEST_HEX_SIZE];

    EVP_DigestFinal_ex(c->digest, raw, NULL);
    text_hex(raw, sizeof(raw), digest);
    if (strcmp(wanted, digest) != 0)
        return error_set(e, ERROR_CORRUPT, "%s is corrupt", c->path);
    return 0;
}

/* The sealed memory file, -1 with an error. */
static int load_file(const char *path, const char *wanted, const struct cancel *cancel, uint64_t *size,
                     struct error *e)
{
    cleanup_fd int from = file_open(path, O_RDONLY | O_NOFOLLOW, e);
    cleanup_fd int to = memfd_create("capsid-template", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    cleanup_free char *chunk = memory_allocate(CHUNK);
    struct stat st;

    if (from < 0)
        return -1;
    if (fstat(from, &st) < 0)
        return error_errno(e, "cannot open %s", path);
    if (to < 0)
        return error_errno(e, "memfd_create");
    struct copy c = {
        .from = from, .to = to, .path = path, .digest = EVP_MD_CTX_new(), .chunk = chunk, .cancel = cancel};
    EVP_DigestInit_ex(c.digest, EVP_sha256(), NULL);
    int result = copy_extents(&c, st.st_size, e);
    if (result == 0)
        result = compare_digest(&c, wanted, e);
    EVP_MD_CTX_free(c.digest);
    if (result < 0)
        return -1;
    if (file_seal(to) < 0 || fstat(to, &st) < 0)
        return error_errno(e, "cannot seal the copy of %s", path);
    *size += (uint64_t)st.st_blocks * 512;
    return take_fd(&to);
}

/* A file of the snapshot, compared with what the manifest says of it. */
static int load_named(const struct snapshot *s, const char *name, const struct cancel *cancel, uint64_t *size,
                      struct error *e)
{
    cleanup_free char *path = text_format("%s/%s", s->directory, name);
    char wanted[DIGEST_HEX_SIZE];

    return snapshot_read_digest(s, name, wanted, e) < 0 ? -1 : load_file(path, wanted, cancel, size, e);
}

int template_load(struct template **ret, const struct snapshot *snapshot, const struct cancel *cancel,
                  struct error *e)
{
    struct template *t = memory_allocate(sizeof(*t));

    *t = (struct template){.files = {.memory_fd = -1, .state_fd = -1}, .owners = 1};
    t->files.memory_fd = load_named(snapshot, SNAPSHOT_MEMORY, cancel, &t->size, e);
    if (t->files.memory_fd >= 0)
        t->files.state_fd = load_named(snapshot, SNAPSHOT_STATE, cancel, &t->size, e);
    if (t->files.state_fd < 0) {
        template_unref(t);
        return -1;
    }
    *ret = t;
    return 0;
}

struct template *template_ref(struct template *t)
{
    atomic_fetch_add(&t->owners, 1);
    return t;
}

void template_unref(struct template *t)
{
    if (!t || atomic_fetch_sub(&t->owners, 1) != 1)
        return;
    close_fd(&t->files.memory_fd);
    close_fd(&t->files.state_fd);
    free(t);
}

const struct vm_template *template_files(const struct template *t)
{
    return &t->files;
}

uint64_t template_size(const struct template *t)
{
    return t->size;
}
