/* oci/: layers, also hostile ones, applied to a tree; manifests and configurations. */
#include "base/cleanup.h"
#include "base/file.h"
#include "oci/finish.h"
#include "oci/installed.h"
#include "oci/layer.h"
#include "oci/layout.h"

#include "unit.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char base[32];
static char *tree;
static int root = -1;
static struct error e;
static struct layer_limits limits;
static struct layer_totals totals;

static void setup(void)
{
    strcpy(base, "/tmp/capsid-oci-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    tree = text_format("%s/tree", base);
    ck_assert_int_eq(mkdir(tree, 0755), 0);
    root = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    e = (struct error){0};
    limits = (struct layer_limits){LAYER_LIMITS_DEFAULT};
    totals = (struct layer_totals){0};
}

static void teardown(void)
{
    close(root);
    free(tree);
    file_remove_tree(base, &(struct error){0});
}

/* ---- making archives ------------------------------------------------------------------------------ */

struct tar {
    struct archive *a;
    int fd;
};

static int temporary(void)
{
    int fd = open(base, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    return fd;
}

static struct tar tar_begin(void)
{
    struct tar t = {.a = archive_write_new(), .fd = temporary()};

    archive_write_set_format_pax(t.a);
    archive_write_set_bytes_in_last_block(t.a, 1);
    ck_assert_int_eq(archive_write_open_fd(t.a, t.fd), ARCHIVE_OK);
    return t;
}

/* type as in stat(2); 0: hard link. link is the target of either link. */
static void tar_entry(struct tar *t, const char *path, mode_t type, mode_t mode, const char *link,
                      const char *content)
{
    struct archive_entry *entry = archive_entry_new();

    archive_entry_set_pathname(entry, path);
    archive_entry_set_filetype(entry, type ? type : AE_IFREG);
    archive_entry_set_perm(entry, mode);
    archive_entry_set_uid(entry, geteuid());
    archive_entry_set_gid(entry, getegid());
    archive_entry_set_size(entry, content ? (la_int64_t)strlen(content) : 0);
    if (type == S_IFLNK)
        archive_entry_set_symlink(entry, link);
    else if (type == 0)
        archive_entry_set_hardlink(entry, link);
    /* It warns of names that are not UTF-8. */
    ck_assert_int_ge(archive_write_header(t->a, entry), ARCHIVE_WARN);
    if (content)
        ck_assert_int_eq(archive_write_data(t->a, content, strlen(content)), (la_ssize_t)strlen(content));
    archive_entry_free(entry);
}

#define tar_file(t, path, content) tar_entry(t, path, S_IFREG, 0644, NULL, content)
#define tar_directory(t, path) tar_entry(t, path, S_IFDIR, 0755, NULL, NULL)
#define tar_symlink(t, path, target) tar_entry(t, path, S_IFLNK, 0777, target, NULL)
#define tar_hardlink(t, path, target) tar_entry(t, path, 0, 0644, target, NULL)

static int tar_apply(struct tar *t)
{
    archive_write_close(t->a);
    archive_write_free(t->a);
    int result = layer_apply(t->fd, root, &limits, &totals, &e);
    close(t->fd);
    return result;
}

static void apply_ok(struct tar *t)
{
    ck_assert_msg(tar_apply(t) == 0, "%s", e.text);
}

static void refused(struct tar *t, const char *path, const char *why)
{
    ck_assert_int_lt(tar_apply(t), 0);
    ck_assert_msg(strstr(e.text, path) && strstr(e.text, why), "%s", e.text);
    ck_assert_ptr_null(strchr(e.text, '\n'));
    ck_assert(!file_exists("/tmp/capsid-oci-evil"));
}

static struct stat look(const char *path)
{
    struct stat st = {0};

    ck_assert_msg(fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) == 0, "%s is not there", path);
    return st;
}

static bool there(const char *path)
{
    struct stat st;

    return fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void holds(const char *path, const char *content)
{
    char *whole = text_format("%s/%s", tree, path);
    struct buffer b = {0};

    ck_assert_int_eq(file_read(whole, 1 << 20, &b, &e), 0);
    ck_assert_str_eq(b.data, content);
    buffer_free(&b);
    free(whole);
}

/* ---- layers as they should be ---------------------------------------------------------------------- */

START_TEST(files_modes_and_links_are_kept)
{
    char name[300];
    struct tar t = tar_begin();

    tar_entry(&t, "./", S_IFDIR, 0755, NULL, NULL);
    tar_directory(&t, "d");
    tar_file(&t, "/d/absolute", "a");
    tar_entry(&t, "d/setuid", S_IFREG, 06755, NULL, "s");
    tar_entry(&t, "d/sticky/", S_IFDIR, 01777, NULL, NULL);
    tar_symlink(&t, "d/link", "/etc/passwd");
    tar_hardlink(&t, "d/hard", "./d/absolute");
    tar_file(&t, "no/parent/yet", "p");
    memset(name, 'n', 255);
    strcpy(name + 255, "/x");
    tar_file(&t, name, "long");
    tar_file(&t, "d/\303\244\377", "bytes");
    apply_ok(&t);
    holds("d/absolute", "a");
    ck_assert_uint_eq(look("d/setuid").st_mode, S_IFREG | 06755);
    ck_assert_uint_eq(look("d/sticky").st_mode, S_IFDIR | 01777);
    ck_assert(S_ISLNK(look("d/link").st_mode));
    ck_assert_uint_eq(look("d/hard").st_ino, look("d/absolute").st_ino);
    holds("no/parent/yet", "p");
    holds(name, "long");
    holds("d/\303\244\377", "bytes");
    ck_assert_uint_eq(totals.entries, 10);
}
END_TEST

START_TEST(a_later_entry_replaces_an_earlier_one)
{
    struct tar t = tar_begin();

    tar_file(&t, "x", "first");
    tar_file(&t, "x", "second");
    tar_directory(&t, "y");
    tar_file(&t, "y/in", "1");
    tar_file(&t, "y", "file now");
    tar_symlink(&t, "z", "x");
    tar_file(&t, "z", "not through the link");
    tar_symlink(&t, "w", "d");
    tar_directory(&t, "d");
    tar_directory(&t, "w");
    apply_ok(&t);
    holds("x", "second");
    holds("y", "file now");
    holds("z", "not through the link");
    ck_assert(S_ISDIR(look("w").st_mode));
}
END_TEST

START_TEST(a_directory_keeps_its_contents)
{
    struct tar t = tar_begin();

    tar_file(&t, "d/x", "1");
    apply_ok(&t);
    t = tar_begin();
    tar_entry(&t, "d", S_IFDIR, 0700, NULL, NULL);
    apply_ok(&t);
    holds("d/x", "1");
    ck_assert_uint_eq(look("d").st_mode, S_IFDIR | 0700);
}
END_TEST

START_TEST(whiteouts_hide_what_earlier_layers_left)
{
    struct tar t = tar_begin();

    tar_file(&t, "d/file", "1");
    tar_file(&t, "d/tree/deep/file", "1");
    tar_file(&t, "d/stays", "1");
    tar_symlink(&t, "d/link", "stays");
    apply_ok(&t);
    t = tar_begin();
    tar_file(&t, "d/.wh.file", "");
    tar_file(&t, "d/.wh.tree", "");
    tar_file(&t, "d/.wh.link", "");
    tar_file(&t, "d/.wh.never", "");
    tar_file(&t, "nowhere/.wh.x", "");
    apply_ok(&t);
    ck_assert(!there("d/file") && !there("d/tree") && !there("d/link") && !there("d/.wh.file") &&
              !there("nowhere"));
    holds("d/stays", "1");
}
END_TEST

/* In whichever order they come: a layer's whiteouts are for the layers below it. */
START_TEST(whiteouts_spare_their_own_layer)
{
    struct tar t = tar_begin();

    tar_file(&t, "d/old", "1");
    tar_file(&t, "d/sub/old", "1");
    tar_file(&t, "f", "1");
    apply_ok(&t);
    t = tar_begin();
    tar_directory(&t, "d");
    tar_file(&t, "d/new", "2");
    tar_file(&t, "d/.wh..wh..opq", "");
    tar_file(&t, "f", "2");
    tar_file(&t, ".wh.f", "");
    apply_ok(&t);
    ck_assert(!there("d/old") && !there("d/sub"));
    holds("d/new", "2");
    holds("f", "2");
}
END_TEST

START_TEST(an_opaque_root_empties_the_tree)
{
    struct tar t = tar_begin();

    tar_file(&t, "old", "1");
    apply_ok(&t);
    t = tar_begin();
    tar_file(&t, ".wh..wh..opq", "");
    tar_file(&t, "new", "2");
    apply_ok(&t);
    ck_assert(!there("old"));
    holds("new", "2");
}
END_TEST

START_TEST(relative_links_within_the_tree_are_followed)
{
    struct tar t = tar_begin();

    tar_directory(&t, "usr/lib");
    tar_symlink(&t, "lib", "usr/lib");
    apply_ok(&t);
    t = tar_begin();
    tar_file(&t, "lib/x", "1");
    tar_file(&t, "lib/made/y", "1");
    apply_ok(&t);
    holds("usr/lib/x", "1");
    holds("usr/lib/made/y", "1");
    ck_assert(S_ISLNK(look("lib").st_mode));
}
END_TEST

START_TEST(a_hard_link_to_itself_is_harmless)
{
    struct tar t = tar_begin();

    tar_file(&t, "x", "kept");
    tar_hardlink(&t, "x", "x");
    apply_ok(&t);
    holds("x", "kept");
}
END_TEST

/* ---- hostile layers -------------------------------------------------------------------------------- */

START_TEST(paths_do_not_leave_the_tree)
{
    static const char *const paths[] = {"..", "../tmp/capsid-oci-evil", "a/../../x", "/../x", "a/.."};

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct tar t = tar_begin();
        tar_file(&t, paths[i], "evil");
        refused(&t, paths[i], "a path contains \"..\"");
    }
}
END_TEST

START_TEST(links_as_directories_do_not_leave_the_tree)
{
    static const char *const targets[] = {"/", "/tmp", "..", "../..", "d/../../..", "/proc/self/root"};

    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        struct tar t = tar_begin();
        tar_directory(&t, "d");
        tar_symlink(&t, "door", targets[i]);
        tar_file(&t, "door/capsid-oci-evil", "evil");
        refused(&t, "door/capsid-oci-evil", "absolute or leaves the image");
    }
}
END_TEST

