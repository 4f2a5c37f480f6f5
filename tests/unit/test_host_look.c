/* core/look_stream: what a guest may tell of an image's files; and which text a search looks for first (initd/look/literal.c). */
#include "core/look_stream.h"

#include "unit.h"

#include "../initd/look/literal.c" /* pure */

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

static struct look_stream *stream;
static struct error why;
static char seen[512];
static size_t seen_bytes;

static int see_file(void *context, const struct look_file *f, struct error *e)
{
    (void)context, (void)e;
    snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "[%s]", f->name);
    return 0;
}

static int see_data(void *context, const void *data, size_t size, struct error *e)
{
    (void)context, (void)data, (void)e;
    seen_bytes += size;
    return 0;
}

static int see_match(void *context, const struct look_match *m, struct error *e)
{
    (void)context, (void)e;
    snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%s:%d:%.*s", m->path, (int)m->line,
             (int)m->size, m->text);
    return 0;
}

static const struct look_visitor visitor = {see_file, see_data, see_match, NULL};

static void ask(enum look_question question, struct look_bounds bounds)
{
    look_stream_close(stream);
    stream = look_stream_open(question, &bounds, &visitor);
    why = (struct error){0};
    seen[0] = '\0';
    seen_bytes = 0;
}

static int take(const uint8_t *frame, size_t size)
{
    ck_assert_uint_gt(size, 0);
    return look_stream_take(stream, frame, size, &why);
}

static struct wire_bytes bytes_of(const char *s)
{
    return (struct wire_bytes){(const uint8_t *)s, (uint32_t)strlen(s)};
}

static int told(uint32_t mode, uint64_t size, const char *name, const char *target)
{
    const struct look_msg_entry m = {
        .mode = mode, .size = size, .name = bytes_of(name), .target = bytes_of(target)};
    uint8_t out[FRAME_MAX];

    return take(out, look_entry_frame(&m, out, sizeof(out)));
}

static int told_file(const char *name, uint64_t size)
{
    return told(S_IFREG | 0644, size, name, "");
}

static int told_data(size_t size)
{
    static const uint8_t data[LOOK_DATA_MAX + 1];
    const struct look_msg_data m = {{data, (uint32_t)size}};
    uint8_t out[FRAME_MAX + 64];

    return take(out, look_data_frame(&m, out, FRAME_MAX));
}

static int told_match(const char *path, uint64_t line, const char *text)
{
    const struct look_msg_match m = {.line = line, .path = bytes_of(path), .text = bytes_of(text)};
    uint8_t out[FRAME_MAX];

    return take(out, look_match_frame(&m, out, sizeof(out)));
}

static int told_done(uint32_t os_errno, const char *text)
{
    const struct look_msg_done m = {.os_errno = os_errno, .text = bytes_of(text)};
    uint8_t out[FRAME_MAX];

    return take(out, look_done_frame(&m, out, sizeof(out)));
}

static int ended(void)
{
    struct look_end end;

    return look_stream_end(stream, &end, &why);
}

#define TOP told(S_IFDIR | 0755, 0, "", "")

START_TEST(lists)
{
    ask(LOOK_LIST, (struct look_bounds){.files = 3});
    ck_assert_int_eq(TOP, 0);
    ck_assert_int_eq(told_file("a\nb", 1), 0);
    ck_assert_int_eq(told(S_IFLNK | 0777, 1, "b\xff", "x"), 0);
    ck_assert_int_eq(ended(), -1);
    ck_assert_int_eq(told_done(0, ""), 0);
    ck_assert_int_eq(ended(), 0);
    ck_assert_str_eq(seen, "[][a\nb][b\xff]");
    ck_assert_int_eq(told_done(0, ""), -1); /* nothing follows */
}
END_TEST

START_TEST(lists_no_other_names)
{
    static const char *const names[] = {"", ".", "..", "a/b", "/", "m", "l"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        ask(LOOK_LIST, (struct look_bounds){.files = 3, .after = "m"});
        ck_assert_int_eq(TOP, 0);
        ck_assert_int_eq(told_file(names[i], 1), -1);
        ck_assert_int_eq(why.kind, ERROR_VM_LOST);
    }
    ask(LOOK_LIST, (struct look_bounds){.files = 1});
    ck_assert_int_eq(TOP, 0);
    ck_assert_int_eq(told_file("a", 1), 0);
    ck_assert_int_eq(told_file("b", 1), -1); /* more than were asked for */
    ask(LOOK_LIST, (struct look_bounds){.files = 1});
    ck_assert_int_eq(told_file("a", 1), -1); /* without itself */
}
END_TEST

