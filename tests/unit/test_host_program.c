/* core/program and core/sources: command lines, environments, and the files of a program. */
#include "base/file.h"
#include "core/program.h"
#include "core/sources.h"

#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct error e;
static char root[64];

static void setup(void)
{
    e = (struct error){0};
    strcpy(root, "/tmp/capsid-program-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
}

static void teardown(void)
{
    file_remove_tree(root, &e);
}

/* Strings with their NULs, each followed by "|". */
static void expect_strings(const struct buffer *b, const char *wanted)
{
    struct buffer got = {0};

    for (size_t at = 0; at < b->size; at += strlen(b->data + at) + 1)
        buffer_add_text(&got, "%s|", b->data + at);
    ck_assert_str_eq(got.data, wanted);
    buffer_free(&got);
}

START_TEST(markers_are_replaced)
{
    struct language l = {.source = "Main.x", .run = "x  -a={source}:{dir} {output}{output} {sourc} {"};
    const char *const args[] = {"{source}", "", "a b", NULL};
    struct program p;

    ck_assert_int_eq(program_init(&p, &l, &program_runner, "sub/it.x", args, NULL, &e), 0);
    expect_strings(&p.argv,
                   "x|-a=/tmp/job/sub/it.x:/tmp/job/sub|/tmp/job/sub/main/tmp/job/sub/main|{sourc}|{|"
                   "{source}||a b|");
    ck_assert_str_eq(p.fed, "/tmp/job/.Main.x.fed");
    program_done(&p);
}
END_TEST

START_TEST(a_shell_gets_quoted_paths)
{
    struct language l = {.source = "main.x", .run = "x {source}"};
    struct buffer argv = {0};
    struct program p;

    ck_assert_int_eq(program_init(&p, &l, &program_runner, "a b/it's;$(x).c", NULL, NULL, &e), 0);
    program_shell(&p, "cc -o {output} {source} && echo {dir}", &argv);
    expect_strings(
        &argv, "/bin/sh|-c|cc -o '/tmp/job/a b/main' '/tmp/job/a b/it'\\''s;$(x).c' && echo '/tmp/job/a b'|");
    buffer_free(&argv);
    program_done(&p);
    ck_assert_int_eq(program_init(&p, &l, &program_runner, "main.x", NULL, NULL, &e), 0);
    program_shell(&p, "cc {source}", &argv);
    expect_strings(&argv, "/bin/sh|-c|cc /tmp/job/main.x|");
    buffer_free(&argv);
    program_done(&p);
}
END_TEST

START_TEST(of_equal_variables_the_last_counts)
{
    struct language l = {.source = "m", .run = "x", .env = {"LANG=C", "HOME=/else", "A=1"}, .env_count = 3};
    const char *const env[] = {"A=2", "AB=3", "A=4", "USER=", NULL};
    struct program p;

    ck_assert_int_eq(program_init(&p, &l, &program_runner, "m", NULL, env, &e), 0);
    expect_strings(&p.env, "PATH=/usr/local/bin:/usr/bin:/bin|TMPDIR=/tmp|LOGNAME=runner|SHELL=/bin/"
                           "sh|LANG=C|HOME=/else|AB=3|A=4|USER=|");
    program_done(&p);
}
END_TEST

static void put(const char *name, mode_t mode)
{
    char *path = text_format("%s/%s", root, name);

    ck_assert_int_eq(file_replace(path, root, name, strlen(name), mode, &e), 0);
    free(path);
}

/* What execve(2) in the guest would refuse is refused before there is one. */
START_TEST(what_a_program_cannot_be_given_is_refused)
{
    static char text[PROTO_STRING_MAX + 1], variable[PROTO_STRING_MAX + 1];
    struct language l = {.source = "main.x", .run = "x"};
    const char *many[24] = {0}, *args[] = {text, NULL}, *env[] = {variable, NULL};
    struct program p;

    memset(text, 'a', PROTO_STRING_MAX - 1);
    memset(variable, 'A', PROTO_STRING_MAX - 1);
    variable[1] = '=';
    ck_assert_int_eq(program_init(&p, &l, &program_runner, "main.x", args, env, &e), 0);
    text[PROTO_STRING_MAX - 1] = 'a';
    ck_assert_int_lt(program_command(&p, args, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_USAGE);
    ck_assert_ptr_nonnull(strstr(e.text, "131072 bytes"));
    program_done(&p);
    variable[PROTO_STRING_MAX - 1] = 'A';
    ck_assert_int_lt(program_init(&p, &l, &program_runner, "main.x", NULL, env, &e), 0);
    ck_assert_ptr_nonnull(strstr(e.text, "an environment variable (A=A"));
    text[100000] = '\0';
    for (int i = 0; i < 20; i++)
        many[i] = text;
    ck_assert_int_eq(program_init(&p, &l, &program_runner, "main.x", many, NULL, &e), 0);
    program_done(&p);
    many[20] = text;
    ck_assert_int_lt(program_init(&p, &l, &program_runner, "main.x", many, NULL, &e), 0);
    ck_assert_ptr_nonnull(strstr(e.text, "Linux takes at most 2097152"));
}
END_TEST

START_TEST(a_directory_alone_is_the_jobs_own)
{
    struct sources s = {0};
    char *directory = text_format("%s/d//", root), *inner = text_format("%s/d/inner", root);

    ck_assert_int_eq(file_make_directories(inner, &e), 0);
    put("d/a", 0600);
    put("d/inner/b", 0711);
    ck_assert_msg(sources_add_path(&s, directory, true, &e) == 0, "%s", e.text);
    ck_assert_uint_eq(s.count, 3);
    ck_assert(s.tree && !sources_find(&s, "inner") && !sources_find(&s, "d/a"));
    ck_assert_uint_eq(sources_find(&s, "a")->mode, S_IFREG | 0644);
    ck_assert_uint_eq(sources_find(&s, "inner/b")->mode, S_IFREG | 0755);
    ck_assert_uint_eq(sources_find(&s, "inner/b")->content.size, 9);
    sources_done(&s);
    ck_assert_msg(sources_add_path(&s, directory, false, &e) == 0, "%s", e.text);
    ck_assert_ptr_nonnull(sources_find(&s, "d/inner/b"));
    ck_assert_int_lt(sources_add_path(&s, directory, false, &e), 0);
    ck_assert_msg(strstr(e.text, "would both be d"), "%s", e.text);
    sources_done(&s);
    free(directory);
    free(inner);
}
END_TEST

START_TEST(what_has_no_name_or_is_no_file_is_refused)
{
    struct sources s = {0};
    char *link = text_format("%s/d/link", root), *directory = text_format("%s/d", root);
    const char *const bad[] = {"/", "/..", "/dev/..", "/nowhere", ""};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(sources_add_path(&s, bad[i], false, &e) < 0, "%s", bad[i]);
    ck_assert_uint_eq(s.count, 0);
    ck_assert_int_eq(file_make_directories(directory, &e), 0);
    ck_assert_int_eq(mkfifo(link, 0600), 0);
    ck_assert_int_lt(sources_add_path(&s, directory, true, &e), 0);
    ck_assert_msg(strstr(e.text, "neither a file nor a directory"), "%s", e.text);
    sources_done(&s);
    free(link);
    free(directory);
}
END_TEST

static void link_to(const char *name, const char *target)
{
    char *path = text_format("%s/%s", root, name);

    ck_assert_int_eq(symlink(target, path), 0);
    free(path);
}

START_TEST(links_inside_a_directory_are_kept)
{
    struct sources s = {0};
    char *inner = text_format("%s/d/inner", root), *directory = text_format("%s/d", root);

    ck_assert_int_eq(file_make_directories(inner, &e), 0);
    put("d/a", 0600);
    link_to("d/inner/up", ".././inner/../a");
    link_to("d/inner/top", "..");
    link_to("d/one", "inner/up");
    link_to("d/nowhere", "to/be//made");
    link_to("d/self", "self");
    for (int alone = 0; alone < 2; alone++) {
        s = (struct sources){0};
        ck_assert_msg(sources_add_path(&s, directory, alone, &e) == 0, "%s", e.text);
        const char *names[] = {"d/one", "d/inner/up"}, *missing[] = {"d/nowhere", "d/self", "d/inner/top"};
        for (size_t i = 0; i < 2; i++)
            ck_assert_str_eq(sources_find(&s, names[i] + 2 * alone)->content.data, "d/a");
        for (size_t i = 0; i < 3; i++)
            ck_assert_ptr_null(sources_find(&s, missing[i] + 2 * alone));
        sources_done(&s);
    }
    free(inner);
    free(directory);
}
END_TEST

START_TEST(links_that_lead_out_are_refused)
{
    const char *const bad[] = {"/etc", "../x", "..", "inner/../../d", "./.././d/a", "inner/./..//../d"};
    struct sources s = {0};
    char *inner = text_format("%s/d/inner", root), *directory = text_format("%s/d", root),
         *link = text_format("%s/d/link", root);

    ck_assert_int_eq(file_make_directories(inner, &e), 0);
    for (size_t i = 0; i < 2 * sizeof(bad) / sizeof(bad[0]); i++) {
        link_to("d/link", bad[i / 2]);
        ck_assert_msg(sources_add_path(&s, directory, i % 2, &e) < 0, "%s", bad[i / 2]);
        ck_assert_int_eq(e.kind, ERROR_USAGE);
        ck_assert_ptr_nonnull(strstr(e.text, "d/link is a symbolic link to "));
        ck_assert_ptr_nonnull(strstr(e.text, i < 2 ? "which is an absolute path" : "which is outside"));
        sources_done(&s);
        s = (struct sources){0};
        ck_assert_int_lt(sources_add_named_link(&s, "link", bad[i / 2], &e), 0);
        sources_done(&s);
        s = (struct sources){0};
        ck_assert_int_eq(unlink(link), 0);
    }
    ck_assert_int_eq(sources_add_named_link(&s, "a/b/link", "../../c", &e), 0);
    ck_assert_int_lt(sources_add_named_link(&s, "a/b/link", "../d", &e), 0);
    ck_assert_int_lt(sources_add_named_link(&s, "a/b/link/c", "d", &e), 0);
    ck_assert_int_lt(sources_add_named_link(&s, "a/c", "", &e), 0);
    ck_assert_int_lt(sources_add_named_link(&s, "a/c", "\xff", &e), 0);
    ck_assert_int_lt(sources_add_named_link(&s, "../c", "d", &e), 0);
    sources_done(&s);
    free(inner);
    free(directory);
    free(link);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("host_program");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, markers_are_replaced);
    unit_add(&u, a_shell_gets_quoted_paths);
    unit_add(&u, of_equal_variables_the_last_counts);
    unit_add(&u, what_a_program_cannot_be_given_is_refused);
    unit_add(&u, a_directory_alone_is_the_jobs_own);
    unit_add(&u, what_has_no_name_or_is_no_file_is_refused);
    unit_add(&u, links_inside_a_directory_are_kept);
    unit_add(&u, links_that_lead_out_are_refused);
    return unit_end(&u);
}