/* The same by way of a whiteout, which would remove something outside. */
START_TEST(whiteouts_do_not_leave_the_tree)
{
    char *outside = text_format("%s/outside", base), *file = text_format("%s/x", outside);
    static const char *const names[] = {"door/.wh.x", "door/sub/.wh..wh..opq"};

    ck_assert_int_eq(file_make_directories(file, &e), 0);
    struct tar t = tar_begin();
    tar_symlink(&t, "door", outside);
    apply_ok(&t);
    for (size_t i = 0; i < 2; i++) {
        t = tar_begin();
        tar_file(&t, names[i], "");
        refused(&t, names[i], "absolute or leaves the image");
    }
    /* An opaque link is no directory of the tree; nothing is in it. */
    t = tar_begin();
    tar_file(&t, "door/.wh..wh..opq", "");
    apply_ok(&t);
    ck_assert(file_exists(file));
    free(outside);
    free(file);
}
END_TEST

START_TEST(whiteouts_have_possible_names)
{
    static const char *const names[] = {"d/.wh.", "d/.wh..", "d/.wh...", "d/.wh..wh.plnk", ".wh.d/x"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct tar t = tar_begin();
        tar_file(&t, "d/x", "1");
        tar_file(&t, names[i], "");
        refused(&t, names[i], i < 4 ? "whiteout of no possible name" : "begins with .wh.");
    }
}
END_TEST

