/*
 * import-oci: makes an EROFS image of an OCI image layout. A program of its own, because it reads hostile archives:
 * capsid runs it in mount and process namespaces, as an ordinary user also in a user namespace. What reads the
 * layers runs in a process that can see nothing but the tree, and may only own and change files in it.
 *
 * Usage: import-oci LAYOUT WORK INITD OUTPUT RESULT PACKAGES MAX-BYTES MAX-ENTRIES MAX-RATIO [CMD]
 *   LAYOUT   the OCI image layout          WORK    an empty directory; the caller removes it
 *   INITD    goes to /sbin/initd           OUTPUT  the EROFS file
 *   RESULT   gets a JSON object about the image
 *   PACKAGES gets the record of what it is made of: layers, and the packages they say they hold (image/packages.h)
 *   CMD      JSON list of strings, in place of the image's own CMD
 * A line on standard output for each step; after a failure the last line on standard error is "Error: ...".
 */
#include "base/child.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/process.h"
#include "oci/finish.h"
#include "oci/installed.h"
#include "oci/layer.h"
#include "oci/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* As rootfs/build-image: the same for all images, because contents tell images apart. */
#define EROFS_UUID "ca951d00-0000-4000-8000-000000000001"

struct import {
    const char *work, *initd, *output, *result, *packages;
    struct layer_limits limits;
    struct layout layout;
    json_t *cmd; /* owned; NULL: as the image says */
    char *tree;  /* owned; path of the root */
};

/* What the process that reads layers tells the one that started it; in memory that both see. */
struct outcome {
    struct layer_totals totals;
    struct error error;
};

/* From here on: only this tree, only what makes files in it belong to whom they should. */
static int confine(const char *tree, struct error *e)
{
    const uint64_t kept = 1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_FOWNER | 1u << CAP_FSETID;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{.effective = (uint32_t)kept, .permitted = (uint32_t)kept}};

    if (chroot(tree) < 0 || chdir("/") < 0)
        return error_errno(e, "chroot");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_capset, &header, data) < 0)
        return error_errno(e, "giving up privileges");
    return 0;
}

static int apply_blob(int blob, int scratch, int root, const struct import *i, const struct layout_layer *l,
                      struct outcome *o)
{
    char diff_id[DIGEST_HEX_SIZE];

    if (layer_unpack(blob, l->compression, scratch, &i->limits, diff_id, &o->error) < 0)
        return -1;
    if (strcmp(diff_id, l->diff_id) != 0)
        return error_set(&o->error, ERROR_CORRUPT,
                         "it unpacks to something else (SHA-256 %.16s...) than its configuration says",
                         diff_id);
    return layer_apply(scratch, root, &i->limits, &o->totals, &o->error);
}

