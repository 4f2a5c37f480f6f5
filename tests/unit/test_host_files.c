/* files: content by its digest, bounds of owners, directory states, what is read of a directory, trees for guests; and patterns,
 * compared with git's opinion. */
#include "base/cleanup.h"
#include "base/deadline.h"
#include "files/ignore.h"
#include "files/place.h"
#include "files/sync.h"

#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HELLO_DIGEST "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define HELLO_UUID "2cf24dba-5fb0-830e-a6e8-3b2ac5b9e29e"

static char root[] = "/tmp/capsid-files-XXXXXX";
static struct files files;
static struct error e;

static void reopen(uint64_t all, uint64_t owner)
{
    const struct files_limits limits = {.all = all, .owner = owner};
    cleanup_free char *directory = text_format("%s/files", root);
    cleanup_free char *scratch = text_format("%s/scratch", root);

    files_close(&files);
    ck_assert_msg(files_open(&files, directory, scratch, &limits, &e) == 0, "%s", e.text);
}

static void setup(void)
{
    strcpy(root, "/tmp/capsid-files-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    cleanup_free char *scratch = text_format("%s/scratch", root);
    cleanup_free char *tree = text_format("%s/tree", root);
    ck_assert(mkdir(scratch, 0700) == 0 && mkdir(tree, 0700) == 0);
    e = (struct error){0};
    reopen(0, 0);
}

static void teardown(void)
{
    files_close(&files);
    file_remove_tree(root, &e);
}

static void stage(const char *text, struct file_staged *ret)
{
    cleanup_fd int fd = memfd_create("content", MFD_CLOEXEC);

    ck_assert(write(fd, text, strlen(text)) == (ssize_t)strlen(text) && lseek(fd, 0, SEEK_SET) == 0);
    ck_assert_msg(files_stage(&files, fd, "it", ret, &e) == 0, "%s", e.text);
}

static int keep(const char *owner, const char *text)
{
    struct file_staged s;

    stage(text, &s);
    int result = files_keep(&files, owner, &s, 1, &e);
    file_staged_done(&s);
    return result;
}

static bool has_blob(const char *digest)
{
    cleanup_free char *path = text_format("%s/files/blobs/%s", root, digest);

    return file_exists(path);
}

static uint64_t used(const char *owner)
{
    uint64_t bytes = 0;

    ck_assert_int_eq(files_used(&files, owner, &bytes, &e), 0);
    return bytes;
}

START_TEST(equal_content_is_one_file)
{
    struct file_item i;

    ck_assert_int_eq(keep("ann", "hello"), 0);
    ck_assert_int_eq(keep("ann", "hello"), 0);
    ck_assert_int_eq(files_find(&files, "ann", HELLO_DIGEST, &i, &e), 0);
    ck_assert_str_eq(i.uuid, HELLO_UUID);
    ck_assert_uint_eq(i.size, 5);
    ck_assert_int_eq(files_find(&files, "ann", HELLO_UUID, &i, &e), 0);
    ck_assert_str_eq(i.digest, HELLO_DIGEST);
    /* Nobody learns what others have. */
    ck_assert_int_lt(files_find(&files, "bob", HELLO_DIGEST, &i, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_NOT_FOUND);
    ck_assert_int_lt(files_find(&files, "ann", "../records.db", &i, &e), 0);
    ck_assert_uint_eq(used("ann"), FILES_COST_MIN);
    ck_assert_int_eq(keep("bob", "hello"), 0);
    ck_assert_uint_eq(used(NULL), FILES_COST_MIN); /* once on disk */
    ck_assert_int_eq(files_remove(&files, "ann", HELLO_UUID, &e), 0);
    ck_assert(has_blob(HELLO_DIGEST));
    ck_assert_int_eq(files_remove(&files, "bob", HELLO_UUID, &e), 0);
    ck_assert(!has_blob(HELLO_DIGEST));
    ck_assert(used("ann") == 0 && used(NULL) == 0);
    ck_assert_int_lt(files_remove(&files, "bob", HELLO_UUID, &e), 0);
}
END_TEST

START_TEST(bounds_hold_for_one_and_all)
{
    reopen(3 * FILES_COST_MIN, 2 * FILES_COST_MIN);
    ck_assert_int_eq(keep("ann", "1"), 0);
    ck_assert_int_eq(keep("ann", "2"), 0);
    ck_assert_int_lt(keep("ann", "3"), 0);
    ck_assert_msg(e.kind == ERROR_REFUSED && strstr(e.text, "files_owner_max"), "%s", e.text);
    ck_assert_int_eq(keep("ann", "2"), 0); /* it is there already */
    ck_assert_int_eq(keep("bob", "1"), 0);
    ck_assert_int_eq(keep("bob", "4"), 0);
    ck_assert_int_lt(keep("eve", "5"), 0);
    ck_assert_msg(e.kind == ERROR_REFUSED && strstr(e.text, "files_max"), "%s", e.text);
    ck_assert_uint_eq(used(NULL), 3 * FILES_COST_MIN);
    ck_assert_int_eq(
        files_remove(&files, "bob", "4b227777d4dd1fc61c6f884f48641d02b4d121d3fd328cb08b5531fcacdabf8a", &e),
        0);
    ck_assert_int_eq(keep("eve", "5"), 0);
}
END_TEST

START_TEST(what_no_record_names_is_swept)
{
    cleanup_free char *stray = text_format("%s/files/blobs/%064d", root, 7);

    ck_assert_int_eq(keep("ann", "hello"), 0);
    close(open(stray, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    ck_assert_int_eq(files_sweep(&files, &e), 0);
    ck_assert(!file_exists(stray) && has_blob(HELLO_DIGEST));
}
END_TEST

START_TEST(content_that_was_cut_is_told)
{
    cleanup_free char *path = text_format("%s/files/blobs/" HELLO_DIGEST, root);
    struct file_item i;

    ck_assert_int_eq(keep("", "hello"), 0);
    ck_assert_int_eq(files_find(&files, "", HELLO_UUID, &i, &e), 0);
    int fd = files_open_content(&files, &i, &e);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(truncate(path, 2), 0);
    ck_assert_int_lt(files_open_content(&files, &i, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_CORRUPT);
    ck_assert_int_eq(keep("", "hello"), 0); /* mends it */
    fd = files_open_content(&files, &i, &e);
    ck_assert_int_ge(fd, 0);
    close(fd);
}
END_TEST

START_TEST(damaged_records_are_put_aside)
{
    cleanup_free char *directory = text_format("%s/files", root),
                      *file = text_format("%s/records.db", directory), *log = text_format("%s-wal", file);
    char *aside;

    ck_assert_int_eq(keep("", "hello"), 0);
    ck_assert(files_examine(directory, true, &aside, &e) == 0 && !aside);
    files_close(&files);
    unlink(log);
    cleanup_fd int fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);
    for (int i = 0; i < 100; i++)
        ck_assert(write(fd, "no database", 11) == 11);
    ck_assert_int_lt(files_examine(directory, false, &aside, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_CORRUPT);
    ck_assert_int_eq(files_examine(directory, true, &aside, &e), 0);
    ck_assert(aside && file_exists(aside) && !has_blob(HELLO_DIGEST));
    free(aside);
    reopen(0, 0);
    ck_assert_int_eq(keep("", "hello"), 0);
}
END_TEST

/* ---- states ---------------------------------------------------------------------------------------- */

static int add(struct state_list *l, const char *path, uint32_t mode, const char *target)
{
    struct state_entry one = {.path = text_copy(path), .mode = mode, .target = text_copy(target)};

    if (S_ISREG(mode))
        strcpy(one.digest, HELLO_DIGEST);
    return state_list_add(l, &one, &e);
}

START_TEST(a_state_is_kept_and_equal_ones_are_one)
{
    struct state_list l = {0}, back = {0};
    struct state s, again;
    struct file_item i;

    ck_assert_int_eq(keep("ann", "hello"), 0);
    for (int n = 0; n < 2; n++) {
        ck_assert(add(&l, "b/c\n\xff", S_IFREG | 0755, NULL) == 0 &&
                  add(&l, "b", S_IFDIR | 0700, NULL) == 0 &&
                  add(&l, "a", S_IFLNK | 0777, "/etc/passwd") == 0);
        ck_assert_int_eq(state_list_order(&l, &e), 0);
        ck_assert_msg(states_make(&files, "ann", &l, n ? &again : &s, &e) == 0, "%s", e.text);
        state_list_done(&l);
    }
    ck_assert(s.number == again.number && s.files == 1 && s.bytes == 5);
    ck_assert_int_eq(states_find(&files, "ann", s.number, &again, &back, &e), 0);
    ck_assert_uint_eq(back.count, 3);
    ck_assert_str_eq(back.entries[0].target, "/etc/passwd");
    ck_assert_str_eq(back.entries[2].path, "b/c\n\xff");
    ck_assert_uint_eq(back.entries[2].mode, S_IFREG | 0755);
    state_list_done(&back);
    ck_assert_int_lt(states_find(&files, "bob", s.number, &again, NULL, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_NOT_FOUND);
    ck_assert_int_lt(files_remove(&files, "ann", HELLO_UUID, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_REFUSED);
    ck_assert_int_eq(states_remove(&files, "ann", s.number, &e), 0);
    ck_assert_int_eq(files_remove(&files, "ann", HELLO_UUID, &e), 0);
    ck_assert(used("ann") == 0 && used(NULL) == 0);
    ck_assert_int_lt(files_find(&files, "ann", HELLO_UUID, &i, &e), 0);
}
END_TEST

START_TEST(a_state_of_what_is_not_there_is_none)
{
    struct state_list l = {0};
    struct state s;

    ck_assert_int_eq(keep("bob", "hello"), 0); /* another's */
    ck_assert_int_eq(add(&l, "a", S_IFREG | 0644, NULL), 0);
    ck_assert_int_lt(states_make(&files, "ann", &l, &s, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_NOT_FOUND);
    state_list_done(&l);
}
END_TEST

START_TEST(hostile_lists_are_refused)
{
    static const char *const paths[] = {"",  "/a",  "..",   "../a", "a/..", "a/../b",
                                        ".", "./a", "a//b", "a/",   "/"};
    struct state_list l = {0};
    char longest[5000];

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        ck_assert_msg(add(&l, paths[i], S_IFREG | 0644, NULL) < 0, "\"%s\" is taken", paths[i]);
    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    ck_assert_int_lt(add(&l, longest, S_IFREG | 0644, NULL), 0);
    ck_assert_int_lt(add(&l, "link", S_IFLNK | 0777, longest), 0);
    longest[256] = '\0';
    ck_assert_int_lt(add(&l, longest, S_IFREG | 0644, NULL), 0);
    ck_assert_int_lt(add(&l, "fifo", S_IFIFO | 0644, NULL), 0);
    ck_assert_int_lt(add(&l, "link", S_IFLNK | 0777, ""), 0);
    ck_assert_int_lt(add(&l, "mode", 0100000 | 01000000, NULL), 0);
    ck_assert(add(&l, "a", S_IFLNK | 0777, "/etc") == 0 && add(&l, "a/b", S_IFREG | 0644, NULL) == 0);
    ck_assert_int_lt(state_list_order(&l, &e), 0); /* through a link */
    state_list_done(&l);
    ck_assert(add(&l, "a", S_IFREG | 0644, NULL) == 0 && add(&l, "a/b/c", S_IFREG | 0644, NULL) == 0);
    ck_assert_int_lt(state_list_order(&l, &e), 0);
    state_list_done(&l);
    ck_assert(add(&l, "a", S_IFREG | 0644, NULL) == 0 && add(&l, "a", S_IFDIR | 0755, NULL) == 0);
    ck_assert_int_lt(state_list_order(&l, &e), 0);
    state_list_done(&l);
}
END_TEST

/* ---- directories ------------------------------------------------------------------------------------ */

static void make(const char *path, const char *text)
{
    cleanup_free char *whole = text_format("%s/tree/%s", root, path);
    cleanup_fd int fd = -1;

    for (char *slash = whole + strlen(root) + 6; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(whole, 0755);
        *slash = '/';
    }
    fd = open(whole, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    ck_assert_msg(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s", whole);
}

static struct sync_count sync_tree(const char *const *exclude, bool gitignore, struct state_list *ret)
{
    const struct sync_options o = {.exclude = exclude, .gitignore = gitignore, .keep = true};
    cleanup_free char *tree = text_format("%s/tree", root);
    struct sync_count count;

    ck_assert_msg(sync_directory(&files, "", tree, &o, ret, &count, &e) == 0, "%s", e.text);
    return count;
}

START_TEST(what_is_unchanged_is_not_read)
{
    struct state_list l = {0};
    struct state first, second, third;
    char name[32], events[4096];
    cleanup_free char *sub = text_format("%s/tree/d", root);
    cleanup_fd int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof(name), "d/%d", i);
        make(name, name);
    }
    deadline_pause(40); /* or their times may be those of another change */
    ck_assert_uint_eq(sync_tree(NULL, false, &l).read, 500);
    ck_assert_int_eq(states_make(&files, "", &l, &first, &e), 0);
    state_list_done(&l);
    ck_assert_int_ge(inotify_add_watch(watch, sub, IN_OPEN | IN_ACCESS), 0);
    ck_assert_uint_eq(sync_tree(NULL, false, &l).read, 0);
    ck_assert_int_eq(states_make(&files, "", &l, &second, &e), 0);
    state_list_done(&l);
    ck_assert_int_eq(first.number, second.number);
    for (ssize_t n; (n = read(watch, events, sizeof(events))) > 0;)
        for (ssize_t at = 0; at < n;) {
            struct inotify_event event;
            memcpy(&event, events + at, sizeof(event));
            ck_assert_msg(event.len == 0 || (event.mask & IN_ISDIR), "%s was opened",
                          events + at + sizeof(event));
            at += (ssize_t)(sizeof(event) + event.len);
        }
    make("d/7", "X/7"); /* the size is the same */
    ck_assert_uint_eq(sync_tree(NULL, false, &l).read, 1);
    ck_assert_int_eq(states_make(&files, "", &l, &third, &e), 0);
    ck_assert_int_ne(first.number, third.number);
    state_list_done(&l);
}
END_TEST

START_TEST(a_directory_is_kept_as_it_is)
{
    cleanup_free char *link = text_format("%s/tree/link", root), *empty = text_format("%s/tree/empty", root),
                      *fifo = text_format("%s/tree/fifo", root), *mode = text_format("%s/tree/x/run", root);
    struct state_list l = {0};

    make("x/run", "#!");
    make("x/a\nb\xfe", "odd");
    ck_assert(chmod(mode, 04751) == 0 && symlink("/nowhere/at all", link) == 0 && mkdir(empty, 0700) == 0 &&
              mkfifo(fifo, 0600) == 0 && chmod(empty, 01700) == 0);
    struct sync_count c = sync_tree(NULL, false, &l);
    ck_assert(c.files == 2 && c.bytes == 5 && c.left_out == 1);
    ck_assert_uint_eq(l.count, 5);
    ck_assert(strcmp(l.entries[0].path, "empty") == 0 && l.entries[0].mode == (S_IFDIR | 01700));
    ck_assert(strcmp(l.entries[1].path, "link") == 0 && strcmp(l.entries[1].target, "/nowhere/at all") == 0);
    ck_assert_str_eq(l.entries[3].path, "x/a\nb\xfe");
    ck_assert_uint_eq(l.entries[4].mode, S_IFREG | 04751);
    state_list_done(&l);
}
END_TEST

/* What is left of a tree, a path a line. */
static char *left_of(const char *const *exclude)
{
    struct state_list l = {0};
    struct buffer all = {0};

    buffer_add(&all, "", 0);
    sync_tree(exclude, true, &l);
    for (size_t i = 0; i < l.count; i++)
        if (!S_ISDIR(l.entries[i].mode))
            buffer_add_text(&all, "%s\n", l.entries[i].path);
    state_list_done(&l);
    return all.data;
}

START_TEST(patterns_are_gitignores)
{
    static const char *const exclude[] = {"*.o", "!keep.o", "/build/", "**/cache/*.tmp", "docs/**", NULL};

    make(".gitignore", "*.log\n!important.log\n# no.txt\n\\#yes.txt\nspace.txt  \n");
    make("sub/.gitignore", "/local\n*.o\n!b.o\n");
    make("a.o", "");
    make("keep.o", "");
    make("sub/b.o", "");
    make("sub/local", "");
    make("sub/deep/local", "");
    make("build/x", "");
    make("sub/build/x", "");
    make("x/cache/y.tmp", "");
    make("x/cache/y", "");
    make("docs/a/b", "");
    make("a.log", "");
    make("important.log", "");
    make("no.txt", "");
    make("#yes.txt", "");
    make("space.txt", "");
    make(".git/config", "");
    cleanup_free char *left = left_of(exclude);
    ck_assert_str_eq(
        left, ".gitignore\nimportant.log\nkeep.o\nno.txt\nsub/.gitignore\nsub/build/x\nsub/deep/local\n"
              "x/cache/y\n");
}
END_TEST

/* ---- git's opinion ---------------------------------------------------------------------------------- */

static unsigned random_state = 1;

static unsigned any(unsigned below)
{
    random_state = random_state * 1103515245 + 12345;
    return (random_state >> 16) % below;
}

static void random_patterns(const char *file)
{
    static const char *const parts[] = {"a",   "b",   "ab",          "*",     "**",   "?", "/",   "/",
                                        "**/", "/**", "[ab]",        "[!a]",  "[^b]", ".", "\\",  "!",
                                        "#",   " ",   "[[:alpha:]]", "[a-b]", "[",    "]", "\\*", "x"};
    struct buffer text = {0};

    for (unsigned lines = 1 + any(4); lines > 0; lines--) {
        if (any(4) == 0)
            buffer_add_text(&text, "!");
        for (unsigned n = 1 + any(4); n > 0; n--)
            buffer_add_text(&text, "%s", parts[any(sizeof(parts) / sizeof(parts[0]))]);
        buffer_add_text(&text, any(5) ? "\n" : "/\n");
    }
    make(file, text.data);
    buffer_free(&text);
}

/* The lines of what git lists, in its own order, which is that of the bytes. */
static char *left_by_git(void)
{
    cleanup_free char *command =
        text_format("cd %s/tree && git ls-files -z --others --exclude-per-directory=.gitignore | tr '\\0' "
                    "'\\n' | LC_ALL=C sort -u",
                    root);
    struct buffer all = {0};
    FILE *p = popen(command, "re");
    char piece[4096];

    buffer_add(&all, "", 0);
    for (size_t n; (n = fread(piece, 1, sizeof(piece), p)) > 0;)
        buffer_add(&all, piece, n);
    ck_assert_int_eq(pclose(p), 0);
    return all.data;
}

START_TEST(git_leaves_out_the_same)
{
    static const char *const names[] = {"a", "b", "ab", "x", ".a", "#a", "!b", "a b", "a*", "[a]", "a\\b"};
    cleanup_free char *command = text_format("git init -q %s/tree 2>/dev/null", root);
    const size_t count = sizeof(names) / sizeof(names[0]);

    setenv("HOME", root, 1);
    setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
    if (system(command) != 0) /* NOLINT: a fixed text */
        return;               /* there is no git */
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++) {
            cleanup_free char *path = text_format("%s/%s/%s", i % 2 ? "ab" : "a", names[i], names[j]);
            make(path, "");
        }
    for (size_t i = 3; i < count; i++)
        make(names[i], "");
    for (unsigned round = 0; round < 60; round++) {
        random_state = round + 1;
        random_patterns(".gitignore");
        random_patterns("a/.gitignore");
        cleanup_free char *ours = left_of(NULL), *theirs = left_by_git();
        ck_assert_msg(strcmp(ours, theirs) == 0, "round %u: ours\n%s\ngit's\n%s", round, ours, theirs);
    }
}
END_TEST

/* ---- trees ------------------------------------------------------------------------------------------ */

static int place(struct place *ret, const char *state, const char *file)
{
    const char *const list[] = {file, NULL};

    return place_open(ret, &files, "", state, file ? list : NULL, &e);
}

/* All of a tree, read in pieces, as text. */
static struct buffer read_whole(const struct guest_tree *t, size_t piece)
{
    struct buffer all = {0};
    char bytes[100];

    for (uint64_t at = 0; at < t->size;) {
        size_t n = t->size - at < piece ? (size_t)(t->size - at) : piece;
        ck_assert_msg(t->read(t->context, at, bytes, n, &e) == 0, "%s", e.text);
        buffer_add(&all, bytes, n);
        at += n;
    }
    return all;
}

START_TEST(a_tree_is_read_in_any_pieces)
{
    struct state_list l = {0};
    struct place p;
    struct state s;

    ck_assert_int_eq(keep("", "hello"), 0);
    ck_assert(add(&l, "a", S_IFREG | 0644, NULL) == 0 && add(&l, "d", S_IFDIR | 0755, NULL) == 0 &&
              add(&l, "d/link", S_IFLNK | 0777, "../a") == 0);
    ck_assert_int_eq(states_make(&files, "", &l, &s, &e), 0);
    state_list_done(&l);
    cleanup_free char *text = text_format("%lld:/data", (long long)s.number);
    ck_assert_msg(place(&p, text, HELLO_UUID ":/usr/x:y.txt:755") == 0, "%s", e.text);
    ck_assert_uint_eq(p.count, 2);
    ck_assert_str_eq(p.trees[0].path, "/data");
    ck_assert_str_eq(p.trees[1].path, "/usr");
    struct buffer whole = read_whole(&p.trees[0], 100);
    for (size_t piece = 1; piece < 50; piece += 7) {
        struct buffer again = read_whole(&p.trees[0], piece);
        ck_assert(again.size == whole.size && memcmp(again.data, whole.data, whole.size) == 0);
        buffer_free(&again);
    }
    ck_assert_uint_eq(whole.size, 3 * 32 + sizeof("a") + sizeof("d") + sizeof("d/link") + 5 + 4);
    ck_assert(memmem(whole.data, whole.size, "hello", 5) && memmem(whole.data, whole.size, "../a", 4));
    buffer_free(&whole);
    whole = read_whole(&p.trees[1], 100);
    ck_assert(memmem(whole.data, whole.size, "x:y.txt", 8) && whole.data[0] == (char)0xed &&
              whole.data[1] == (char)0x81);
    buffer_free(&whole);
    place_done(&p);
}
END_TEST

START_TEST(what_places_nothing_is_refused)
{
    static const char *const states[] = {"",  "0",        "x",    "1:", "-1", "1x", "99999999999999999999",
                                         "7", "1:a/../b", "1:/.."};
    static const char *const paths[] = {"",
                                        ":/x",
                                        HELLO_UUID,
                                        HELLO_UUID ":",
                                        HELLO_UUID ":/",
                                        HELLO_UUID ":/a/../b",
                                        HELLO_UUID ":..",
                                        HELLO_UUID ":/a/..",
                                        HELLO_UUID ":a/../b",
                                        "no:/x"};
    struct place p;

    ck_assert_int_eq(keep("", "hello"), 0);
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        ck_assert_msg(place(&p, states[i], NULL) < 0, "%s", states[i]);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        ck_assert_msg(place(&p, NULL, paths[i]) < 0, "%s", paths[i]);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("files");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, equal_content_is_one_file);
    unit_add(&u, bounds_hold_for_one_and_all);
    unit_add(&u, what_no_record_names_is_swept);
    unit_add(&u, content_that_was_cut_is_told);
    unit_add(&u, damaged_records_are_put_aside);
    unit_add(&u, a_state_is_kept_and_equal_ones_are_one);
    unit_add(&u, a_state_of_what_is_not_there_is_none);
    unit_add(&u, hostile_lists_are_refused);
    unit_add(&u, what_is_unchanged_is_not_read);
    unit_add(&u, a_directory_is_kept_as_it_is);
    unit_add(&u, patterns_are_gitignores);
    unit_add(&u, git_leaves_out_the_same);
    unit_add(&u, a_tree_is_read_in_any_pieces);
    unit_add(&u, what_places_nothing_is_refused);
    return unit_end(&u);
}