START_TEST(hard_links_do_not_leave_the_tree)
{
    static const struct {
        const char *target, *why;
    } cases[] = {{"../../etc/passwd", "a path contains \"..\""},
                 {"/etc/passwd", "not in the image"},
                 {"door/passwd", "absolute or leaves the image"},
                 {"d", "hard link to the directory"},
                 {"/", "hard link to the root"},
                 {"nowhere/x", "hard link to nowhere/x"}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tar t = tar_begin();
        tar_directory(&t, "d");
        tar_directory(&t, "etc");
        tar_symlink(&t, "door", "/etc");
        tar_hardlink(&t, "stolen", cases[i].target);
        refused(&t, "stolen", cases[i].why);
    }
}
END_TEST

START_TEST(devices_and_fifos_are_refused_before_anything_is_changed)
{
    static const mode_t types[] = {S_IFCHR, S_IFBLK, S_IFIFO};

    for (size_t i = 0; i < 3; i++) {
        struct tar t = tar_begin();
        tar_file(&t, "innocent", "x");
        tar_entry(&t, "dev/thing", types[i], 0666, NULL, NULL);
        refused(&t, "dev/thing", "not allowed in an image");
        ck_assert(!there("innocent"));
    }
}
END_TEST

START_TEST(names_in_messages_are_escaped)
{
    struct tar t = tar_begin();

    tar_file(&t, "\033[2J\nError: gone/../x", "");
    refused(&t, "\\x1b[2J\\x0aError: gone/../x", "a path contains");
}
END_TEST

