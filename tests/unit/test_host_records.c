/* store/records: whole after a crash, for several processes and threads; what is not ours is refused as it is. */
/* also: threads */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "base/thread.h"
#include "store/records.h"
#include "store/sqlite.h"

#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const first_only[] = {"CREATE TABLE pair (number INTEGER PRIMARY KEY, a INTEGER NOT NULL, "
                                         "b INTEGER NOT NULL, text TEXT) STRICT;",
                                         NULL};
static const char *const both[] = {"CREATE TABLE pair (number INTEGER PRIMARY KEY, a INTEGER NOT NULL, "
                                   "b INTEGER NOT NULL, text TEXT) STRICT;",
                                   "ALTER TABLE pair ADD COLUMN c INTEGER NOT NULL DEFAULT 7;", NULL};
static const struct records_schema schema = {"test.db", 0x43500001, first_only};
static const struct records_schema newer = {"test.db", 0x43500001, both};
static const struct records_schema other = {"test.db", 0x43500002, first_only};

static char root[] = "/tmp/capsid-records-XXXXXX";
static struct error e;

static void setup(void)
{
    strcpy(root, "/tmp/capsid-records-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    e = (struct error){0};
}

static void teardown(void)
{
    file_remove_tree(root, &e);
}

static struct records *open_records(void)
{
    struct records *r = NULL;

    ck_assert_msg(records_open(&r, root, &schema, &e) == 0, "%s", e.text);
    return r;
}

/* Adds a row whose a and b are both that number, in two steps, and keeps it. */
static int add_pair(struct records *r, int64_t number)
{
    if (records_begin(r, &e) < 0)
        return -1;
    int result = records_do(r, "INSERT INTO pair (a, b) VALUES (?, 0)",
                            RECORDS_VALUES(records_number(number)), &e) == 1 &&
                         records_do(r, "UPDATE pair SET b = a WHERE a = ?",
                                    RECORDS_VALUES(records_number(number)), &e) == 1
                     ? 0
                     : -1;
    return records_end(r, result, &e);
}

static int64_t ask(struct records *r, const char *question)
{
    int64_t answer;

    ck_assert_msg(records_begin(r, &e) == 0, "%s", e.text);
    ck_assert_msg(records_ask_number(r, question, NULL, &answer, &e) == 0, "%s", e.text);
    ck_assert_int_eq(records_end(r, 0, &e), 0);
    return answer;
}

static void change(const char *statements)
{
    cleanup_free char *path = text_format("%s/test.db", root);
    char *why = NULL;
    sqlite3 *db;

    ck_assert_int_eq(sqlite_open(&e), 0);
    ck_assert_int_eq(sqlite.open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL), SQLITE_OK);
    ck_assert_msg(sqlite.exec(db, statements, NULL, NULL, &why) == SQLITE_OK, "%s", why);
    sqlite.close(db);
}

static void write_over(const char *text, off_t at)
{
    cleanup_free char *path = text_format("%s/test.db", root);
    cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    ck_assert(pwrite(fd, text, strlen(text), at) == (ssize_t)strlen(text));
}

/* It cannot be opened, for this reason, and the file is what it was. */
static void expect_refused(const struct records_schema *with, enum error_kind kind, const char *words)
{
    char before[DIGEST_HEX_SIZE], after[DIGEST_HEX_SIZE];
    cleanup_free char *path = text_format("%s/test.db", root);
    struct records *r = NULL;
    struct error why = {0};

    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ck_assert_int_eq(digest_fd(fd, NULL, before, &e), 0);
    ck_assert_int_lt(records_open(&r, root, with, &why), 0);
    ck_assert_msg(why.kind == kind && strstr(why.text, words) && strstr(why.text, path), "%d %s", why.kind,
                  why.text);
    lseek(fd, 0, SEEK_SET);
    ck_assert_int_eq(digest_fd(fd, NULL, after, &e), 0);
    ck_assert_str_eq(before, after);
    close(fd);
}

