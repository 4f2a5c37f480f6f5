/* Files: writing, reading, looking, removing; small ones in one message, large ones as streams. */
#include "ns_client.h"

#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEBI (1u << 20)

static struct ns_guest guest;
static struct ns_conn conn;

static void setup(void)
{
    ns_start(&guest, NULL);
    ns_connect(&guest, &conn, true);
}

static struct wire_bytes bytes_of(const char *text)
{
    return (struct wire_bytes){.data = (const uint8_t *)text, .size = (uint32_t)strlen(text)};
}

static struct msg_write_file file_of(const char *path, const char *text)
{
    return (struct msg_write_file){
        .path = path, .mode = S_IFREG | 0640, .size = strlen(text), .data = bytes_of(text)};
}

static void write_ok(const struct msg_write_file *m)
{
    uint32_t stream = ns_stream(&conn);

    NS_SEND(&conn, write_file, stream, *m);
    ns_expect_ok(&conn, stream);
}

static uint32_t write_fails(const struct msg_write_file *m, uint16_t code)
{
    uint32_t stream = ns_stream(&conn);

    NS_SEND(&conn, write_file, stream, *m);
    return ns_expect_error(&conn, stream, code);
}

/* READ_FILE to its END. Returns the size. */
static size_t read_all(const char *path, uint64_t offset, uint64_t length, uint64_t window, char *ret,
                       size_t size)
{
    uint32_t stream = ns_stream(&conn);
    struct msg_file_info info;
    size_t got = 0;

    NS_SEND(&conn, read_file, stream, {.path = path, .offset = offset, .length = length, .window = window});
    NS_EXPECT(&conn, file_info, FILE_INFO, stream, &info);
    for (;;) {
        struct frame f = ns_receive(&conn);
        struct msg_data d;
        struct msg_end e;
        if (f.type == MSG_END) {
            ck_assert(msg_end_decode(&e, f.payload, f.length));
            ck_assert_uint_eq(e.channel, 1);
            ck_assert_uint_eq(e.offset, got);
            return got;
        }
        ns_expect_type(&f, MSG_DATA, stream);
        ck_assert(msg_data_decode(&d, f.payload, f.length));
        ck_assert_uint_eq(d.offset, got);
        ck_assert_uint_le(got + d.data.size, size);
        memcpy(ret + got, d.data.data, d.data.size);
        got += d.data.size;
        NS_SEND(&conn, window, stream, {.channel = 1, .consumed = got, .limit = got + window});
    }
}

START_TEST(small_file_there_and_back)
{
    static char text[10000];
    struct msg_file_info info;
    uint32_t stream;

    setup();
    struct msg_write_file m = file_of(ns_in_dir(&guest, "a"), "hello");
    m.mtime_ns = 1234567890123456789;
    write_ok(&m);
    stream = ns_stream(&conn);
    NS_SEND(&conn, stat, stream, {.path = ns_in_dir(&guest, "a")});
    NS_EXPECT(&conn, file_info, FILE_INFO, stream, &info);
    ck_assert_uint_eq(info.mode, S_IFREG | 0640);
    ck_assert_uint_eq(info.size, 5);
    ck_assert_uint_eq(info.mtime_ns, 1234567890123456789);
    ck_assert_str_eq(info.target, "");
    ck_assert_uint_eq(read_all(ns_in_dir(&guest, "a"), 0, UINT64_MAX, 1000, text, sizeof(text)), 5);
    ck_assert(memcmp(text, "hello", 5) == 0);
    ck_assert_uint_eq(read_all(ns_in_dir(&guest, "a"), 1, 3, 1000, text, sizeof(text)), 3);
    ck_assert(memcmp(text, "ell", 3) == 0);
    ck_assert_uint_eq(read_all(ns_in_dir(&guest, "a"), 9, 3, 1000, text, sizeof(text)), 0);
    ck_assert_uint_eq(read_all(ns_in_dir(&guest, "a"), 0, 0, 0, text, sizeof(text)), 0);
    /* A file of /proc says size 0 and has content all the same. */
    ck_assert_uint_gt(read_all("/proc/self/status", 0, UINT64_MAX, 60, text, sizeof(text)), 500);
    ns_stop(&guest);
}
END_TEST

