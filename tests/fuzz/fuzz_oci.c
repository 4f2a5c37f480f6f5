/* links: host */
/*
 * What a registry may send: by the first byte an index, a manifest, a configuration, a compressed layer, a database of
 * packages, or two layers that are applied one after the other. Nothing may ever appear beside the tree.
 */
#include "base/file.h"
#include "image/packages.h"
#include "oci/installed.h"
#include "oci/layer.h"
#include "oci/layout.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define BLOCK 512
#define CHECKSUM 148 /* offset in a tar header, 8 bytes */
#define SIZE 124     /* the same, 12 bytes */

static char base[64];
static int base_fd, input_fd, output_fd;

static void check(int ok)
{
    if (!ok)
        abort();
}

static void clean_up(void)
{
    file_remove_tree(base, &(struct error){0});
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *parent = getenv("TMPDIR");

    (void)argc, (void)argv;
    snprintf(base, sizeof(base), "%.40s/oci-XXXXXX", parent ? parent : "/tmp");
    check(mkdtemp(base) != NULL);
    base_fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    input_fd = memfd_create("input", MFD_CLOEXEC);
    output_fd = memfd_create("output", MFD_CLOEXEC);
    check(base_fd >= 0 && input_fd >= 0 && output_fd >= 0);
    atexit(clean_up);
    return 0;
}

static void set_input(const uint8_t *data, size_t size)
{
    check(ftruncate(input_fd, 0) == 0 && pwrite(input_fd, data, size, 0) == (ssize_t)size);
}

/* Mutation breaks the headers' checksums, which would hide everything behind them. */
static void mend_checksums(uint8_t *tar, size_t size)
{
    for (size_t at = 0; at + BLOCK <= size;) {
        unsigned sum = 0;
        char length[13] = "";
        memset(tar + at + CHECKSUM, ' ', 8);
        for (size_t i = 0; i < BLOCK; i++)
            sum += tar[at + i];
        if (sum == 8 * ' ') { /* the end: two blocks of zeros */
            memset(tar + at + CHECKSUM, 0, 8);
            return;
        }
        snprintf((char *)tar + at + CHECKSUM, 8, "%06o", sum);
        memcpy(length, tar + at + SIZE, 12);
        size_t body = strtoul(length, NULL, 8);
        if (body > size)
            return;
        at += BLOCK + (body + BLOCK - 1) / BLOCK * BLOCK;
    }
}

static void check_beside(void)
{
    int copy = openat(base_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), count = 0;
    DIR *dir = fdopendir(copy);

    check(dir != NULL);
    while (readdir(dir))
        count++;
    closedir(dir);
    check(count == 3); /* with . and .. */
}

static void apply(const uint8_t *data, size_t size)
{
    const struct layer_limits limits = {.bytes = 1 << 20, .entries = 64, .ratio = 250};
    struct layer_totals totals = {0};
    struct error e = {0};
    size_t half = size / 2 / BLOCK * BLOCK;
    uint8_t *copy = malloc(size + 1);

    memcpy(copy, data, size);
    mend_checksums(copy, half);
    mend_checksums(copy + half, size - half);
    check(mkdirat(base_fd, "tree", 0755) == 0);
    int root = openat(base_fd, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    check(root >= 0);
    set_input(copy, half);
    layer_apply(input_fd, root, &limits, &totals, &e);
    check(totals.bytes <= limits.bytes && totals.entries <= limits.entries);
    set_input(copy + half, size - half);
    layer_apply(input_fd, root, &limits, &totals, &e);
    check(memchr(e.text, '\0', sizeof(e.text)) != NULL && !strchr(e.text, '\n'));
    check_beside();
    close(root);
    check(file_remove_tree_at(base_fd, "tree") == 0);
    free(copy);
}

static void unpack(const uint8_t *data, size_t size, enum layer_compression compression)
{
    const struct layer_limits limits = {.bytes = 1 << 20, .entries = 64, .ratio = 250};
    char digest[DIGEST_HEX_SIZE];
    struct error e = {0};
    struct stat st;

    set_input(data, size);
    check(ftruncate(output_fd, 0) == 0 && lseek(output_fd, 0, SEEK_SET) == 0);
    layer_unpack(input_fd, compression, output_fd, &limits, digest, &e);
    check(fstat(output_fd, &st) == 0 && st.st_size <= (off_t)limits.bytes);
}

/* Whatever a database of packages holds, its lines make a record. */
static void list_packages(const char *text, size_t size, void (*parse)(struct installed *, const char *))
{
    struct installed i = {0};
    struct packages p;
    struct error e = {0};
    char *copy = memory_allocate(size + 1);

    memcpy(copy, text, size);
    parse(&i, copy);
    if (i.lines.size > 0 && i.lines.size <= PACKAGES_MAX) {
        check(packages_parse(&p, i.lines.data, "record", &e) == 0);
        packages_done(&p);
    }
    buffer_free(&i.lines);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct layout l;
    struct layout_blob blob;
    struct error e = {0};
    bool nested;

    if (size < 1)
        return -1;
    const char *text = (const char *)data + 1;
    size--;
    switch (data[0]) {
    case 'i':
        layout_choose(text, size, &blob, &nested, &e);
        break;
    case 'm':
        if (layout_parse_manifest(&l, text, size, &e) == 0)
            check(l.layer_count > 0 && l.layer_count <= LAYOUT_LAYERS_MAX);
        break;
    case 'c':
        l.layer_count = 1;
        layout_parse_config(&l, text, size, &e);
        layout_done(&l);
        break;
    case 'g':
        unpack(data + 1, size, LAYER_GZIP);
        break;
    case 'z':
        unpack(data + 1, size, LAYER_ZSTD);
        break;
    case 't':
        apply(data + 1, size);
        break;
    case 'd':
        list_packages(text, size, installed_parse_dpkg);
        break;
    case 'a':
        list_packages(text, size, installed_parse_apk);
        break;
    default:
        return -1;
    }
    return 0;
}