START_TEST(limits_hold)
{
    char *deep = memory_allocate(2 * 200 + 1), name[300];
    struct tar t = tar_begin();

    for (int i = 0; i < 200; i++)
        memcpy(deep + 2 * i, "d/", 2);
    tar_file(&t, deep, "");
    refused(&t, "d/d/d", "more than 128 directories deep");
    free(deep);

    t = tar_begin();
    memset(name, 'n', 256);
    name[256] = '\0';
    tar_file(&t, name, "");
    refused(&t, "nnnn", "more than 255 bytes");

    limits.entries = 2;
    t = tar_begin();
    tar_file(&t, "1", "");
    tar_file(&t, "2", "");
    tar_file(&t, "third", "");
    refused(&t, "third", "more than 2 files");

    limits = (struct layer_limits){LAYER_LIMITS_DEFAULT};
    limits.bytes = 10;
    t = tar_begin();
    tar_file(&t, "first", "123456");
    apply_ok(&t);
    t = tar_begin();
    tar_file(&t, "second", "12345"); /* the layers together are too large */
    refused(&t, "second", "more than the limit of 10 bytes");
}
END_TEST

/* Depth by way of links: each is short, and leads further down. */
START_TEST(links_do_not_lead_ever_deeper)
{
    char path[2 * 100 + 8] = "l/";
    struct tar t = tar_begin();

    for (int i = 0; i < 100; i++)
        strcat(path, "d/");
    tar_directory(&t, path);
    tar_symlink(&t, "n", path);
    path[0] = 'n';
    tar_directory(&t, path);
    refused(&t, "n/d/d", "more than 128 directories deep");
}
END_TEST

START_TEST(damaged_archives_are_refused)
{
    struct tar t = tar_begin();
    struct stat st;

    tar_file(&t, "x", "0123456789");
    archive_write_close(t.a);
    ck_assert_int_eq(fstat(t.fd, &st), 0);
    for (off_t size = st.st_size - 1; size > 0; size -= 37) {
        ck_assert_int_eq(ftruncate(t.fd, size), 0);
        int result = layer_apply(t.fd, root, &limits, &totals, &e);
        ck_assert_msg(result < 0 || size >= 512 + 10, "%lld bytes were taken", (long long)size);
    }
    archive_write_free(t.a);
    close(t.fd);
}
END_TEST

/* ---- compression ----------------------------------------------------------------------------------- */

static int compress(int filter, size_t size)
{
    struct archive *a = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    char *zeros = memory_allocate(1 << 20);
    int fd = temporary();

    archive_write_set_format_raw(a);
    ck_assert_int_eq(archive_write_add_filter(a, filter), ARCHIVE_OK);
    ck_assert_int_eq(archive_write_open_fd(a, fd), ARCHIVE_OK);
    archive_entry_set_filetype(entry, AE_IFREG);
    ck_assert_int_eq(archive_write_header(a, entry), ARCHIVE_OK);
    for (size_t done = 0; done < size; done += 1 << 20) {
        size_t part = size - done < 1 << 20 ? size - done : 1 << 20;
        ck_assert_int_eq(archive_write_data(a, zeros, part), (la_ssize_t)part);
    }
    archive_entry_free(entry);
    archive_write_close(a);
    archive_write_free(a);
    free(zeros);
    return fd;
}