START_TEST(parts_of_a_file)
{
    char text[100];

    setup();
    struct msg_write_file m = file_of(ns_in_dir(&guest, "a"), "0123456789");
    write_ok(&m);
    m = file_of(ns_in_dir(&guest, "a"), "xy");
    m.flags = PROTO_WRITE_KEEP;
    m.offset = 4;
    write_ok(&m);
    ck_assert_uint_eq(read_all(ns_in_dir(&guest, "a"), 0, 99, 99, text, sizeof(text)), 10);
    ck_assert(memcmp(text, "0123xy6789", 10) == 0);
    m.flags = 0;
    m.offset = 0;
    write_ok(&m);
    ck_assert_uint_eq(read_all(ns_in_dir(&guest, "a"), 0, 99, 99, text, sizeof(text)), 2);
    ns_stop(&guest);
}
END_TEST

/* Sends what begin did not hold, as windows allow. Returns the last answer's type. */
static uint16_t send_content(uint32_t stream, const char *content, uint64_t sent, uint64_t size)
{
    uint64_t limit = sent;

    for (;;) {
        struct frame f = ns_receive(&conn);
        struct msg_window w;
        if (f.type != MSG_WINDOW)
            return f.type;
        ck_assert(msg_window_decode(&w, f.payload, f.length));
        ck_assert_uint_le(w.consumed, sent);
        ck_assert_uint_le(w.limit, size);
        limit = w.limit;
        while (sent < limit) {
            uint32_t n = (uint32_t)(limit - sent < 50000 ? limit - sent : 50000);
            NS_SEND(
                &conn, data, stream,
                {.channel = 0, .offset = sent, .data = {.data = (const uint8_t *)content + sent, .size = n}});
            sent += n;
        }
    }
}

START_TEST(large_file_there_and_back)
{
    static char content[3 * MEBI + 7], back[sizeof(content)];

    setup();
    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (char)(i * 17 + i / 5000);
    for (int atomic = 0; atomic < 2; atomic++) {
        struct msg_write_file m = {.path = ns_in_dir(&guest, "sub/dir/large"),
                                   .mode = S_IFREG | 0600,
                                   .flags = PROTO_WRITE_PARENTS | (atomic ? PROTO_WRITE_ATOMIC : 0),
                                   .size = sizeof(content),
                                   .data = {.data = (const uint8_t *)content, .size = 12345}};
        uint32_t stream = ns_stream(&conn);
        NS_SEND(&conn, write_file, stream, m);
        ck_assert_uint_eq(send_content(stream, content, 12345, sizeof(content)), MSG_OK);
        NS_SEND(&conn, end, stream, {.channel = 0, .offset = sizeof(content)}); /* not needed, no harm */
        ck_assert_uint_eq(
            read_all(ns_in_dir(&guest, "sub/dir/large"), 0, UINT64_MAX, 100000, back, sizeof(back)),
            sizeof(back));
        ck_assert(memcmp(content, back, sizeof(back)) == 0);
        ck_assert_int_eq(unlink(ns_in_dir(&guest, "sub/dir/large")), 0);
    }
    ck_assert_int_eq(rmdir(ns_in_dir(&guest, "sub/dir")), 0); /* nothing else was left there */
    ns_stop(&guest);
}
END_TEST

START_TEST(an_unfinished_atomic_write_leaves_nothing)
{
    char text[100];

    setup();
    struct msg_write_file m = file_of(ns_in_dir(&guest, "d/a"), "old");
    m.flags = PROTO_WRITE_PARENTS;
    write_ok(&m);
    m = file_of(ns_in_dir(&guest, "d/a"), "new");
    m.flags = PROTO_WRITE_ATOMIC;
    m.size = 1000;
    uint32_t stream = ns_stream(&conn);
    NS_SEND(&conn, write_file, stream, m);
    ck_assert_uint_eq(ns_receive(&conn).type, MSG_WINDOW);
    NS_SEND(&conn, quiesce, 555, {});
    ns_expect_error(&conn, 555, PROTO_ERR_BUSY);
    ns_disconnect(&conn);
    usleep(50000);
    ns_connect(&guest, &conn, true);
    ck_assert_uint_eq(read_all(ns_in_dir(&guest, "d/a"), 0, 99, 99, text, sizeof(text)), 3);
    ck_assert(memcmp(text, "old", 3) == 0);
    ck_assert_int_eq(unlink(ns_in_dir(&guest, "d/a")), 0);
    ck_assert_int_eq(rmdir(ns_in_dir(&guest, "d")), 0);
    /* END before all of the content drops it, too. */
    m.path = ns_in_dir(&guest, "b");
    stream = ns_stream(&conn);
    NS_SEND(&conn, write_file, stream, m);
    ck_assert_uint_eq(ns_receive(&conn).type, MSG_WINDOW);
    NS_SEND(&conn, end, stream, {.channel = 0, .offset = 3});
    ns_expect_error(&conn, stream, PROTO_ERR_INVALID);
    ck_assert_int_ne(access(ns_in_dir(&guest, "b"), F_OK), 0);
    ns_stop(&guest);
}
END_TEST

