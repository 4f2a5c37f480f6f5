/* UNPACK: a tree in one stream, cut anywhere, and what must not lead out of it. */
#include "ns_client.h"

#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct ns_guest guest;
static struct ns_conn conn;
static uint8_t tree[1 << 20];
static struct wire_writer writer;

static void begin_test(void)
{
    ns_start(&guest, NULL);
    ns_connect(&guest, &conn, true);
}

static void begin_tree(void)
{
    writer = wire_writer_of(tree, sizeof(tree));
}

static void add_sized(uint32_t mode, const char *path, const char *content, uint64_t size)
{
    wire_put_u32(&writer, mode);
    wire_put_u32(&writer, 0);
    wire_put_u32(&writer, UINT32_MAX); /* the request's, 0 */
    wire_put_u64(&writer, 1234567890123456789);
    wire_put_u64(&writer, size);
    wire_put_str(&writer, path);
    memcpy(writer.pos, content, strlen(content));
    writer.pos += strlen(content);
}

static void add(uint32_t mode, const char *path, const char *content)
{
    add_sized(mode, path, content, strlen(content));
}

/* Sends what add() has made, the first bytes in the request and chunk bytes in each DATA. What came last. */
static struct frame unpack(const char *directory, size_t first, size_t chunk)
{
    size_t size = (size_t)(writer.pos - tree);
    uint32_t stream = ns_stream(&conn);
    uint64_t sent = first < size ? first : size, limit = sent;

    NS_SEND(&conn, unpack, stream,
            {.path = ns_in_dir(&guest, directory), .size = size, .data = {tree, (uint32_t)sent}});
    for (;;) {
        struct frame f = ns_receive(&conn);
        struct msg_window w;
        if (f.type != MSG_WINDOW)
            return f;
        ck_assert(msg_window_decode(&w, f.payload, f.length));
        limit = w.limit;
        while (sent < limit) {
            uint32_t n = (uint32_t)(limit - sent < chunk ? limit - sent : chunk);
            NS_SEND(&conn, data, stream, {.channel = 0, .offset = sent, .data = {tree + sent, n}});
            sent += n;
        }
    }
}

static void unpack_ok(size_t first, size_t chunk)
{
    ck_assert_uint_eq(unpack("t", first, chunk).type, MSG_OK);
}

/* Returns the errno. */
static uint32_t unpack_fails(uint16_t code)
{
    struct frame f = unpack("t", 60000, 60000);
    struct msg_error m;

    ck_assert_uint_eq(f.type, MSG_ERROR);
    ck_assert(msg_error_decode(&m, f.payload, f.length));
    ck_assert_uint_eq(m.request, MSG_UNPACK);
    ck_assert_uint_eq(m.code, code);
    return m.os_errno;
}

static void has(const char *path, const char *content)
{
    char text[100] = "";
    int fd = open(ns_in_dir(&guest, path), O_RDONLY | O_CLOEXEC);

    ck_assert_msg(fd >= 0, "%s is not there", path);
    ck_assert_int_ge(read(fd, text, sizeof(text) - 1), 0);
    close(fd);
    ck_assert_str_eq(text, content);
}

static void has_mode(const char *path, uint32_t mode)
{
    struct stat st;

    ck_assert_int_eq(lstat(ns_in_dir(&guest, path), &st), 0);
    ck_assert_uint_eq(st.st_mode, mode);
}

static void add_all_kinds(void)
{
    begin_tree();
    add(S_IFREG | 0640, "a", "hello");
    add(S_IFDIR | 0750, "d", "");
    add(S_IFREG | 0755, "d/b", "");
    add(S_IFREG | 04755, "d/c", "in d");
    add(S_IFLNK | 0777, "d/link", "../elsewhere");
    add(S_IFREG | 0600, "new/deep/e", "with directories");
    add(S_IFREG | 0600, "new\nline\xff", "a name");
    add(S_IFDIR | 0700, "empty", "");
}