START_TEST(what_is_kept_is_there_and_what_is_taken_back_is_not)
{
    struct records *r = open_records();

    ck_assert_int_eq(add_pair(r, 5), 0);
    ck_assert_int_eq(records_begin(r, &e), 0);
    ck_assert_int_eq(records_do(r, "INSERT INTO pair (a, b, text) VALUES (1, 2, ?)",
                                RECORDS_VALUES(records_text("gone")), &e),
                     1);
    ck_assert_int_eq(records_end(r, -1, &e), -1);
    records_close(r);
    r = open_records();
    ck_assert_int_eq(ask(r, "SELECT count(*) FROM pair"), 1);
    ck_assert_int_eq(ask(r, "SELECT b FROM pair"), 5);
    ck_assert_int_eq(records_check(r, &e), 0);
    records_close(r);
}
END_TEST

START_TEST(text_comes_back_as_it_was)
{
    static const char text[] = "a\0b\xc3\xa9'; DROP TABLE pair; --";
    struct records *r = open_records();
    struct records_rows rows;
    size_t size;

    ck_assert_int_eq(records_begin(r, &e), 0);
    ck_assert_int_eq(records_do(r, "INSERT INTO pair (a, b, text) VALUES (?, ?, ?), (2, 2, ?)",
                                RECORDS_VALUES(records_number(INT64_MIN), records_number(INT64_MAX),
                                               records_text_of(text, sizeof(text) - 1), records_text(NULL)),
                                &e),
                     2);
    ck_assert_int_eq(records_ask(&rows, r, "SELECT a, b, text FROM pair ORDER BY number", NULL, &e), 0);
    ck_assert_int_eq(records_next(&rows, &e), 1);
    ck_assert(records_get_number(&rows, 0) == INT64_MIN && records_get_number(&rows, 1) == INT64_MAX);
    const char *got = records_get_text(&rows, 2, &size);
    ck_assert(size == sizeof(text) - 1 && memcmp(got, text, sizeof(text)) == 0);
    ck_assert_int_eq(records_next(&rows, &e), 1);
    ck_assert_ptr_null(records_get_text(&rows, 2, NULL));
    ck_assert_int_eq(records_next(&rows, &e), 0);
    records_done(&rows);
    ck_assert_int_lt(records_do(r, "INSERT INTO pair (a, b) VALUES ('x', 1)", NULL, &e), 0);
    ck_assert_int_lt(records_do(r, "SELECT nothing", NULL, &e), 0);
    ck_assert_int_eq(records_end(r, 0, &e), 0);
    records_close(r);
}
END_TEST

START_TEST(files_are_this_users_alone_and_closed_in_programs)
{
    static const char *const names[] = {"test.db", "test.db-wal", "test.db-shm"};
    mode_t mask = umask(0);
    struct records *r = open_records();
    struct stat st;

    umask(mask);
    ck_assert_int_eq(add_pair(r, 1), 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        cleanup_free char *path = text_format("%s/%s", root, names[i]);
        ck_assert_int_eq(stat(path, &st), 0);
        ck_assert_uint_eq(st.st_mode & 07777, 0600);
    }
    for (int fd = 3; fd < 64; fd++) {
        char link[32], target[64] = "";
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        if (readlink(link, target, sizeof(target) - 1) > 0 && strncmp(target, root, strlen(root)) == 0)
            ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    }
    records_close(r);
}
END_TEST

START_TEST(migrations_keep_what_is_there_and_newer_files_are_refused)
{
    struct records *r = open_records();

    ck_assert_int_eq(add_pair(r, 5), 0);
    records_close(r);
    ck_assert_int_eq(records_open(&r, root, &newer, &e), 0);
    ck_assert_int_eq(ask(r, "SELECT a + c FROM pair"), 12);
    records_close(r);
    expect_refused(&schema, ERROR_GENERAL, "newer capsid (version 2");
}
END_TEST

START_TEST(what_is_not_ours_is_refused_as_it_is)
{
    write_over("this is no database, it is a text of more than a hundred bytes, so that there is a header to "
               "be read",
               0);
    expect_refused(&schema, ERROR_CORRUPT, "file is not a database");
    teardown();
    setup();
    change("CREATE TABLE pair (a)");
    expect_refused(&schema, ERROR_CORRUPT, "another program");
    teardown();
    setup();
    records_close(open_records());
    expect_refused(&other, ERROR_CORRUPT, "another program");
    change("CREATE TRIGGER t AFTER INSERT ON pair BEGIN DELETE FROM pair; END");
    expect_refused(&schema, ERROR_CORRUPT, "other tables");
    change("DROP TRIGGER t; ALTER TABLE pair ADD COLUMN d INTEGER GENERATED ALWAYS AS (a)");
    expect_refused(&schema, ERROR_CORRUPT, "other tables");
    change("ALTER TABLE pair DROP COLUMN d; PRAGMA user_version = -1");
    expect_refused(&schema, ERROR_CORRUPT, "another program");
}
END_TEST