START_TEST(directories_and_symlinks)
{
    char target[100];
    struct msg_file_info info;
    struct stat st;

    setup();
    struct msg_write_file m = {
        .path = ns_in_dir(&guest, "d/e"), .mode = S_IFDIR | 0751, .flags = PROTO_WRITE_PARENTS};
    write_ok(&m);
    write_ok(&m); /* it may be there */
    ck_assert_int_eq(stat(ns_in_dir(&guest, "d/e"), &st), 0);
    ck_assert_uint_eq(st.st_mode, S_IFDIR | 0751);
    m = file_of(ns_in_dir(&guest, "d/link"), "e/target");
    m.mode = S_IFLNK | 0777;
    write_ok(&m);
    ck_assert_int_eq(readlink(ns_in_dir(&guest, "d/link"), target, sizeof(target)), 8);
    ck_assert_uint_eq(write_fails(&m, PROTO_ERR_OS), EEXIST);
    /* What is behind a symlink does not get a directory's owner and mode. */
    ck_assert_int_eq(symlink("e", ns_in_dir(&guest, "d/alias")), 0);
    struct msg_write_file alias = {.path = ns_in_dir(&guest, "d/alias"), .mode = S_IFDIR | 0700};
    ck_assert_uint_eq(write_fails(&alias, PROTO_ERR_OS), ENOTDIR);
    ck_assert_int_eq(stat(ns_in_dir(&guest, "d/e"), &st), 0);
    ck_assert_uint_eq(st.st_mode, S_IFDIR | 0751);
    m.path = ns_in_dir(&guest, "d/link");
    m.flags = PROTO_WRITE_ATOMIC;
    write_ok(&m);
    uint32_t stream = ns_stream(&conn);
    NS_SEND(&conn, stat, stream, {.path = ns_in_dir(&guest, "d/link"), .flags = PROTO_PATH_NOFOLLOW});
    NS_EXPECT(&conn, file_info, FILE_INFO, stream, &info);
    ck_assert_str_eq(info.target, "e/target");
    ck_assert_uint_eq(info.mode & S_IFMT, S_IFLNK);
    NS_SEND(&conn, stat, stream, {.path = ns_in_dir(&guest, "d/link")});
    ck_assert_uint_eq(ns_expect_error(&conn, stream, PROTO_ERR_OS), ENOENT);
    ns_stop(&guest);
}
END_TEST

