/* store/refs and store/blobs: names are compared and swapped; files come and go by their digest. */
#include "base/cleanup.h"
#include "base/text.h"
#include "store/blobs.h"
#include "store/refs.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct refs names = {
    .place = "images/names", .ending = ".json", .lock = "of-the-test", .size_max = 100};
static const struct blobs files = {.place = "images", .ending = ".bin"};
static const struct cancel nobody = {.fd = -1};

static char root[] = "/tmp/capsid-refs-XXXXXX";
static struct home home;
static struct error e;

static void setup(void)
{
    strcpy(root, "/tmp/capsid-refs-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    e = (struct error){0};
    ck_assert_msg(home_open(&home, root, &e) == 0, "%s", e.text);
}

static void teardown(void)
{
    home_close(&home);
    file_remove_tree(root, &e);
}

static int swap(const char *name, const struct refs_version *version, const char *text)
{
    e = (struct error){0};
    return refs_swap(&home, &names, name, version, text, &nobody, &e);
}

static struct refs_version expect_text(const char *name, const char *wanted)
{
    cleanup_buffer struct buffer text = {0};
    struct refs_version version = {0};

    ck_assert_msg(refs_get(&home, &names, name, &text, &version, &e) == 0, "%s", e.text);
    ck_assert_str_eq(text.data, wanted);
    return version;
}

START_TEST(a_name_says_what_was_put_upon_what_was_read)
{
    const struct refs_version none = {0};
    cleanup_buffer struct buffer text = {0};

    ck_assert_int_lt(refs_get(&home, &names, "a", &text, NULL, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_NOT_FOUND);
    ck_assert_int_eq(swap("a", &none, "one"), 0);
    const struct refs_version one = expect_text("a", "one");
    ck_assert(swap("a", &none, "two") < 0 && e.kind == ERROR_BUSY);
    ck_assert_int_eq(swap("a", &one, "two"), 0);
    ck_assert(swap("a", &one, "three") < 0 && e.kind == ERROR_BUSY);
    ck_assert(swap("a", &one, NULL) < 0 && e.kind == ERROR_BUSY);
    const struct refs_version two = expect_text("a", "two");
    ck_assert_int_eq(swap("a", &two, NULL), 0);
    ck_assert_int_lt(refs_get(&home, &names, "a", &text, NULL, &e), 0);
    ck_assert_int_eq(swap("a", &none, NULL), 0);
    ck_assert_int_eq(swap("a", &none, ""), 0); /* which is not the same as nothing */
    expect_text("a", "");
}
END_TEST

START_TEST(what_is_no_name_or_too_long_is_refused)
{
    static const char *const bad[] = {"", "../x", "a/b", ".a", "a b"};
    const struct refs_version none = {0};
    cleanup_buffer struct buffer text = {0};
    char large[102];

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert(swap(bad[i], &none, "x") < 0 && e.kind == ERROR_USAGE);
        ck_assert(refs_get(&home, &names, bad[i], &text, NULL, &e) < 0 && e.kind == ERROR_NOT_FOUND);
    }
    memset(large, 'x', 101);
    large[101] = '\0';
    ck_assert(swap("a", &none, large) < 0 && e.kind == ERROR_GENERAL);
    large[100] = '\0';
    ck_assert_int_eq(swap("a", &none, large), 0);
    cleanup_free char *path = refs_path(&home, &names, "pipe");
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert(refs_get(&home, &names, "pipe", &text, NULL, &e) < 0 && strstr(e.text, "is a FIFO"));
}
END_TEST

static int add_name(const char *name, void *all)
{
    buffer_add_text(all, "%s ", name);
    return strcmp(name, "stop") == 0 ? 7 : 0;
}

START_TEST(names_are_listed_in_order)
{
    static const char *const some[] = {"sh-too", "sh", "a", "sh.x"};
    const struct refs_version none = {0};
    cleanup_buffer struct buffer all = {0};
    cleanup_buffer struct buffer stopped = {0};

    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++)
        ck_assert_int_eq(swap(some[i], &none, "x"), 0);
    cleanup_free char *stray = home_path(&home, "images/names/stray.txt");
    ck_assert_int_eq(mkfifo(stray, 0600), 0);
    ck_assert_int_eq(refs_each(&home, &names, add_name, &all, &e), 0);
    ck_assert_str_eq(all.data, "a sh sh-too sh.x ");
    ck_assert_int_eq(swap("stop", &none, "x"), 0);
    ck_assert_int_eq(swap("zero", &none, "x"), 0);
    ck_assert_int_eq(refs_each(&home, &names, add_name, &stopped, &e), 7);
    ck_assert_str_eq(stopped.data, "a sh sh-too sh.x stop ");
}
END_TEST