static int apply_layer(struct import *i, size_t number, struct outcome *o, struct error *e)
{
    const struct layout_layer *l = &i->layout.layers[number];
    cleanup_fd int blob = layout_open_blob(&i->layout, &l->blob, e);
    cleanup_fd int scratch = open(i->work, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    int status = 0;

    if (blob < 0)
        return -1;
    if (scratch < 0)
        return error_errno(e, "no temporary file in %s", i->work);
    pid_t pid = fork();
    if (pid < 0)
        return error_errno(e, "fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        umask(0);
        int root = confine(i->tree, &o->error) < 0 ? -1 : open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _exit(root < 0 || apply_blob(blob, scratch, root, i, l, o) < 0);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (status == 0)
        return 0;
    if (WIFSIGNALED(status))
        return error_set(e, ERROR_CORRUPT, "reading it ended with signal %d", WTERMSIG(status));
    return error_set(e, o->error.kind, "%.900s", o->error.text);
}

static int apply_layers(struct import *i, struct layer_totals *ret, struct error *e)
{
    struct outcome *o = mmap(NULL, sizeof(*o), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int result = 0;

    if (o == MAP_FAILED)
        return error_errno(e, "mmap");
    for (size_t n = 0; n < i->layout.layer_count && result == 0; n++) {
        printf("layer %zu of %zu\n", n + 1, i->layout.layer_count);
        fflush(stdout);
        result = apply_layer(i, n, o, e);
        if (result < 0)
            error_wrap(e, "layer %zu (sha256:%.16s)", n + 1, i->layout.layers[n].blob.digest);
    }
    *ret = o->totals;
    munmap(o, sizeof(*o));
    return result;
}

static int finish(struct import *i, struct error *e)
{
    cleanup_fd int root = open(i->tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cleanup_fd int initd = open(i->initd, O_RDONLY | O_CLOEXEC);
    cleanup_free char *defaults = json_dumps(i->layout.defaults, JSON_INDENT(2) | JSON_SORT_KEYS);

    if (root < 0 || initd < 0)
        return error_errno(e, "cannot open %s", root < 0 ? i->tree : i->initd);
    return finish_tree(root, initd, defaults, e);
}

/* The same options as in rootfs/build-image. */
static int compress(struct import *i, struct error *e)
{
    cleanup_free char *time = text_format("-T%lld", (long long)i->layout.created);
    const char *argv[] = {
        "mkfs.erofs", "--quiet",       "-zlz4hc", "-C65536",
        time,         "-U" EROFS_UUID, "-x-1",    "--exclude-regex=^(dev|proc|sys|run|tmp)/",
        i->output,    i->tree,         NULL};
    struct child_spec spec = {
        .argv = argv, .stdin_fd = -1, .stdout_fd = STDERR_FILENO, .stderr_fd = STDERR_FILENO};
    struct child c = CHILD_NONE;
    int status = 0;

    printf("compressing\n");
    fflush(stdout);
    if (child_spawn(&c, &spec, e) < 0 || child_wait(&c, DEADLINE_NEVER, NULL, &status, e) < 0)
        return -1;
    if (status != 0)
        return error_set(e, ERROR_GENERAL, "mkfs.erofs failed; see the lines above");
    return 0;
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted, each line once. text is cut up. */
static void add_sorted(struct buffer *ret, struct buffer *text)
{
    size_t count = 0, at = 0;

    for (size_t n = 0; n < text->size; n++)
        count += text->data[n] == '\n';
    char **lines = memory_allocate((count + 1) * sizeof(*lines));
    for (char *rest = text->data, *line; at < count && (line = strsep(&rest, "\n"));)
        lines[at++] = line;
    qsort(lines, count, sizeof(*lines), compare_lines);
    for (size_t n = 0; n < count; n++)
        if (n == 0 || strcmp(lines[n], lines[n - 1]) != 0)
            buffer_add_text(ret, "%s\n", lines[n]);
    free(lines);
}

/* The record: each layer with the size and digest of its blob, and what the databases of packages say. */
static int write_packages(struct import *i, struct installed *installed, struct error *e)
{
    cleanup_buffer struct buffer all = {0};

    for (size_t n = 0; n < i->layout.layer_count; n++)
        buffer_add_text(&installed->lines, "layer %03zu %llu %s\n", n + 1,
                        (unsigned long long)i->layout.layers[n].blob.size, i->layout.layers[n].blob.digest);
    add_sorted(&all, &installed->lines);
    return file_replace(i->packages, i->work, all.data ? all.data : "", all.size, 0600, e);
}

static int record_packages(struct import *i, struct installed *ret, struct error *e)
{
    cleanup_fd int root = open(i->tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (root < 0)
        return error_errno(e, "cannot open %s", i->tree);
    if (installed_read(ret, root, e) < 0 || write_packages(i, ret, e) < 0) {
        buffer_free(&ret->lines);
        return -1;
    }
    buffer_free(&ret->lines);
    if (ret->rpm)
        printf("its rpm packages are not listed: their database is not read\n");
    if (ret->skipped)
        printf("%u of its packages are not listed: their names or versions are none\n", ret->skipped);
    fflush(stdout);
    return 0;
}

static int write_result(struct import *i, const struct layer_totals *t, const struct installed *installed,
                        struct error *e)
{
    json_t *layers = json_array(), *j = json_copy(i->layout.defaults);

    for (size_t n = 0; n < i->layout.layer_count; n++) {
        const struct layout_layer *l = &i->layout.layers[n];
        json_array_append_new(layers, json_pack("{s:s, s:s, s:I}", "digest", l->blob.digest, "diff_id",
                                                l->diff_id, "size", (json_int_t)l->blob.size));
    }
    json_object_set_new(j, "layers", layers);
    json_object_set_new(j, "manifest", json_string(i->layout.manifest.digest));
    json_object_set_new(j, "config", json_string(i->layout.config.digest));
    json_object_set_new(j, "created", json_integer(i->layout.created));
    json_object_set_new(j, "files", json_integer((json_int_t)t->entries));
    json_object_set_new(j, "bytes", json_integer((json_int_t)t->bytes));
    json_object_set_new(j, "xattrs_dropped", json_integer((json_int_t)t->xattrs));
    json_object_set_new(j, "packages_skipped", json_integer(installed->skipped));
    json_object_set_new(j, "rpm_not_listed", json_boolean(installed->rpm));
    cleanup_free char *text = json_dumps(j, JSON_INDENT(2));
    json_decref(j);
    return file_replace(i->result, i->work, text, strlen(text), 0600, e);
}

static int import(struct import *i, const char *layout, struct error *e)
{
    struct layer_totals totals = {0};
    struct installed installed;

    if (mkdir(i->tree, 0755) < 0)
        return error_errno(e, "cannot create %s", i->tree);
    if (layout_read(&i->layout, layout, e) < 0)
        return -1;
    if (i->cmd)
        json_object_set(i->layout.defaults, "cmd", i->cmd);
    if (apply_layers(i, &totals, e) < 0 || record_packages(i, &installed, e) < 0)
        return -1;
    printf("adding initd\n");
    fflush(stdout);
    if (finish(i, e) < 0 || compress(i, e) < 0)
        return -1;
    return write_result(i, &totals, &installed, e);
}

int main(int argc, char **argv)
{
    struct import i = {.limits = {LAYER_LIMITS_DEFAULT}};
    struct error e = {0};

    process_begin();
    signal(SIGCHLD, SIG_DFL); /* when it was ignored, nobody could wait for a child */
    /* libarchive gives names in the locale's encoding; with this one they stay the bytes they are. */
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        fprintf(stderr, "Warning: no locale C.UTF-8\n");
    if ((argc != 10 && argc != 11) || !text_to_u64(argv[7], 1, INT64_MAX, &i.limits.bytes) ||
        !text_to_u64(argv[8], 1, INT64_MAX, &i.limits.entries) ||
        !text_to_u64(argv[9], 1, INT64_MAX, &i.limits.ratio) ||
        (argc == 11 && !(i.cmd = json_loads(argv[10], 0, NULL)))) {
        fprintf(stderr, "Error: import-oci is part of capsid; see: capsid rootfs from-docker --help\n");
        return 2;
    }
    i.work = argv[2], i.initd = argv[3], i.output = argv[4], i.result = argv[5], i.packages = argv[6];
    i.tree = text_format("%s/tree", i.work);
    int result = import(&i, argv[1], &e);
    if (result < 0)
        fprintf(stderr, "Error: %s\n", e.text);
    layout_done(&i.layout);
    json_decref(i.cmd);
    free(i.tree);
    return result < 0;
}