START_TEST(what_makes_no_sense_is_refused)
{
    setup();
    struct msg_write_file m = file_of("relative", "x");
    write_fails(&m, PROTO_ERR_INVALID);
    m = file_of(ns_in_dir(&guest, "a"), "x");
    m.mode = S_IFIFO | 0600;
    write_fails(&m, PROTO_ERR_INVALID);
    m.mode = 0xffff0000u | S_IFREG | 0644;
    write_fails(&m, PROTO_ERR_INVALID);
    m.mode = S_IFLNK | 0777;
    m.data = (struct wire_bytes){.data = (const uint8_t *)"a\0b", .size = 3};
    m.size = 3;
    write_fails(&m, PROTO_ERR_INVALID);
    m = file_of(ns_in_dir(&guest, "a"), "x");
    m.mode = S_IFREG | 0600;
    m.flags = 0x100;
    write_fails(&m, PROTO_ERR_UNSUPPORTED);
    m.flags = PROTO_WRITE_ATOMIC;
    m.offset = 1;
    write_fails(&m, PROTO_ERR_INVALID);
    m.flags = 0;
    m.offset = UINT64_MAX;
    write_fails(&m, PROTO_ERR_INVALID);
    m.offset = 0;
    m.size = 0; /* less than data */
    write_fails(&m, PROTO_ERR_INVALID);
    m = file_of(ns_in_dir(&guest, "no/such/directory"), "x");
    ck_assert_uint_eq(write_fails(&m, PROTO_ERR_OS), ENOENT);
    m = file_of(guest.dir, "x");
    ck_assert_uint_eq(write_fails(&m, PROTO_ERR_OS), EISDIR);
    /* Nobody has the other end of a FIFO: initd must not wait for it. */
    ck_assert_int_eq(mkfifo(ns_in_dir(&guest, "fifo"), 0600), 0);
    m = file_of(ns_in_dir(&guest, "fifo"), "x");
    ck_assert_uint_eq(write_fails(&m, PROTO_ERR_OS), ENXIO);
    NS_SEND(&conn, read_file, 900, {.path = ns_in_dir(&guest, "fifo"), .length = 1, .window = 1});
    ns_expect_error(&conn, 900, PROTO_ERR_INVALID);
    NS_SEND(&conn, read_file, 900, {.path = guest.dir, .length = 1, .window = 1});
    ns_expect_error(&conn, 900, PROTO_ERR_INVALID);
    NS_SEND(&conn, read_file, 900, {.path = ns_in_dir(&guest, "none"), .length = 1, .window = 1});
    ck_assert_uint_eq(ns_expect_error(&conn, 900, PROTO_ERR_OS), ENOENT);
    NS_SEND(&conn, stat, 900, {.path = "/", .flags = 0x40});
    ns_expect_error(&conn, 900, PROTO_ERR_UNSUPPORTED);
    ns_stop(&guest);
}
END_TEST

START_TEST(transfers_are_bounded_and_keep_to_their_windows)
{
    static char big[300000];
    struct frame f;

    setup();
    FILE *file = fopen(ns_in_dir(&guest, "big"), "w");
    fwrite(big, 1, sizeof(big), file);
    fclose(file);
    for (uint32_t i = 0; i < 9; i++)
        NS_SEND(&conn, read_file, 100 + i,
                {.path = ns_in_dir(&guest, "big"), .length = UINT64_MAX, .window = 10});
    unsigned infos = 0, data = 0, errors = 0;
    while (ns_receive_within(&conn, 300, &f)) {
        infos += f.type == MSG_FILE_INFO;
        data += f.type == MSG_DATA;
        errors += f.type == MSG_ERROR;
        if (f.type == MSG_ERROR)
            ck_assert_uint_eq(f.stream, 108);
    }
    ck_assert_uint_eq(infos, 8);
    ck_assert_uint_eq(data, 8);
    ck_assert_uint_eq(errors, 1);
    NS_SEND(&conn, window, 100, {.channel = 1, .consumed = 11, .limit = 20});
    ns_expect_error(&conn, 100, PROTO_ERR_FLOW);
    ck_assert(ns_closed_within(&conn, 2000));
    ns_disconnect(&conn);
    ns_connect(&guest, &conn, true);
    struct msg_write_file m = {.path = ns_in_dir(&guest, "w"), .mode = S_IFREG | 0600, .size = 5u << 20};
    NS_SEND(&conn, write_file, 5, m);
    struct msg_window w;
    NS_EXPECT(&conn, window, WINDOW, 5, &w);
    NS_SEND(&conn, data, 5, {.channel = 0, .offset = 1, .data = bytes_of("x")});
    ns_expect_error(&conn, 5, PROTO_ERR_FLOW);
    ck_assert(ns_closed_within(&conn, 2000));
    ns_disconnect(&conn);
    ns_connect(&guest, &conn, true);
    struct msg_file_info info;
    NS_SEND(&conn, read_file, 6, {.path = ns_in_dir(&guest, "big"), .length = UINT64_MAX, .window = 0});
    NS_EXPECT(&conn, file_info, FILE_INFO, 6, &info);
    NS_SEND(&conn, end, 6, {.channel = 0, .offset = 0}); /* it has no such channel */
    ns_expect_error(&conn, 6, PROTO_ERR_FLOW);
    ck_assert(ns_closed_within(&conn, 2000));
    ns_stop(&guest);
}
END_TEST