enum { WRITERS = 3, EACH = 40 };

/* Adds one to the number that the name says. */
static int count_up(const struct home *h)
{
    for (;;) {
        cleanup_buffer struct buffer text = {0};
        struct refs_version version = {0};
        struct error why = {0};
        char next[16];
        refs_get(h, &names, "counter", &text, &version, &why);
        snprintf(next, sizeof(next), "%d", (text.data ? atoi(text.data) : 0) + 1);
        why = (struct error){0};
        if (refs_swap(h, &names, "counter", &version, next, &nobody, &why) == 0)
            return 0;
        if (why.kind != ERROR_BUSY)
            return -1;
    }
}

START_TEST(no_change_of_several_processes_is_lost)
{
    cleanup_free char *wanted = text_format("%d", WRITERS * EACH);

    for (int i = 0; i < WRITERS; i++) {
        if (fork() != 0)
            continue;
        struct home own;
        int result = home_open(&own, root, &e);
        for (int n = 0; result == 0 && n < EACH; n++)
            result = count_up(&own);
        home_close(&own);
        _exit(result == 0 ? 0 : 1);
    }
    for (int i = 0, status; i < WRITERS; i++)
        ck_assert(wait(&status) > 0 && status == 0);
    expect_text("counter", wanted);
}
END_TEST

static int check_blob(const struct blob *one, void *digest)
{
    ck_assert_str_eq(one->digest, digest);
    ck_assert(one->size == 5 && one->created > 1000000000);
    return 1;
}

START_TEST(blobs_come_and_go_by_their_digest)
{
    cleanup_free char *file = text_format("%s/made", home.scratch);
    cleanup_free char *stray = home_path(&home, "images/not-a-digest.bin");
    char digest[DIGEST_HEX_SIZE];

    digest_bytes("hello", 5, digest);
    ck_assert(!blobs_have(&home, &files, digest));
    ck_assert_int_eq(file_replace(file, home.scratch, "hello", 5, 0600, &e), 0);
    ck_assert_int_eq(blobs_put(&home, &files, digest, file, &e), 0);
    ck_assert(blobs_have(&home, &files, digest) && !file_exists(file));
    ck_assert_int_eq(blobs_put_text(&home, &files, digest, "hello", &e), 0);
    ck_assert_int_eq(mkfifo(stray, 0600), 0);
    ck_assert_int_eq(blobs_each(&home, &files, check_blob, digest, &e), 1);
    ck_assert_int_lt(blobs_put(&home, &files, digest, file, &e), 0);
    ck_assert_int_eq(blobs_remove(&home, &files, digest, &e), 0);
    ck_assert_int_eq(blobs_remove(&home, &files, digest, &e), 0);
    ck_assert_int_eq(blobs_each(&home, &files, check_blob, digest, &e), 0);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("refs");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, a_name_says_what_was_put_upon_what_was_read);
    unit_add(&u, what_is_no_name_or_too_long_is_refused);
    unit_add(&u, names_are_listed_in_order);
    unit_add(&u, no_change_of_several_processes_is_lost);
    unit_add(&u, blobs_come_and_go_by_their_digest);
    return unit_end(&u);
}