START_TEST(takes_no_files_that_cannot_be)
{
    ask(LOOK_LIST, (struct look_bounds){.files = 9});
    ck_assert_int_eq(told(0755, 0, "", ""), -1);
    ask(LOOK_LIST, (struct look_bounds){.files = 9});
    ck_assert_int_eq(told(0xffffffff, 0, "", ""), -1);
    ask(LOOK_LIST, (struct look_bounds){.files = 9});
    ck_assert_int_eq(told(S_IFLNK, 0, "", ""), -1);
    ask(LOOK_LIST, (struct look_bounds){.files = 9});
    ck_assert_int_eq(told(S_IFREG, 0, "", "target"), -1);
    ask(LOOK_LIST, (struct look_bounds){.files = 9});
    ck_assert_int_eq(told(S_IFREG, UINT64_MAX, "", ""), -1);
    ask(LOOK_LIST, (struct look_bounds){.files = 9});
    ck_assert_int_eq(told_data(1), -1);
}
END_TEST

START_TEST(reads)
{
    ask(LOOK_READ, (struct look_bounds){.bytes = 100});
    ck_assert_int_eq(told_data(1), -1);
    ask(LOOK_READ, (struct look_bounds){.bytes = 100});
    ck_assert_int_eq(TOP, -1);
    ask(LOOK_READ, (struct look_bounds){.bytes = 100});
    ck_assert_int_eq(told_file("", 1000), 0);
    ck_assert_int_eq(told_data(60), 0);
    ck_assert_int_eq(told_data(40), 0);
    ck_assert_int_eq(told_done(0, ""), 0);
    ck_assert_int_eq(ended(), 0);
    ck_assert_uint_eq(seen_bytes, 100);
    ask(LOOK_READ, (struct look_bounds){.bytes = 100});
    ck_assert_int_eq(told_file("", 1000), 0);
    ck_assert_int_eq(told_data(101), -1);
    ask(LOOK_READ, (struct look_bounds){.bytes = UINT64_MAX});
    ck_assert_int_eq(told_file("", 1000000), 0);
    ck_assert_int_eq(told_data(LOOK_DATA_MAX + 1), -1);
}
END_TEST

START_TEST(walks)
{
    ask(LOOK_WALK, (struct look_bounds){.bytes = 4 * LOOK_NODE_BYTES + 30});
    ck_assert_int_eq(TOP, 0);
    ck_assert_int_eq(told(S_IFDIR | 0755, 0, "a", ""), 0);
    ck_assert_int_eq(told_file("a/f", 30), 0);
    ck_assert_int_eq(told_data(30), 0);
    ck_assert_int_eq(told_file("a/g", 0), 0);
    ck_assert_int_eq(told_file("a/h", 0), -1);
    ck_assert_int_eq(why.kind, ERROR_BUSY); /* the bound */
    static const char *const paths[] = {"../x", "a/../../x", "/x", "a//x", "a/", "./x", "a/.", ""};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        ask(LOOK_WALK, (struct look_bounds){.bytes = 1 << 20});
        ck_assert_int_eq(TOP, 0);
        ck_assert_int_eq(told_file(paths[i], 0), -1);
        ck_assert_int_eq(why.kind, ERROR_VM_LOST);
    }
}
END_TEST

START_TEST(wants_whole_files)
{
    const struct look_bounds bounds = {.bytes = 1 << 20};

    ask(LOOK_WALK, bounds);
    ck_assert_int_eq(told_file("", 30), 0);
    ck_assert_int_eq(told_data(29), 0);
    ck_assert_int_eq(told_done(0, ""), -1);
    ask(LOOK_WALK, bounds);
    ck_assert_int_eq(told_file("", 30), 0);
    ck_assert_int_eq(told_data(31), -1);
    ask(LOOK_WALK, bounds);
    ck_assert_int_eq(TOP, 0);
    ck_assert_int_eq(told_file("a", 30), 0);
    ck_assert_int_eq(told_file("b", 30), -1);
    ask(LOOK_WALK, bounds);
    ck_assert_int_eq(told_done(0, ""), -1); /* nothing at all */
}
END_TEST