START_TEST(every_kind_cut_anywhere)
{
    static const size_t chunks[] = {1, 2, 7, 31, 60000};
    char target[100] = "";
    struct stat st;

    begin_test();
    for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
        add_all_kinds();
        unpack_ok(i, chunks[i]); /* the second time each file and link is there, and is replaced */
        has("t/a", "hello");
        has("t/d/b", "");
        has("t/d/c", "in d");
        has("t/new/deep/e", "with directories");
        has("t/new\nline\xff", "a name");
        has_mode("t/a", S_IFREG | 0640);
        has_mode("t/d", S_IFDIR | 0750);
        has_mode("t/d/c", S_IFREG | 04755);
        has_mode("t/new/deep", S_IFDIR | 0755);
        has_mode("t/empty", S_IFDIR | 0700);
        ck_assert_int_eq(readlink(ns_in_dir(&guest, "t/d/link"), target, sizeof(target)), 12);
        ck_assert_str_eq(target, "../elsewhere");
        ck_assert_int_eq(stat(ns_in_dir(&guest, "t/a"), &st), 0);
        ck_assert_int_eq(st.st_mtim.tv_sec, 1234567890);
    }
    begin_tree();
    ck_assert_uint_eq(unpack("new/empty", 0, 1).type, MSG_OK);
    has_mode("new/empty", S_IFDIR | 0755);
    ns_stop(&guest);
}
END_TEST

START_TEST(more_than_a_window)
{
    char name[32];

    begin_test();
    begin_tree();
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof(name), "d%d/f%d", i / 100, i);
        add(S_IFREG | 0644, name, "0123456789abcdefghijklmnopqrstuvwxyz");
    }
    ck_assert_int_gt(writer.pos - tree, 600000);
    unpack_ok(1000, 32768);
    has("t/d0/f0", "0123456789abcdefghijklmnopqrstuvwxyz");
    has("t/d99/f9999", "0123456789abcdefghijklmnopqrstuvwxyz");
    ns_stop(&guest);
}
END_TEST

START_TEST(no_path_leads_elsewhere)
{
    static const char *const paths[] = {"",       "/a",   "..",    "../a",      ".",  "./a", "d/..",
                                        "d/../a", "d//a", "d/./a", "d/../../a", "a/", "//",  "/"};
    static char longest[5000];

    begin_test();
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        begin_tree();
        add(S_IFREG | 0644, paths[i], "x");
        unpack_fails(PROTO_ERR_INVALID);
    }
    memset(longest, 'x', sizeof(longest) - 1);
    begin_tree();
    add(S_IFREG | 0644, longest, "x");
    unpack_fails(PROTO_ERR_INVALID);
    longest[300] = '\0';
    begin_tree();
    add(S_IFREG | 0644, longest, "x");
    ck_assert_uint_eq(unpack_fails(PROTO_ERR_OS), ENAMETOOLONG);
    ck_assert_int_ne(access(ns_in_dir(&guest, "a"), F_OK), 0);
    ns_stop(&guest);
}
END_TEST

/* Those of the stream itself, and those that were there. */
START_TEST(no_link_leads_elsewhere)
{
    static const char *const targets[] = {"../out", "/tmp", ".."};

    begin_test();
    ck_assert_int_eq(mkdir(ns_in_dir(&guest, "out"), 0755), 0);
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        begin_tree();
        add(S_IFLNK | 0777, "l", targets[i]);
        unpack_ok(0, 60000);
        begin_tree();
        add(S_IFREG | 0644, "l/evil", "x");
        ck_assert_uint_eq(unpack_fails(PROTO_ERR_OS), ENOTDIR);
        begin_tree();
        add(S_IFDIR | 0777, "l", "");
        ck_assert_uint_eq(unpack_fails(PROTO_ERR_OS), ENOTDIR);
    }
    begin_tree();
    add(S_IFREG | 0644, "l", "a file in place of the link");
    unpack_ok(0, 60000);
    has("t/l", "a file in place of the link");
    has_mode("out", S_IFDIR | 0755);
    ck_assert_int_eq(rmdir(ns_in_dir(&guest, "out")), 0);
    ck_assert_int_ne(access("/tmp/evil", F_OK), 0);
    ns_stop(&guest);
}
END_TEST

