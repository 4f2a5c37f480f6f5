/*
 * initd's layers on real overlays: what is folded looks as it did before, by a walk of everything; and what is said not to have
 * changed has not. As root, in a mount namespace of its own, without a guest.
 */
#include "ns_client.h"

#include "../../initd/layers.h"
#include "../../initd/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LAYERS 4      /* 0 is the base, which only lies below */
#define PLACE "/tmp"  /* covered by a filesystem of the test's own */
#define VIEW_MAX 8192 /* lines of a view */
#define LINE 1024
#define SEEDS (getenv("CHECK_ALL") ? 500u : 25u)

/* As guests have it, whatever this machine's kernel does by itself. */
#define OPTIONS "redirect_dir=off,metacopy=off,index=off"

/* ---- layers and what is seen of them --------------------------------------------------------- */

static void make(const char *path)
{
    ck_assert_msg(mkdir(path, 0755) == 0, "mkdir %s: %s", path, strerror(errno));
}

static void begin_test(void)
{
    struct rlimit files;
    char path[64];

    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mount("tmpfs", PLACE, "tmpfs", 0, NULL), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max; /* two of a depth */
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    umask(022);
    make(PLACE "/view");
    for (int i = 0; i < LAYERS; i++) {
        snprintf(path, sizeof(path), PLACE "/%d", i);
        make(path);
        snprintf(path, sizeof(path), PLACE "/%d/upper", i);
        make(path);
        snprintf(path, sizeof(path), PLACE "/%d/work", i);
        make(path);
    }
}

static int open_layer(int layer)
{
    char path[64];

    snprintf(path, sizeof(path), PLACE "/%d/upper", layer);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

/* The layers of mask, with the one above them writable, or -1. */
static void mount_view(unsigned mask, int writable)
{
    char options[256] = OPTIONS ",lowerdir=";

    for (int i = LAYERS; i-- > 0;)
        if (mask & 1u << i)
            sprintf(options + strlen(options), PLACE "/%d/upper:", i);
    if (writable < 0)
        strcat(options, PLACE "/0/work"); /* an overlay has at least two */
    else
        sprintf(options + strlen(options) - 1, ",upperdir=" PLACE "/%d/upper,workdir=" PLACE "/%d/work",
                writable, writable);
    ck_assert_msg(mount("overlay", PLACE "/view", "overlay", 0, options) == 0, "overlay %s: %s", options,
                  strerror(errno));
}

static void unmount_view(void)
{
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(umount2(PLACE "/view", 0), 0);
}

static void in_view(const char *script)
{
    char command[4096];

    snprintf(command, sizeof(command), "cd " PLACE "/view && { %s\n}", script);
    ck_assert_msg(system(command) == 0, "%s", script);
}

static unsigned below(int layer)
{
    return (1u << layer) - 1;
}

static void write_layer(int layer, const char *script)
{
    mount_view(below(layer), layer);
    in_view(script);
    unmount_view();
}

/* ---- a walk ---------------------------------------------------------------------------------- */

struct view {
    char *line[VIEW_MAX];
    ino_t inode[VIEW_MAX]; /* as they were found; 0: of directories */
    size_t count;
};

static struct view *walked;
static bool with_directory_times;

static uint64_t hash(uint64_t h, const void *data, size_t size)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < size; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return h;
}

static uint64_t content_of(const char *path)
{
    static char data[1 << 16];
    uint64_t h = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    ck_assert_int_ge(fd, 0);
    for (ssize_t n = read(fd, data, sizeof(data)); n > 0; n = read(fd, data, sizeof(data)))
        h = hash(h, data, (size_t)n);
    close(fd);
    return h;
}

static uint64_t attributes_of(const char *path)
{
    char names[4096], value[4096];
    ssize_t size = llistxattr(path, names, sizeof(names));
    uint64_t sum = 0; /* their order is nothing */

    for (ssize_t i = 0; i < size; i += (ssize_t)strlen(names + i) + 1) {
        ssize_t n = lgetxattr(path, names + i, value, sizeof(value));
        ck_assert_int_ge(n, 0);
        sum += hash(hash(1, names + i, strlen(names + i)), value, (size_t)n);
    }
    return sum;
}