START_TEST(gzip_and_zstd_are_unpacked)
{
    static const int filters[] = {ARCHIVE_FILTER_NONE, ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_ZSTD};
    static const enum layer_compression compressions[] = {LAYER_PLAIN, LAYER_GZIP, LAYER_ZSTD};

    for (size_t i = 0; i < 3; i++) {
        int fd = compress(filters[i], 1024), out = temporary();
        char digest[DIGEST_HEX_SIZE];
        struct stat st;
        ck_assert_msg(layer_unpack(fd, compressions[i], out, &limits, digest, &e) == 0, "%s", e.text);
        ck_assert_str_eq(digest, "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef");
        ck_assert_int_eq(fstat(out, &st), 0);
        ck_assert_int_eq(st.st_size, 1024);
        ck_assert_int_lt(
            layer_unpack(fd, compressions[(i + 1) % 3 ? (i + 1) % 3 : 1], out, &limits, digest, &e), 0);
        close(fd);
        close(out);
    }
}
END_TEST

START_TEST(bombs_are_refused)
{
    int fd = compress(ARCHIVE_FILTER_GZIP, 80 << 20), out = temporary();
    char digest[DIGEST_HEX_SIZE];
    struct stat st;

    ck_assert_int_lt(layer_unpack(fd, LAYER_GZIP, out, &limits, digest, &e), 0);
    ck_assert_ptr_nonnull(strstr(e.text, "compression bomb"));
    limits.bytes = 1 << 20;
    ck_assert_int_eq(ftruncate(out, 0), 0);
    ck_assert_int_eq(lseek(out, 0, SEEK_SET), 0);
    ck_assert_int_lt(layer_unpack(fd, LAYER_GZIP, out, &limits, digest, &e), 0);
    ck_assert_ptr_nonnull(strstr(e.text, "more than the limit of 1048576 bytes"));
    ck_assert_int_eq(fstat(out, &st), 0);
    ck_assert_int_le(st.st_size, 1 << 20); /* it ends there, not when the disk is full */
    close(fd);
    close(out);
}
END_TEST

START_TEST(truncated_compression_is_refused)
{
    static const int filters[] = {ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_ZSTD};
    char digest[DIGEST_HEX_SIZE];

    for (size_t i = 0; i < 2; i++) {
        int fd = compress(filters[i], 5 << 20), out = temporary();
        struct stat st;
        ck_assert_int_eq(fstat(fd, &st), 0);
        ck_assert_int_eq(ftruncate(fd, st.st_size / 2), 0);
        ck_assert_int_lt(layer_unpack(fd, i ? LAYER_ZSTD : LAYER_GZIP, out, &limits, digest, &e), 0);
        ck_assert_ptr_nonnull(strstr(e.text, "the archive is damaged"));
        close(fd);
        close(out);
    }
}
END_TEST

/* ---- manifest, configuration, index ----------------------------------------------------------------- */

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "\"digest\": \"sha256:" HEX "\", \"size\": 5"
#define MANIFEST(layers)                                                                                     \
    "{\"schemaVersion\": 2, \"config\": {\"mediaType\": "                                                    \
    "\"application/vnd.oci.image.config.v1+json\", " DIGEST "}, \"layers\": [" layers "]}"
#define LAYER(type) "{\"mediaType\": \"" type "\", " DIGEST "}"
#define OCI_LAYER LAYER("application/vnd.oci.image.layer.v1.tar+zstd")
#define CONFIG(rest)                                                                                         \
    "{\"os\": \"linux\", \"architecture\": \"amd64\", \"rootfs\": {\"diff_ids\": [\"sha256:" HEX "\"]}" rest \
    "}"

static int manifest(struct layout *l, const char *text)
{
    char *exact = unit_exact(text, strlen(text));
    int result = layout_parse_manifest(l, exact, strlen(text), &e);

    free(exact);
    return result;
}