/* Collects the names of a directory, page by page, into seen. Returns how many pages it took. */
static unsigned list_all(const char *path, bool seen[], unsigned *ret_count)
{
    uint64_t cursor = 0;
    unsigned pages = 0;

    *ret_count = 0;
    do {
        struct msg_listing l;
        uint32_t stream = ns_stream(&conn);
        NS_SEND(&conn, list, stream, {.path = path, .cursor = cursor});
        NS_EXPECT(&conn, listing, LISTING, stream, &l);
        struct wire_reader r = wire_reader_of(l.entries.data, l.entries.size);
        while (r.pos < r.end && !r.failed) {
            uint32_t mode = wire_get_u32(&r);
            uint64_t size = wire_get_u64(&r);
            wire_get_u64(&r);
            unsigned long n = strtoul(wire_get_str(&r) + strlen("a-rather-long-name-for-a-file-"), NULL, 10);
            ck_assert_uint_eq(mode, S_IFREG | 0644);
            ck_assert_uint_eq(size, 0);
            ck_assert(!seen[n]);
            seen[n] = true;
            ++*ret_count;
        }
        ck_assert(wire_reader_done(&r));
        cursor = l.cursor;
        pages++;
    } while (cursor);
    return pages;
}

START_TEST(directories_are_listed_page_by_page)
{
    enum { FILES = 1000 };
    static bool seen[FILES];
    unsigned count;

    setup();
    ck_assert_int_eq(mkdir(ns_in_dir(&guest, "d"), 0755), 0);
    list_all(ns_in_dir(&guest, "d"), seen, &count);
    ck_assert_uint_eq(count, 0);
    umask(022);
    for (int i = 0; i < FILES; i++) {
        char name[64];
        snprintf(name, sizeof(name), "d/a-rather-long-name-for-a-file-%d", i);
        int fd = open(ns_in_dir(&guest, name), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
        ck_assert_int_ge(fd, 0);
        close(fd);
    }
    ck_assert_uint_gt(list_all(ns_in_dir(&guest, "d"), seen, &count), 3);
    ck_assert_uint_eq(count, FILES);
    NS_SEND(&conn, list, 5000, {.path = ns_in_dir(&guest, "d/a-rather-long-name-for-a-file-1")});
    ck_assert_uint_eq(ns_expect_error(&conn, 5000, PROTO_ERR_OS), ENOTDIR);
    ns_stop(&guest);
}
END_TEST

START_TEST(removal)
{
    char command[300];

    setup();
    struct msg_write_file m = file_of(ns_in_dir(&guest, "a"), "x");
    write_ok(&m);
    NS_SEND(&conn, remove, 500, {.path = ns_in_dir(&guest, "a")});
    ns_expect_ok(&conn, 500);
    NS_SEND(&conn, remove, 500, {.path = ns_in_dir(&guest, "a")});
    ck_assert_uint_eq(ns_expect_error(&conn, 500, PROTO_ERR_OS), ENOENT);
    snprintf(command, sizeof(command),
             "cd %s && mkdir -p keep d/$(seq -s / 100) && touch d/1/x d/1/2/y d/1/2/3/z && ln -s ../keep "
             "d/link && touch keep/it",
             guest.dir);
    ck_assert_int_eq(system(command), 0);
    NS_SEND(&conn, remove, 500, {.path = ns_in_dir(&guest, "d")});
    ck_assert_uint_eq(ns_expect_error(&conn, 500, PROTO_ERR_OS), ENOTEMPTY);
    /* What follows on this connection waits for the helper, and is answered after it. */
    NS_SEND(&conn, remove, 501, {.path = ns_in_dir(&guest, "d"), .flags = PROTO_REMOVE_TREE});
    NS_SEND(&conn, stat, 502, {.path = ns_in_dir(&guest, "d")});
    ns_expect_ok(&conn, 501);
    ck_assert_uint_eq(ns_expect_error(&conn, 502, PROTO_ERR_OS), ENOENT);
    ck_assert_int_eq(access(ns_in_dir(&guest, "keep/it"), F_OK), 0);
    NS_SEND(&conn, remove, 503, {.path = ns_in_dir(&guest, "none"), .flags = PROTO_REMOVE_TREE});
    ck_assert_uint_eq(ns_expect_error(&conn, 503, PROTO_ERR_OS), ENOENT);
    ns_stop(&guest);
}
END_TEST

/* What is mounted in a tree is not part of it. */
START_TEST(removal_does_not_enter_mounts)
{
    char command[700];

    setup();
    for (int bind = 0; bind < 2; bind++) {
        snprintf(command, sizeof(command), "mkdir -p %s/d/m %s/other && touch %s/other/it", guest.dir,
                 guest.dir, guest.dir);
        ck_assert_int_eq(system(command), 0);
        NS_SEND(&conn, mount, 1,
                {.source = bind ? ns_in_dir(&guest, "other") : "none",
                 .target = ns_in_dir(&guest, "d/m"),
                 .fstype = bind ? "" : "tmpfs",
                 .flags = bind ? MS_BIND : 0,
                 .options = ""});
        ns_expect_ok(&conn, 1);
        struct msg_write_file m = file_of(ns_in_dir(&guest, "d/m/inside"), "x");
        write_ok(&m);
        NS_SEND(&conn, remove, 2, {.path = ns_in_dir(&guest, "d"), .flags = PROTO_REMOVE_TREE});
        ck_assert_uint_eq(ns_expect_error(&conn, 2, PROTO_ERR_OS), EBUSY);
        NS_SEND(&conn, remove, 2, {.path = ns_in_dir(&guest, "d/m"), .flags = PROTO_REMOVE_TREE});
        ck_assert_uint_eq(ns_expect_error(&conn, 2, PROTO_ERR_OS), EBUSY);
        NS_SEND(&conn, stat, 3, {.path = ns_in_dir(&guest, "d/m/inside")});
        ck_assert_uint_eq(ns_receive(&conn).type, MSG_FILE_INFO);
        NS_SEND(&conn, unmount, 4, {.target = ns_in_dir(&guest, "d/m")});
        ns_expect_ok(&conn, 4);
        NS_SEND(&conn, remove, 5, {.path = ns_in_dir(&guest, "d"), .flags = PROTO_REMOVE_TREE});
        ns_expect_ok(&conn, 5);
    }
    ck_assert_int_eq(access(ns_in_dir(&guest, "other/inside"), F_OK), 0);
    ns_stop(&guest);
}
END_TEST

static void expect_nothing(const char *name)
{
    ck_assert_int_lt(access(ns_in_dir(&guest, name), F_OK), 0);
    ck_assert_int_eq(errno, ENOENT);
}

START_TEST(what_is_refused_leaves_nothing)
{
    setup();
    NS_SEND(&conn, mount, 1,
            {.source = "none", .target = ns_in_dir(&guest, "p/q/m"), .fstype = "nonesuch", .options = ""});
    ns_expect_error(&conn, 1, PROTO_ERR_OS);
    expect_nothing("p");
    ck_assert_int_eq(mkdir(ns_in_dir(&guest, "there"), 0755), 0);
    NS_SEND(&conn, mount, 1,
            {.source = "none", .target = ns_in_dir(&guest, "there/m"), .fstype = "nonesuch", .options = ""});
    ns_expect_error(&conn, 1, PROTO_ERR_OS);
    expect_nothing("there/m");
    ck_assert_int_eq(access(ns_in_dir(&guest, "there"), F_OK), 0);

    char name[400];
    snprintf(name, sizeof(name), "%s/p/q/%0300d", guest.dir, 0); /* longer than a name can be */
    struct msg_write_file m = file_of(name, "x");
    m.flags = PROTO_WRITE_PARENTS;
    ck_assert_uint_eq(write_fails(&m, PROTO_ERR_OS), ENAMETOOLONG);
    expect_nothing("p");
    m.mode = S_IFDIR | 0755;
    m.size = m.data.size = 0;
    ck_assert_uint_eq(write_fails(&m, PROTO_ERR_OS), ENAMETOOLONG);
    expect_nothing("p");
    /* Content that does not come. */
    m = file_of(ns_in_dir(&guest, "p/q/file"), "x");
    m.flags = PROTO_WRITE_PARENTS | PROTO_WRITE_ATOMIC;
    m.size = 100;
    NS_SEND(&conn, write_file, 7, m);
    ck_assert_uint_eq(ns_receive(&conn).type, MSG_WINDOW);
    NS_SEND(&conn, end, 7, {.offset = 1});
    ns_expect_error(&conn, 7, PROTO_ERR_INVALID);
    expect_nothing("p");
    /* An interpreter that cannot be started. */
    NS_SEND(
        &conn, prime, 8,
        {.argv = NS_STRS("/no/such"), .cwd = "/", .script = ns_in_dir(&guest, "p/q/s"), .settle_ms = 1000});
    ns_expect_error(&conn, 8, PROTO_ERR_EXEC);
    expect_nothing("p");
    ns_stop(&guest);
}
END_TEST

/* setresuid(2) and chown(2) take it for "leave it as it is", which is root. */
START_TEST(nobody_has_the_id_that_means_none)
{
    setup();
    struct msg_write_file m = file_of(ns_in_dir(&guest, "a"), "x");
    m.uid = UINT32_MAX;
    write_fails(&m, PROTO_ERR_INVALID);
    m.uid = 0;
    m.gid = UINT32_MAX;
    write_fails(&m, PROTO_ERR_INVALID);
    expect_nothing("a");
    for (int i = 0; i < 2; i++) {
        struct msg_exec exec = ns_sh("id");
        exec.uid = i ? 0 : UINT32_MAX;
        exec.gid = i ? UINT32_MAX : 0;
        ns_expect_error(&conn, ns_exec(&conn, &exec), PROTO_ERR_INVALID);
        uint32_t stream = ns_stream(&conn);
        NS_SEND(&conn, prime, stream,
                {.argv = NS_STRS("/bin/sh"),
                 .cwd = "/",
                 .uid = exec.uid,
                 .gid = exec.gid,
                 .script = ns_in_dir(&guest, "s"),
                 .settle_ms = 1000});
        ns_expect_error(&conn, stream, PROTO_ERR_INVALID);
        expect_nothing("s");
    }
    ns_stop(&guest);
}
END_TEST

START_TEST(mount_and_unmount)
{
    struct ns_result r;

    setup();
    NS_SEND(&conn, mount, 1,
            {.source = "none", .target = ns_in_dir(&guest, "m/n"), .fstype = "tmpfs", .options = "size=1m"});
    ns_expect_ok(&conn, 1);
    char script[300];
    snprintf(script, sizeof(script), "grep -q '%s tmpfs' /proc/mounts", ns_in_dir(&guest, "m/n"));
    conn.next_stream = 10;
    ns_run_sh(&conn, script, &r);
    NS_SEND(&conn, unmount, 2, {.target = ns_in_dir(&guest, "m/n")});
    ns_expect_ok(&conn, 2);
    NS_SEND(&conn, unmount, 2, {.target = ns_in_dir(&guest, "m/n")});
    ck_assert_uint_eq(ns_expect_error(&conn, 2, PROTO_ERR_OS), EINVAL);
    /* umount(2) would make it read-only. */
    NS_SEND(&conn, unmount, 2, {.target = "/tmp/.."});
    ck_assert_uint_eq(ns_expect_error(&conn, 2, PROTO_ERR_OS), EBUSY);
    /* What initd tells of itself does not depend on a /proc for others. */
    struct msg_usage usage;
    NS_SEND(&conn, unmount, 2, {.target = "/proc", .flags = MNT_DETACH});
    ns_expect_ok(&conn, 2);
    NS_SEND(&conn, stats, 3, {});
    NS_EXPECT(&conn, usage, USAGE, 3, &usage);
    ck_assert_uint_gt(usage.memory_available, 0);
    ck_assert_uint_gt(usage.initd_rss, 0);
    ns_stop(&guest);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        small_file_there_and_back,
        parts_of_a_file,
        large_file_there_and_back,
        an_unfinished_atomic_write_leaves_nothing,
        directories_and_symlinks,
        what_makes_no_sense_is_refused,
        transfers_are_bounded_and_keep_to_their_windows,
        directories_are_listed_page_by_page,
        removal,
        removal_does_not_enter_mounts,
        what_is_refused_leaves_nothing,
        nobody_has_the_id_that_means_none,
        mount_and_unmount,
    };

    return ns_main("file", tests, sizeof(tests) / sizeof(tests[0]), 30);
}