START_TEST(tells_matches)
{
    ask(LOOK_GREP, (struct look_bounds){.matches = 2});
    ck_assert_int_eq(told_match("a/b", 7, "text"), 0);
    ck_assert_int_eq(told_match("", 1, ""), 0);
    ck_assert_str_eq(seen, "a/b:7:text:1:");
    ck_assert_int_eq(told_match("", 2, ""), -1);
    ask(LOOK_GREP, (struct look_bounds){.matches = 2});
    ck_assert_int_eq(told_match("../b", 7, "text"), -1);
    ask(LOOK_GREP, (struct look_bounds){.matches = 2});
    ck_assert_int_eq(told_match("b", 0, "text"), -1);
    ask(LOOK_GREP, (struct look_bounds){.matches = 2});
    ck_assert_int_eq(TOP, -1);
    ask(LOOK_LIST, (struct look_bounds){.matches = 2, .files = 2});
    ck_assert_int_eq(told_match("b", 1, "text"), -1);
}
END_TEST

START_TEST(tells_why_not)
{
    static const struct {
        uint32_t os_errno;
        enum error_kind kind;
    } all[] = {{ENOENT, ERROR_NOT_FOUND},
               {ENOTDIR, ERROR_USAGE},
               {EIO, ERROR_GENERAL},
               {EILSEQ, ERROR_USAGE},
               {0xffffffff, ERROR_GENERAL}};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        ask(LOOK_LIST, (struct look_bounds){.files = 9});
        ck_assert_int_eq(told_done(all[i].os_errno, "/bad\033[1m\nname"), 0);
        ck_assert_int_eq(ended(), -1);
        ck_assert_int_eq(why.kind, all[i].kind);
        ck_assert(strstr(why.text, "/bad?[1m name"));
    }
}
END_TEST

START_TEST(takes_pieces_and_no_rubbish)
{
    const struct look_msg_entry m = {.mode = S_IFDIR, .name = bytes_of("")};
    uint8_t out[FRAME_MAX];
    size_t size = look_entry_frame(&m, out, sizeof(out));

    ask(LOOK_LIST, (struct look_bounds){.files = 9});
    for (size_t i = 0; i < size; i++)
        ck_assert_int_eq(take(out + i, 1), 0);
    ck_assert_str_eq(seen, "[]");
    ck_assert_int_eq(take((const uint8_t *)"abc", 3), 0);
    ck_assert_int_eq(ended(), -1);
    ask(LOOK_LIST, (struct look_bounds){.files = 9});
    ck_assert_int_eq(take((const uint8_t *)"no message at all", 17), -1);
    ask(LOOK_LIST, (struct look_bounds){.files = 9});
    ck_assert_int_eq(take(out, size - 1), 0);
    ck_assert_int_eq(ended(), -1);
    for (size_t cut = 1; cut < size - FRAME_HEADER_SIZE; cut++) { /* shorter, with a length that says so */
        frame_put_header(out, LOOK_ENTRY, 0, (uint32_t)(size - FRAME_HEADER_SIZE - cut));
        ask(LOOK_LIST, (struct look_bounds){.files = 9});
        ck_assert_int_eq(take(out, size - cut), -1);
    }
}
END_TEST

START_TEST(finds_what_each_match_holds)
{
    static const struct {
        const char *pattern, *literal;
    } all[] = {{"foo", "foo"},
               {"foo\\.bar", "foo.bar"},
               {"^foo.*longer$", "longer"},
               {"ab*", "a"},
               {"a\xc3\xa4?bc", "bc"},
               {"abc+d", "abc"},
               {"abc+?", ""},
               {"fo{2}bar", "bar"},
               {"x[]a[:alpha:]-]yz", "yz"},
               {"[^]]ab", "ab"},
               {"foo|bar", ""},
               {"(foo)?", ""},
               {"\\bword", ""},
               {"\\x41bcd", ""},
               {"[a", ""},
               {"\\", ""},
               {"", ""}};
    char literal[LITERAL_MAX + 1];

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        size_t size = literal_of(all[i].pattern, literal);
        literal[size] = '\0';
        ck_assert_msg(strcmp(literal, all[i].literal) == 0, "%s: %s", all[i].pattern, literal);
    }
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("look");

    unit_add(&u, lists);
    unit_add(&u, lists_no_other_names);
    unit_add(&u, takes_no_files_that_cannot_be);
    unit_add(&u, reads);
    unit_add(&u, walks);
    unit_add(&u, wants_whole_files);
    unit_add(&u, tells_matches);
    unit_add(&u, tells_why_not);
    unit_add(&u, takes_pieces_and_no_rubbish);
    unit_add(&u, finds_what_each_match_holds);
    int result = unit_end(&u);
    look_stream_close(stream);
    return result;
}