START_TEST(manifests_are_checked)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"", "not a JSON object"},
        {"[]", "not a JSON object"},
        {"{\"schemaVersion\": 1}", "schema version 2"},
        {MANIFEST(""), "0 layers"},
        {MANIFEST("7"), "media type"},
        {MANIFEST(LAYER("application/x-evil")), "\"application/x-evil\", which capsid does not know"},
        {MANIFEST("{\"mediaType\": \"application/vnd.oci.image.layer.v1.tar\"}"), "no size"},
        {MANIFEST("{\"mediaType\": \"application/vnd.oci.image.layer.v1.tar\", \"size\": -1}"), "no size"},
        {MANIFEST("{\"mediaType\": \"application/vnd.oci.image.layer.v1.tar\", \"size\": 5, \"digest\": "
                  "\"sha256:../../../x\"}"),
         "64 hex digits"},
        {MANIFEST(
             "{\"mediaType\": \"application/vnd.oci.image.layer.v1.tar\", \"urls\": [\"http://x\"], " DIGEST
             "}"),
         "kept elsewhere"},
    };
    static struct layout l;

    ck_assert_msg(manifest(&l, MANIFEST(OCI_LAYER)) == 0, "%s", e.text);
    ck_assert_uint_eq(l.layer_count, 1);
    ck_assert_int_eq(l.layers[0].compression, LAYER_ZSTD);
    ck_assert_str_eq(l.layers[0].blob.digest, HEX);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_lt(manifest(&l, bad[i].text), 0);
        ck_assert_msg(strstr(e.text, bad[i].why) != NULL, "%s", e.text);
    }
    struct buffer many = {0};
    for (int i = 0; i < LAYOUT_LAYERS_MAX + 1; i++)
        buffer_add_text(&many, "%s" OCI_LAYER, i ? "," : "");
    char *text = text_format("{\"schemaVersion\": 2, \"config\": {\"mediaType\": "
                             "\"application/vnd.oci.image.config.v1+json\", " DIGEST "}, \"layers\": [%s]}",
                             many.data);
    ck_assert_int_lt(manifest(&l, text), 0);
    ck_assert_ptr_nonnull(strstr(e.text, "129 layers"));
    free(text);
    buffer_free(&many);
}
END_TEST

START_TEST(configurations_are_checked)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"{}", "capsid runs linux/amd64"},
        {"{\"os\": \"linux\", \"architecture\": \"arm64\"}", "linux/arm64"},
        {"{\"os\": \"linux\", \"architecture\": \"amd64\"}", "the configuration 0"},
        {CONFIG(", \"config\": {\"Env\": [\"NOVALUE\"]}"), "Env is not a list of NAME=VALUE"},
        {CONFIG(", \"config\": {\"Env\": [5]}"), "Env is not a list"},
        {CONFIG(", \"config\": {\"Cmd\": \"text\"}"), "Cmd is no list"},
    };
    static struct layout l = {.layer_count = 1};
    const char *good = CONFIG(", \"created\": \"2024-05-06T07:08:09Z\", \"config\": {\"Env\": [\"A=b\"], "
                              "\"Cmd\": null, \"User\": \"me\"}");

    ck_assert_msg(layout_parse_config(&l, good, strlen(good), &e) == 0, "%s", e.text);
    ck_assert_int_eq(l.created, 1714979289);
    ck_assert_str_eq(json_string_value(json_object_get(l.defaults, "user")), "me");
    ck_assert_uint_eq(json_array_size(json_object_get(l.defaults, "env")), 1);
    good = CONFIG(", \"created\": \"0001-01-01T00:00:00Z\"");
    ck_assert_msg(layout_parse_config(&l, good, strlen(good), &e) == 0, "%s", e.text);
    ck_assert_int_eq(l.created, LAYOUT_CREATED_UNKNOWN);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_lt(layout_parse_config(&l, bad[i].text, strlen(bad[i].text), &e), 0);
        ck_assert_msg(strstr(e.text, bad[i].why) != NULL, "%s", e.text);
    }
    layout_done(&l);
}
END_TEST

#define IMAGE(hex, platform)                                                                                 \
    "{\"mediaType\": \"application/vnd.oci.image.manifest.v1+json\", \"size\": 5, \"digest\": \"sha256:" hex \
    "\"" platform "}"
#define PLATFORM(os, arch) ", \"platform\": {\"os\": \"" os "\", \"architecture\": \"" arch "\"}"
#define OTHER "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"