START_TEST(places_that_others_can_change_are_refused)
{
    cleanup_free char *path = text_format("%s/test.db", root);
    struct records *r = NULL;

    records_close(open_records());
    ck_assert_int_eq(chmod(path, 0622), 0);
    expect_refused(&schema, ERROR_CORRUPT, "not this user's alone");
    ck_assert(unlink(path) == 0 && symlink("/etc/passwd", path) == 0);
    ck_assert(records_open(&r, root, &schema, &e) < 0 && strstr(e.text, "is no file"));
    ck_assert(unlink(path) == 0 && mkfifo(path, 0600) == 0);
    ck_assert(records_open(&r, root, &schema, &e) < 0 && strstr(e.text, "is no file"));
    ck_assert(unlink(path) == 0 && chmod(root, 0777) == 0);
    ck_assert(records_open(&r, root, &schema, &e) < 0 && strstr(e.text, "others may write"));
    ck_assert_int_eq(chmod(root, 0700), 0);
}
END_TEST

START_TEST(damage_is_told_and_put_aside)
{
    struct records *r = open_records();
    char *aside;

    for (int i = 0; i < 2000; i++)
        ck_assert_int_eq(add_pair(r, i), 0);
    struct stat before, after;
    cleanup_free char *file = text_format("%s/test.db", root);
    ck_assert_int_eq(stat(file, &before), 0);
    records_tidy(r);
    ck_assert(stat(file, &after) == 0 && after.st_size > before.st_size);
    records_close(r);
    change("PRAGMA user_version"); /* leaves no log, where all pages are once more */
    for (off_t page = 1; page < 8; page++)
        write_over("damage, where a page of the table begins", page * 4096);
    r = open_records();
    ck_assert_int_lt(records_check(r, &e), 0);
    ck_assert(e.kind == ERROR_CORRUPT && strstr(e.text, "is damaged") && strstr(e.text, "doctor --repair"));
    records_close(r);
    ck_assert_int_eq(records_put_aside(root, &schema, &aside, &e), 0);
    ck_assert(file_exists(aside));
    free(aside);
    r = open_records();
    ck_assert_int_eq(ask(r, "SELECT count(*) FROM pair"), 0);
    records_close(r);
    cleanup_free char *path = text_format("%s/test.db", root);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(records_put_aside(root, &schema, &aside, &e), 0);
    ck_assert_ptr_null(aside);
}
END_TEST

/* Whatever the file holds, it is refused, or what can be read of it is. */
START_TEST(damage_of_any_kind_does_no_harm)
{
    cleanup_free char *path = text_format("%s/test.db", root);
    cleanup_free char *log = text_format("%s-wal", path);
    cleanup_buffer struct buffer sound = {0};
    uint64_t random = 11;
    int opened = 0;

    struct records *r = open_records();
    for (int i = 0; i < 300; i++)
        ck_assert_int_eq(add_pair(r, i), 0);
    records_close(r);
    change("PRAGMA user_version"); /* which leaves no log */
    ck_assert_int_eq(file_read(path, 1 << 20, &sound, &e), 0);
    for (int round = 0; round < 150; round++) {
        char *bytes = unit_exact(sound.data, sound.size);
        for (uint32_t n = 1 + unit_random(&random) % 8; n > 0; n--)
            bytes[unit_random(&random) % (n % 2 ? sound.size : 4096)] = (char)unit_random(&random);
        unlink(log);
        ck_assert_int_eq(file_replace(path, root, bytes, sound.size, 0600, &e), 0);
        free(bytes);
        r = NULL;
        if (records_open(&r, root, &schema, &e) == 0) {
            opened++;
            records_check(r, &e);
            add_pair(r, 1000 + round);
        }
        records_close(r);
    }
    ck_assert_int_gt(opened, 0);
}
END_TEST