START_TEST(what_is_no_tree_is_refused)
{
    begin_test();
    begin_tree();
    add(S_IFIFO | 0600, "f", "");
    unpack_fails(PROTO_ERR_INVALID);
    begin_tree();
    add(S_IFREG | 0200644, "f", "");
    unpack_fails(PROTO_ERR_INVALID);
    begin_tree();
    add(S_IFDIR | 0755, "d", "x");
    unpack_fails(PROTO_ERR_INVALID);
    begin_tree();
    add(S_IFLNK | 0777, "l", "");
    unpack_fails(PROTO_ERR_INVALID);
    begin_tree();
    add_sized(S_IFLNK | 0777, "l", "x", 4096);
    unpack_fails(PROTO_ERR_INVALID);
    begin_tree();
    add_sized(S_IFREG | 0644, "f", "x", UINT64_MAX);
    unpack_fails(PROTO_ERR_INVALID);
    begin_tree();
    add(S_IFREG | 0644, "before", "stays");
    add_sized(S_IFREG | 0644, "f", "less than it says", 100);
    unpack_fails(PROTO_ERR_INVALID);
    has("t/before", "stays");
    begin_tree();
    add(S_IFREG | 0644, "f", "");
    writer.pos -= 3;
    unpack_fails(PROTO_ERR_INVALID);
    ck_assert_int_eq(mkdir(ns_in_dir(&guest, "t/dir"), 0755), 0);
    begin_tree();
    add(S_IFREG | 0644, "dir", "");
    ck_assert_uint_eq(unpack_fails(PROTO_ERR_OS), EISDIR);
    NS_SEND(&conn, unpack, 900, {.path = "relative", .size = 0});
    ns_expect_error(&conn, 900, PROTO_ERR_INVALID);
    NS_SEND(&conn, unpack, 900, {.path = "/tmp", .uid = UINT32_MAX});
    ns_expect_error(&conn, 900, PROTO_ERR_INVALID);
    NS_SEND(&conn, unpack, 900, {.path = "/tmp", .size = 1, .data = {tree, 2}});
    ns_expect_error(&conn, 900, PROTO_ERR_INVALID);
    ns_stop(&guest);
}
END_TEST

START_TEST(one_that_is_unfinished_ends_with_its_connection)
{
    struct msg_window w;

    begin_test();
    begin_tree();
    add(S_IFREG | 0644, "f", "x");
    NS_SEND(&conn, unpack, 5, {.path = ns_in_dir(&guest, "t"), .size = 1000, .data = {tree, 10}});
    NS_EXPECT(&conn, window, WINDOW, 5, &w);
    NS_SEND(&conn, quiesce, 6, {});
    ns_expect_error(&conn, 6, PROTO_ERR_BUSY);
    NS_SEND(&conn, end, 5, {.channel = 0, .offset = 10});
    ns_expect_error(&conn, 5, PROTO_ERR_INVALID);
    NS_SEND(&conn, unpack, 5, {.path = ns_in_dir(&guest, "t"), .size = 1000, .data = {tree, 10}});
    NS_EXPECT(&conn, window, WINDOW, 5, &w);
    ns_disconnect(&conn);
    ns_connect(&guest, &conn, true);
    NS_SEND(&conn, quiesce, 6, {});
    ns_expect_ok(&conn, 6);
    ns_stop(&guest);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        every_kind_cut_anywhere, more_than_a_window,         no_path_leads_elsewhere,
        no_link_leads_elsewhere, what_is_no_tree_is_refused, one_that_is_unfinished_ends_with_its_connection,
    };

    return ns_main("unpack", tests, sizeof(tests) / sizeof(tests[0]), 60);
}