START_TEST(the_image_for_this_machine_is_chosen)
{
    static const char index[] = "{\"manifests\": [" IMAGE(OTHER, PLATFORM("linux", "arm64")) "," IMAGE(
        OTHER, PLATFORM("unknown", "unknown")) "," IMAGE(HEX, PLATFORM("linux", "amd64")) "]}";
    static const char none[] = "{\"manifests\": [" IMAGE(OTHER, PLATFORM("windows", "amd64")) "]}";
    static const char two[] = "{\"manifests\": [" IMAGE(OTHER, "") "," IMAGE(HEX, "") "]}";
    struct layout_blob blob;
    bool nested;

    ck_assert_msg(layout_choose(index, strlen(index), &blob, &nested, &e) == 0, "%s", e.text);
    ck_assert_str_eq(blob.digest, HEX);
    ck_assert(!nested);
    ck_assert_int_lt(layout_choose(none, strlen(none), &blob, &nested, &e), 0);
    ck_assert_ptr_nonnull(strstr(e.text, "no image for linux/amd64"));
    ck_assert_int_lt(layout_choose(two, strlen(two), &blob, &nested, &e), 0);
}
END_TEST

START_TEST(blobs_are_compared_with_their_digest)
{
    struct layout l = {.directory = base};
    struct layout_blob blob = {.size = 3};
    char *blobs = text_format("%s/blobs/sha256", base);

    digest_bytes("abc", 3, blob.digest);
    char *path = text_format("%s/%s", blobs, blob.digest);
    ck_assert_int_eq(file_make_directories(blobs, &e), 0);
    ck_assert_int_eq(file_replace(path, base, "abc", 3, 0600, &e), 0);
    int fd = layout_open_blob(&l, &blob, &e);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(file_replace(path, base, "abd", 3, 0600, &e), 0);
    ck_assert_int_lt(layout_open_blob(&l, &blob, &e), 0);
    ck_assert_ptr_nonnull(strstr(e.text, "has the SHA-256"));
    ck_assert_int_eq(file_replace(path, base, "abcd", 4, 0600, &e), 0);
    ck_assert_int_lt(layout_open_blob(&l, &blob, &e), 0);
    ck_assert_ptr_nonnull(strstr(e.text, "4 bytes instead of 3"));
    unlink(path);
    ck_assert_int_eq(symlink("/etc/passwd", path), 0);
    ck_assert_int_lt(layout_open_blob(&l, &blob, &e), 0);
    free(path);
    free(blobs);
}
END_TEST

/* ---- what is added --------------------------------------------------------------------------------- */

START_TEST(initd_and_mount_points_are_put_in_place_of_anything)
{
    struct tar t = tar_begin();
    int initd = temporary();

    if (geteuid() != 0) { /* it makes files of root */
        close(initd);
        archive_write_free(t.a);
        close(t.fd);
        return;
    }
    ck_assert_int_eq(write(initd, "INITD", 5), 5);
    lseek(initd, 0, SEEK_SET);
    tar_directory(&t, "usr/sbin");
    tar_symlink(&t, "sbin", "/usr/sbin");
    tar_symlink(&t, "usr/sbin/initd", "/tmp/capsid-oci-evil");
    tar_symlink(&t, "proc", "/etc");
    tar_file(&t, "dev", "a file");
    tar_symlink(&t, "etc/hosts", "/tmp/capsid-oci-evil");
    tar_file(&t, "etc/passwd", "root:x:0:0::/:/bin/sh");
    apply_ok(&t);
    ck_assert_msg(finish_tree(root, initd, "{}", &e) == 0, "%s", e.text);
    holds("usr/sbin/initd", "INITD");
    ck_assert_uint_eq(look("usr/sbin/initd").st_mode, S_IFREG | 0755);
    ck_assert(S_ISDIR(look("proc").st_mode) && S_ISDIR(look("dev").st_mode) && S_ISDIR(look("mnt").st_mode));
    ck_assert_uint_eq(look("tmp").st_mode, S_IFDIR | 01777);
    holds("etc/hosts", "127.0.0.1 localhost capsid\n::1 localhost\n");
    holds("etc/passwd", "root:x:0:0::/:/bin/sh\nrunner:x:1000:1000:runner:/tmp:/bin/sh\n");
    holds("etc/group", "root:x:0:\nrunner:x:1000:\n");
    ck_assert(!file_exists("/tmp/capsid-oci-evil"));
    close(initd);
}
END_TEST

/* ---- which packages are in it ------------------------------------------------------------------------ */

static char *lines_of(void (*parse)(struct installed *, const char *), const char *text, unsigned skipped)
{
    struct installed i = {0};

    parse(&i, text);
    ck_assert_uint_eq(i.skipped, skipped);
    return i.lines.data ? i.lines.data : text_copy("");
}