/* ---- several at a time, and killed --------------------------------------------------------------- */

enum { WRITERS = 3, EACH = 40 };

START_TEST(processes_make_it_and_write_to_it_at_the_same_time)
{
    for (int i = 0; i < WRITERS; i++) {
        if (fork() != 0)
            continue;
        struct records *r = NULL;
        int result = records_open(&r, root, &schema, &e);
        for (int n = 0; result == 0 && n < EACH; n++)
            result = add_pair(r, i * EACH + n);
        records_close(r);
        _exit(result == 0 ? 0 : 1);
    }
    for (int i = 0, status; i < WRITERS; i++)
        ck_assert(wait(&status) > 0 && status == 0);
    struct records *r = open_records();
    ck_assert_int_eq(ask(r, "SELECT count(DISTINCT a) FROM pair WHERE a = b"), WRITERS * EACH);
    records_close(r);
}
END_TEST

static void *write_pairs(void *records)
{
    struct error why = {0};
    struct records *r = records;

    for (int n = 0; n < EACH; n++) {
        int result = records_begin(r, &why);
        if (result == 0)
            result = records_do(r, "INSERT INTO pair (a, b) SELECT count(*), count(*) FROM pair", NULL, &why);
        ck_assert_msg(records_end(r, result < 0 ? -1 : 0, &why) == 0, "%s", why.text);
    }
    return NULL;
}

START_TEST(threads_share_one)
{
    struct records *r = open_records();
    pthread_t threads[WRITERS];

    for (int i = 0; i < WRITERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_pairs, r), 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(ask(r, "SELECT count(DISTINCT a) FROM pair"), WRITERS * EACH);
    records_close(r);
}
END_TEST

/* Writes until it is killed, and says on the pipe what it was told is kept. */
static void write_until_killed(int told, int64_t from)
{
    struct records *r = NULL;

    if (records_open(&r, root, &schema, &e) < 0)
        _exit(1);
    for (int64_t n = from; add_pair(r, n) == 0; n++)
        if (write(told, "x", 1) != 1)
            break;
    _exit(1);
}

/* From its start, when it makes the file, up to any moment of its work. */
START_TEST(a_writer_may_be_killed_at_any_moment)
{
    uint64_t random = 42;
    int64_t kept = 0;

    for (int round = 0; round < 60; round++) {
        int told[2], wanted = (int)(unit_random(&random) % 25), count = 0, status;
        char byte;
        ck_assert_int_eq(pipe2(told, O_CLOEXEC), 0);
        pid_t pid = fork();
        if (pid == 0)
            write_until_killed(told[1], kept);
        close(told[1]);
        while (count < wanted && read(told[0], &byte, 1) == 1)
            count++;
        usleep(unit_random(&random) % 2000);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
        while (read(told[0], &byte, 1) == 1)
            count++;
        close(told[0]);
        struct records *r = open_records();
        ck_assert_int_eq(records_check(r, &e), 0);
        ck_assert_int_eq(ask(r, "SELECT count(*) FROM pair WHERE a <> b"), 0);
        int64_t there = ask(r, "SELECT count(*) FROM pair");
        ck_assert_int_ge(there, kept + count);
        ck_assert_int_le(there, kept + count + 1); /* it was killed before it could say so */
        ck_assert_int_eq(ask(r, "SELECT count(DISTINCT a) FROM pair"), there);
        kept = there;
        records_close(r);
    }
    ck_assert_int_gt(kept, 100);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("records");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, what_is_kept_is_there_and_what_is_taken_back_is_not);
    unit_add(&u, text_comes_back_as_it_was);
    unit_add(&u, files_are_this_users_alone_and_closed_in_programs);
    unit_add(&u, migrations_keep_what_is_there_and_newer_files_are_refused);
    unit_add(&u, what_is_not_ours_is_refused_as_it_is);
    unit_add(&u, places_that_others_can_change_are_refused);
    unit_add(&u, damage_is_told_and_put_aside);
    unit_add(&u, damage_of_any_kind_does_no_harm);
    unit_add(&u, processes_make_it_and_write_to_it_at_the_same_time);
    unit_add(&u, threads_share_one);
    unit_add(&u, a_writer_may_be_killed_at_any_moment);
    return unit_end(&u);
}