static int note(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    char line[LINE - 32], target[300] = "";
    bool directory = S_ISDIR(st->st_mode), timed = !directory || with_directory_times;

    (void)kind;
    (void)ftw;
    if (S_ISLNK(st->st_mode))
        ck_assert_int_gt(readlink(path, target, sizeof(target) - 1), 0);
    snprintf(line, sizeof(line), "%s %o %u:%u size %lld device %x:%x at %lld.%09ld data %llx xattr %llx %s",
             path, st->st_mode, st->st_uid, st->st_gid, directory ? 0 : (long long)st->st_size,
             major(st->st_rdev), minor(st->st_rdev), timed ? (long long)st->st_mtim.tv_sec : 0,
             timed ? st->st_mtim.tv_nsec : 0,
             S_ISREG(st->st_mode) && st->st_size < 1 << 24 ? (unsigned long long)content_of(path) : 0,
             (unsigned long long)attributes_of(path), target);
    ck_assert_uint_lt(walked->count, VIEW_MAX);
    walked->inode[walked->count] = directory ? 0 : st->st_ino;
    walked->line[walked->count++] = strdup(line);
    return 0;
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* st_nlink does not say it: an overlay counts names that are gone above. */
static void add_names(struct view *v)
{
    char line[LINE];

    for (size_t i = 0; i < v->count; i++) {
        unsigned names = 0;
        for (size_t j = 0; j < v->count; j++)
            names += v->inode[j] == v->inode[i];
        snprintf(line, sizeof(line), "%s names %u", v->line[i], v->inode[i] ? names : 0);
        free(v->line[i]);
        v->line[i] = strdup(line);
    }
}

static void walk(struct view *v, bool directory_times)
{
    *v = (struct view){0};
    walked = v;
    with_directory_times = directory_times;
    ck_assert_int_eq(nftw(PLACE "/view", note, 64, FTW_PHYS), 0);
    add_names(v);
    qsort(v->line, v->count, sizeof(v->line[0]), compare_lines);
}

/* The first line that differs, or NULL. Empties both. */
static const char *difference(struct view *a, struct view *b)
{
    static char text[2 * LINE + 16];
    const char *found = NULL;

    for (size_t i = 0; i < a->count || i < b->count; i++) {
        const char *x = i < a->count ? a->line[i] : "nothing", *y = i < b->count ? b->line[i] : "nothing";
        if (!found && strcmp(x, y) != 0) {
            snprintf(text, sizeof(text), "\n%s\n%s", x, y);
            found = text;
        }
        free(i < a->count ? a->line[i] : NULL);
        free(i < b->count ? b->line[i] : NULL);
    }
    a->count = b->count = 0;
    return found;
}

/* ---- folding --------------------------------------------------------------------------------- */

static int fold(int from, int to)
{
    int from_fd = open_layer(from), to_fd = open_layer(to);
    int r = layers_fold(from_fd, to_fd);

    close(from_fd);
    close(to_fd);
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_lt(access(PLACE "/2/links", F_OK), 0);
    return r;
}

/* Takes count layers below the top into it, and compares what is seen. NULL, or what differs. */
static const char *fold_and_compare(int top, int count)
{
    static struct view before, after;
    unsigned rest = below(top + 1);

    mount_view(rest, -1);
    walk(&before, true);
    unmount_view();
    for (int i = 1; i <= count; i++) {
        ck_assert_int_eq(fold(top - i, top), 0);
        rest &= ~(1u << (top - i));
    }
    mount_view(rest, -1);
    walk(&after, true);
    unmount_view();
    return difference(&before, &after);
}

static void expect_same(int top, int count)
{
    const char *what = fold_and_compare(top, count);

    ck_assert_msg(!what, "%s", what);
}

#define EVERY_KIND                                                                                           \
    "umask 022; mkdir -p d/sub e; echo one >d/f; echo two >e/f; mkfifo fifo; mknod null c 1 3; mknod disk "  \
    "b 7 9; "                                                                                                \
    "ln -s nowhere link; ln -s \"$(printf 'a\\nb')\" \"$(printf 'new\\nline')\"; touch \"$(printf 'not "     \
    "\\377 text')\"; "                                                                                       \
    "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'; "                           \
    "chown -h 12:34 d e/f link; chmod 2750 d; chmod 6755 e/f; touch -h -d @1234567890.123456789 d/f link; "  \
    "touch -d @99 e"

START_TEST(every_kind_of_file)
{
    begin_test();
    write_layer(1, EVERY_KIND);
    write_layer(2, "echo more >d/more; mkdir e/new; echo x >e/new/f; rm link; touch -d @77 d");
    expect_same(2, 1);
}
END_TEST

START_TEST(attributes)
{
    begin_test();
    write_layer(1, "mkdir d; touch f; ln -s f l");
    mount_view(below(1), 1);
    ck_assert_int_eq(setxattr(PLACE "/view/f", "user.note", "a\0b", 3, 0), 0);
    ck_assert_int_eq(setxattr(PLACE "/view/d", "user.empty", "", 0, 0), 0);
    ck_assert_int_eq(lsetxattr(PLACE "/view/l", "trusted.link", "x", 1, 0), 0);
    unmount_view();
    write_layer(2, "touch other");
    expect_same(2, 1);
}
END_TEST

START_TEST(names_of_one_file)
{
    struct stat a, b;

    begin_test();
    write_layer(1, "mkdir d; echo 1 >a; ln a b; ln a d/c; echo 2 >p; ln p q; mkfifo x; ln x d/y");
    write_layer(2, "rm q; echo new >d/other");
    expect_same(2, 1);
    ck_assert_int_eq(stat(PLACE "/2/upper/a", &a), 0);
    ck_assert_int_eq(stat(PLACE "/2/upper/d/c", &b), 0);
    ck_assert(a.st_ino == b.st_ino && a.st_nlink == 3);
}
END_TEST

START_TEST(holes)
{
    struct stat st;

    begin_test();
    write_layer(1, "truncate -s 1G s; printf x | dd of=s bs=1 seek=500000000 conv=notrunc status=none; "
                   "truncate -s 10M all; "
                   "truncate -s 1M end; printf x >>end");
    write_layer(2, "touch other");
    expect_same(2, 1);
    ck_assert_int_eq(stat(PLACE "/2/upper/s", &st), 0);
    ck_assert(st.st_size == 1 << 30 && st.st_blocks * 512 < 1 << 20);
    ck_assert_int_eq(stat(PLACE "/2/upper/all", &st), 0);
    ck_assert(st.st_size == 10 << 20 && st.st_blocks == 0);
    ck_assert_uint_eq(content_of(PLACE "/2/upper/s"), content_of(PLACE "/1/upper/s"));
}
END_TEST

START_TEST(what_is_gone_stays_gone)
{
    begin_test();
    in_view("cd ../0/upper && mkdir -p d/old e/old f/old g/old && touch file d/1 e/1 f/1 g/1");
    write_layer(1, "rm -r d e file; rm -r f && mkdir f && touch f/new; rm -r g && touch g");
    write_layer(2, "mkdir e && touch e/2; mkdir file; rm -r f && mkdir f && touch f/newer; rm g && mkdir g "
                   "&& touch g/2; mkdir d; rmdir d");
    expect_same(2, 1);
}
END_TEST

START_TEST(other_kinds_in_the_same_place)
{
    begin_test();
    in_view("cd ../0/upper && mkdir a b c && touch a/0 b/0 c/0 d e f");
    write_layer(
        1,
        "rm -r a && touch a; rm -r b && ln -s c b; touch c/1; rm d && mkdir d && touch d/1; rm e; mkfifo g");
    write_layer(2, "rm a && mkdir a && touch a/2; rm b && mkdir b; rm -r c && touch c; rm -r d && touch d; "
                   "mkdir e; rm g && mkdir g");
    expect_same(2, 1);
}
END_TEST

/* As overlays of kernels leave them that do not mark a directory whose place only lower layers say to be empty. */
START_TEST(a_directory_over_a_place_without)
{
    begin_test();
    in_view("cd ../0/upper && mkdir d && touch d/0");
    in_view("cd ../1/upper && mknod d c 0 0");
    in_view("cd ../2/upper && mkdir d && touch d/2");
    expect_same(2, 1);
}
END_TEST

START_TEST(several_layers)
{
    begin_test();
    in_view("cd ../0/upper && mkdir -p d/0 && touch d/f");
    write_layer(1, "echo 1 >d/f; mkdir d/1; touch same");
    write_layer(2, "rm -r d; echo 2 >same; ln same other");
    write_layer(3, "mkdir d; touch d/3; rm other");
    expect_same(3, 2);
}
END_TEST

static void make_deep(const char *top, unsigned depth)
{
    ck_assert_int_eq(chdir(top), 0);
    for (unsigned i = 0; i < depth; i++)
        ck_assert(mkdir("d", 0755) == 0 && chdir("d") == 0);
    close(open("deepest", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    ck_assert_int_eq(chdir("/"), 0);
}

START_TEST(deep_directories)
{
    int upper, lower;

    begin_test();
    make_deep(PLACE "/1/upper", LAYER_DEPTH_MAX);
    make_deep(PLACE "/2/upper", LAYER_DEPTH_MAX / 2);
    ck_assert_int_eq(fold(1, 2), 0);
    ck_assert_int_eq(fold(2, 3), 0); /* all new */
    upper = open_layer(3);
    lower = open_layer(1);
    ck_assert(layers_changed(upper, &lower, 1)); /* the file */
    in_view("cd ../1/upper && mkdir e && mv d e/");
    ck_assert_int_eq(fold(1, 2), -ELOOP);
}
END_TEST

START_TEST(what_is_in_the_way)
{
    begin_test();
    in_view("touch ../1/upper/f; mkdir ../2/links");
    int from = open_layer(1), to = open_layer(2);
    ck_assert_int_eq(layers_fold(from, to), -EEXIST);
    ck_assert_int_eq(layers_fold(from, -1), -EBADF);
    in_view("rmdir ../2/links");
    ck_assert_int_eq(layers_fold(-1, to), -EBADF);
    ck_assert_int_eq(layers_fold(from, to), 0);
}
END_TEST

/* ---- whether anything changed ---------------------------------------------------------------- */

static bool is_changed(int layer)
{
    int upper = open_layer(layer), lower[LAYERS];

    for (int i = 0; i < layer; i++)
        lower[i] = open_layer(i);
    bool changed = layers_changed(upper, lower, (unsigned)layer);
    close(upper);
    for (int i = 0; i < layer; i++)
        close(lower[i]);
    return changed;
}

/* What the script does above a base that has d with f, and in d the directory sub; the layer is empty before. */
static bool changes(const char *script)
{
    bool changed;

    in_view("rm -rf ../1 && mkdir -p ../1/upper ../1/work");
    write_layer(1, script);
    changed = is_changed(1);
    return changed;
}

START_TEST(what_counts_as_a_change)
{
    begin_test();
    in_view("cd ../0/upper && mkdir -p d/sub/deep && touch d/f d/sub/g");
    ck_assert(!changes("true"));
    ck_assert(!changes("ls -lR . >/dev/null; cat d/f"));
    ck_assert(!changes("touch d/sub/deep/x; rm d/sub/deep/x; mkdir d/y; rmdir d/y"));
    ck_assert(!changes("chmod 700 d/sub; chmod 755 d/sub"));
    ck_assert(!changes("chmod 700 .; chmod 755 ."));
    ck_assert(changes("touch d/x"));
    ck_assert(changes("touch d/f"));
    ck_assert(changes("rm d/sub/g"));
    ck_assert(changes("mkdir d/empty"));
    ck_assert(changes("chmod 700 d/sub"));
    ck_assert(changes("chown 1 d/sub"));
    ck_assert(changes("chgrp 1 d/sub"));
    ck_assert(changes("chmod 700 ."));
    ck_assert(changes("python3 -c 'import os; os.setxattr(\"d/sub\", \"user.a\", b\"\")'"));
    ck_assert(changes("rm -r d/sub; mkdir d/sub"));
    ck_assert(
        changes("i=0; while [ $i -lt 5000 ]; do echo $i; i=$((i + 1)); done | (cd d/sub && xargs mkdir)"));
}
END_TEST

/* A directory that is new although one of that name is further down, where nobody sees it. */
START_TEST(new_over_what_is_hidden)
{
    static const char *const hidden[] = {"rm -r d && mkdir d", "rm -r d/sub", "rm -r d/sub && touch d/sub"};

    for (size_t i = 0; i < 3; i++) {
        begin_test();
        in_view("cd ../0/upper && mkdir -p d/sub/deep");
        write_layer(1, hidden[i]);
        write_layer(2, "rm -f d/sub; mkdir -p d/sub/deep");
        ck_assert_msg(is_changed(2), "%s", hidden[i]);
    }
}
END_TEST

START_TEST(a_look_that_ends)
{
    begin_test();
    in_view("for l in 0 1; do i=0; while [ $i -lt 5000 ]; do echo ../$l/upper/$i; i=$((i + 1)); done | xargs "
            "mkdir; done");
    ck_assert(is_changed(1)); /* more than are compared */
    make_deep(PLACE "/2/upper", LAYER_DEPTH_MAX + 2);
    make_deep(PLACE "/3/upper", LAYER_DEPTH_MAX + 2);
    int upper = open_layer(3), lower = open_layer(2);
    ck_assert(layers_changed(upper, &lower, 1)); /* deeper than is looked */
    ck_assert(layers_changed(upper, NULL, 0));
    ck_assert(layers_changed(-1, &lower, 1));
}
END_TEST

/* ---- by chance ------------------------------------------------------------------------------- */

static unsigned chance;

static unsigned pick(unsigned n)
{
    chance = chance * 1664525 + 1013904223;
    return (chance >> 16) % n;
}

/* A path of up to three names; static, valid until the 2nd call from then. */
static const char *pick_path(void)
{
    static const char *const names[] = {"a", "b", "c", "new\nline"};
    static char paths[2][100];
    static unsigned next;
    char *path = paths[next++ % 2];

    strcpy(path, names[pick(4)]);
    for (unsigned depth = pick(3); depth > 0; depth--)
        sprintf(path + strlen(path), "/%s", names[pick(4)]);
    return path;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static void write_some(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);

    if (fd < 0)
        return;
    if (pwrite(fd, &chance, sizeof(chance), pick(2) ? pick(5) : 1 << 16) < 0) {
        /* a device */
    }
    close(fd);
}

/* What fails is as good. */
static void change_something(void)
{
    const char *path = pick_path();
    char value = (char)pick(256);

    switch (pick(16)) {
    case 0:
    case 1:
    case 2:
        mkdir(path, 0755);
        break;
    case 3:
    case 4:
        write_some(path);
        break;
    case 5:
        unlink(path);
        break;
    case 6:
        nftw(path, remove_one, 16, FTW_PHYS | FTW_DEPTH);
        break;
    case 7:
        rename(path, pick_path());
        break;
    case 8:
        if (link(path, pick_path()) < 0)
            rmdir(path);
        break;
    case 9:
        if (symlink(pick_path(), path) < 0)
            rmdir(path);
        break;
    case 10:
        chmod(path, pick(2) ? 0755 : pick(07777) | 0700);
        break;
    case 11:
        if (lchown(path, pick(3), pick(3)) < 0)
            mkfifo(path, 0644);
        break;
    case 12:
        lsetxattr(path, pick(2) ? "trusted.a" : "trusted.b", &value, pick(2), 0);
        break;
    case 13:
        mknod(path, S_IFCHR | 0600, makedev(1, pick(3) + 3));
        break;
    case 14:
        utimensat(AT_FDCWD, path, (struct timespec[]){{.tv_sec = pick(1000)}, {.tv_sec = pick(1000)}},
                  AT_SYMLINK_NOFOLLOW);
        break;
    default:
        rmdir(path);
    }
}

/* Whether initd sees a change in the layer if there is one. */
static void change_at_random(int layer, unsigned changes)
{
    static struct view before, after;

    mount_view(below(layer), layer);
    walk(&before, false);
    ck_assert_int_eq(chdir(PLACE "/view"), 0);
    while (changes-- > 0)
        change_something();
    walk(&after, false);
    unmount_view();
    bool changed = is_changed(layer);
    const char *what = difference(&before, &after);
    ck_assert_msg(changed || !what, "layer %d is said not to have changed: %s", layer, what);
}

START_TEST(at_random)
{
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        chance = seed;
        begin_test();
        ck_assert_int_eq(chdir(PLACE "/0/upper"), 0);
        for (unsigned i = 0; i < 30; i++)
            change_something();
        change_at_random(1, 1 + pick(30));
        change_at_random(2, 1 + pick(30));
        change_at_random(3, 1 + pick(4));
        const char *what = fold_and_compare(3, 1 + seed % 2);
        ck_assert_msg(!what, "seed %u: %s", seed, what);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        every_kind_of_file,      attributes,
        names_of_one_file,       holes,
        what_is_gone_stays_gone, other_kinds_in_the_same_place,
        several_layers,          a_directory_over_a_place_without,
        deep_directories,        what_is_in_the_way,
        what_counts_as_a_change, new_over_what_is_hidden,
        a_look_that_ends,        at_random,
    };

    if (geteuid() != 0) {
        puts("SKIP: only root can mount overlays with trusted attributes");
        return 77;
    }
    return ns_main("layers", tests, sizeof(tests) / sizeof(tests[0]), 60);
}