START_TEST(databases_of_packages_are_read)
{
    static const struct {
        void (*parse)(struct installed *, const char *);
        const char *text, *lines;
        unsigned skipped;
    } cases[] = {
        {installed_parse_dpkg, "", "", 0},
        {installed_parse_dpkg, "\n\n\n", "", 0},
        {installed_parse_dpkg, "Package: a\nStatus: install ok installed\nVersion: 1:2~3", "deb a 1:2~3 -\n",
         0},
        {installed_parse_dpkg, "Version: 1\nPackage: a\n\nPackage: b\nVersion: 2\n", "deb a 1 -\ndeb b 2 -\n",
         0},
        {installed_parse_dpkg, "Package: a\nStatus: deinstall ok config-files\nVersion: 1\n", "", 0},
        {installed_parse_dpkg, "Package: a\n Version: 2\nDescription: x\n", "", 1},
        {installed_parse_dpkg, "Package: a b\nVersion: 1\n\nPackage: c\nVersion: 1 -\ndeb evil\n", "", 2},
        {installed_parse_dpkg, "Package: a:b\nVersion: 1\n", "", 1},
        {installed_parse_apk, "P:musl\nV:1.2_git2-r0\n\nP:x\n\nV:1\n", "apk musl 1.2_git2-r0 -\n", 2},
        {installed_parse_apk, "P:a\033[2J\nV:1\n", "", 1},
    };

    for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
        cleanup_free char *lines = lines_of(cases[n].parse, cases[n].text, cases[n].skipped);
        ck_assert_str_eq(lines, cases[n].lines);
    }
}
END_TEST

START_TEST(a_database_elsewhere_or_of_another_kind_is_not_read)
{
    struct installed i;

    ck_assert_int_eq(installed_read(&i, root, &e), 0);
    ck_assert_uint_eq(i.lines.size, 0);
    struct tar t = tar_begin();
    tar_symlink(&t, "var", "/../../../../etc");
    tar_directory(&t, "lib/apk/db");
    tar_symlink(&t, "lib/apk/db/installed", "/etc/passwd");
    tar_directory(&t, "usr/lib/sysimage/rpm");
    apply_ok(&t);
    ck_assert_int_eq(installed_read(&i, root, &e), 0);
    ck_assert_uint_eq(i.lines.size, 0);
    ck_assert(i.rpm);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("host_oci");

    setlocale(LC_CTYPE, "C.UTF-8");
    unit_fixture(&u, setup, teardown);
    unit_add(&u, files_modes_and_links_are_kept);
    unit_add(&u, a_later_entry_replaces_an_earlier_one);
    unit_add(&u, a_directory_keeps_its_contents);
    unit_add(&u, whiteouts_hide_what_earlier_layers_left);
    unit_add(&u, whiteouts_spare_their_own_layer);
    unit_add(&u, an_opaque_root_empties_the_tree);
    unit_add(&u, relative_links_within_the_tree_are_followed);
    unit_add(&u, a_hard_link_to_itself_is_harmless);
    unit_add(&u, paths_do_not_leave_the_tree);
    unit_add(&u, links_as_directories_do_not_leave_the_tree);
    unit_add(&u, whiteouts_do_not_leave_the_tree);
    unit_add(&u, whiteouts_have_possible_names);
    unit_add(&u, hard_links_do_not_leave_the_tree);
    unit_add(&u, devices_and_fifos_are_refused_before_anything_is_changed);
    unit_add(&u, names_in_messages_are_escaped);
    unit_add(&u, limits_hold);
    unit_add(&u, links_do_not_lead_ever_deeper);
    unit_add(&u, damaged_archives_are_refused);
    unit_add(&u, gzip_and_zstd_are_unpacked);
    unit_add(&u, bombs_are_refused);
    unit_add(&u, truncated_compression_is_refused);
    unit_add(&u, manifests_are_checked);
    unit_add(&u, configurations_are_checked);
    unit_add(&u, the_image_for_this_machine_is_chosen);
    unit_add(&u, blobs_are_compared_with_their_digest);
    unit_add(&u, initd_and_mount_points_are_put_in_place_of_anything);
    unit_add(&u, databases_of_packages_are_read);
    unit_add(&u, a_database_elsewhere_or_of_another_kind_is_not_read);
    return unit_end(&u);
}
