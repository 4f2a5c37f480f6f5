/* service/request: requests that are right, and all the ways in which they are not. */
#include "service/request_parse.h"
#include "base/cleanup.h"

#include "unit.h"

#include <string.h>

static const struct request_limits limits = {
    .timeout = 300, .shape.memory_mib = 1024, .shape.vcpus = 4, .shape.disk_mib = 100, .output = 1000};

static enum refusal_kind parse(const char *text)
{
    struct refusal r = {0};
    struct request b;
    size_t size = strlen(text);
    char *exact = unit_exact(text, size);

    if (request_parse(&b, SCHEMA_OBJECT_RUN, exact, size, NULL, &limits, &r) == 0)
        request_done(&b);
    free(exact);
    ck_assert_msg(r.kind == REFUSAL_NONE || (r.text[0] && !strchr(r.text, '\n')), "message of %s", text);
    return r.kind;
}

START_TEST(a_whole_request_is_taken_apart)
{
    static const char text[] =
        "{\"language\": \"py\", \"files\": [{\"name\": \"src/main.py\", \"content\": \"1\"}, {\"name\": "
        "\"run\", "
        "\"content\": \"AAE=\", \"encoding\": \"base64\", \"executable\": true}], \"stdin\": [\"a\", "
        "\"bc\"], \"args\": "
        "[\"x\", \"y z\"], \"env\": {\"A\": \"b\"}, \"timeout\": 7, \"build_timeout\": 3, \"memory_mib\": "
        "64, \"vcpus\": "
        "2, \"max_output\": 10, \"snapshot\": false, \"prime\": true, \"wait\": false, \"cwd\": null}";
    struct refusal r = {0};
    struct request b;

    ck_assert_msg(request_parse(&b, SCHEMA_OBJECT_RUN, text, strlen(text), NULL, &limits, &r) == 0, "%s",
                  r.text);
    ck_assert_str_eq(b.run.language, "py");
    ck_assert_uint_eq(b.sources.count, 3); /* with the directory */
    ck_assert_str_eq(b.sources.files[0].name, "src");
    ck_assert_str_eq(b.run.entry, "src/main.py");
    const struct source_file *f = sources_find(&b.sources, "run");
    ck_assert(f && f->content.size == 2 && memcmp(f->content.data, "\0\1", 2) == 0 && (f->mode & 0111));
    ck_assert(b.stdins.batch && b.stdins.count == 2 && b.stdins.list[1].size == 2);
    ck_assert_str_eq(b.run.args[1], "y z");
    ck_assert_str_eq(b.run.env[0], "A=b");
    ck_assert(!b.run.args[2] && !b.run.env[1] && !b.run.cwd);
    ck_assert(b.run.timeout == 7 && b.run.build_timeout == 3 && b.run.shape.memory_mib == 64 &&
              b.run.shape.vcpus == 2 && b.max_output == 10);
    ck_assert(b.run.cold && !b.run.unprimed && b.detached);
    request_done(&b);
}
END_TEST

START_TEST(one_file_gets_the_name_of_its_language)
{
    static const char text[] = "{\"language\": \"c\", \"files\": {\"x.c\": \"int x;\"}}";
    struct refusal r = {0};
    struct request b;

    ck_assert(request_parse(&b, SCHEMA_OBJECT_RUN, text, strlen(text), NULL, &limits, &r) == 0);
    ck_assert(!b.run.entry && b.sources.count == 1 && !b.stdins.batch && b.stdins.count == 0);
    request_done(&b);
}
END_TEST

#define CODE "\"language\": \"c\", \"code\": \"1\""
#define FILES "\"language\": \"c\", \"files\": "

static const struct {
    const char *text;
    enum refusal_kind kind;
} cases[] = {
    {"{" CODE "}", REFUSAL_NONE},
    {"{" CODE ", \"timeout\": 300, \"stdin\": \"\"}", REFUSAL_NONE},
    {"{\"lang\": \"c\", \"code\": \"\"}", REFUSAL_NONE},
    {"{\"files\": [{\"name\": \"a.c\", \"content\": \"\"}]}", REFUSAL_NONE},
    {"", REFUSAL_INVALID},
    {"{", REFUSAL_INVALID},
    {"[]", REFUSAL_INVALID},
    {"1", REFUSAL_INVALID},
    {"{} x", REFUSAL_INVALID},
    {"{}", REFUSAL_INVALID},
    {"{" CODE ", \"code\": \"2\"}", REFUSAL_INVALID},
    {"{" CODE ", \"lang\": \"c\"}", REFUSAL_INVALID},
    {"{" CODE ", \"x\": 1}", REFUSAL_INVALID},
    {"{" CODE ", \"timeout\": 0}", REFUSAL_INVALID},
    {"{" CODE ", \"timeout\": 301}", REFUSAL_INVALID},
    {"{" CODE ", \"timeout\": -1}", REFUSAL_INVALID},
    {"{" CODE ", \"timeout\": 1.0}", REFUSAL_NONE},
    {"{" CODE ", \"timeout\": 1.5}", REFUSAL_INVALID},
    {"{" CODE ", \"timeout\": -1.0}", REFUSAL_INVALID},
    {"{" CODE ", \"timeout\": 1e300}", REFUSAL_INVALID},
    {"{" CODE ", \"timeout\": \"1\"}", REFUSAL_INVALID},
    {"{" CODE ", \"timeout\": 99999999999999999999}", REFUSAL_INVALID},
    {"{" CODE ", \"vcpus\": 5}", REFUSAL_INVALID},
    {"{" CODE ", \"disk_mib\": 100}", REFUSAL_NONE},
    {"{" CODE ", \"disk_mib\": 101}", REFUSAL_INVALID},
    {"{" CODE ", \"prime\": 1}", REFUSAL_INVALID},
    {"{" CODE ", \"args\": \"a\"}", REFUSAL_INVALID},
    {"{" CODE ", \"args\": [1]}", REFUSAL_INVALID},
    {"{" CODE ", \"env\": {\"1A\": \"a\"}}", REFUSAL_INVALID},
    {"{" CODE ", \"env\": {\"A\": 1}}", REFUSAL_INVALID},
    {"{" CODE ", \"stdin\": 1}", REFUSAL_INVALID},
    {"{" CODE ", \"stdin\": []}", REFUSAL_INVALID},
    {"{" CODE ", \"stdin\": \"a\", \"stdin_encoding\": \"base64\"}", REFUSAL_INVALID},
    {"{" CODE ", \"stdin\": \"a\", \"stdin_encoding\": \"utf-16\"}", REFUSAL_INVALID},
    {"{" CODE ", \"entry\": \"a\"}", REFUSAL_INVALID},
    {"{" CODE ", \"files\": {\"a\": \"\"}}", REFUSAL_INVALID},
    {"{\"language\": \"c\", \"code\": \"a\\u0000\"}", REFUSAL_INVALID},
    {"{\"language\": \"\", \"code\": \"a\"}", REFUSAL_INVALID},
    {"{\"code\": \"a\"}", REFUSAL_INVALID},
    {"{" FILES "[]}", REFUSAL_INVALID},
    {"{" FILES "[{}]}", REFUSAL_INVALID},
    {"{" FILES "[{\"name\": \"a\", \"content\": 1}]}", REFUSAL_INVALID},
    {"{" FILES "[{\"name\": \"a\", \"directory\": true}, {\"name\": \"b\", \"content\": \"\"}]}",
     REFUSAL_NONE},
    {"{" FILES "[{\"name\": \"a\", \"directory\": true, \"content\": \"\"}]}", REFUSAL_INVALID},
    {"{" FILES "[{\"name\": \"../a\", \"directory\": true}]}", REFUSAL_INVALID},
    {"{" FILES "[{\"directory\": true}]}", REFUSAL_INVALID},
    {"{" FILES "[{\"name\": \"a\", \"directory\": true}, {\"name\": \"b\", \"directory\": true}]}",
     REFUSAL_INVALID},
    {"{" FILES "[{\"name\": \"a\", \"link\": \"b\"}, {\"name\": \"b\", \"content\": \"\"}]}", REFUSAL_NONE},
    {"{" FILES "[{\"name\": \"a\", \"link\": \"a\"}]}", REFUSAL_INVALID},
    {"{" FILES "[{\"name\": \"a\", \"link\": \"../b\"}, {\"name\": \"b\", \"content\": \"\"}]}",
     REFUSAL_INVALID},
    {"{" FILES "[{\"name\": \"a\", \"link\": \"/b\"}, {\"name\": \"b\", \"content\": \"\"}]}",
     REFUSAL_INVALID},
    {"{" FILES
     "[{\"name\": \"a\", \"link\": \"b\", \"content\": \"\"}, {\"name\": \"b\", \"content\": \"\"}]}",
     REFUSAL_INVALID},
    {"{" FILES
     "[{\"name\": \"a\", \"link\": \"b\", \"directory\": true}, {\"name\": \"b\", \"content\": \"\"}]}",
     REFUSAL_INVALID},
    {"{" FILES "[{\"name\": \"a\", \"link\": \"b\"}, {\"name\": \"a/c\", \"content\": \"\"}]}",
     REFUSAL_INVALID},
    {"{" FILES "{\"a.c\": \"\", \"b.c\": \"\"}, \"tree\": true}", REFUSAL_NONE},
    {"{" CODE ", \"tree\": true}", REFUSAL_INVALID},
    {"{" FILES "{\"../a\": \"\"}}", REFUSAL_INVALID},
    {"{" FILES "{\"/a\": \"\"}}", REFUSAL_INVALID},
    {"{" FILES "{\"a/./b\": \"\"}}", REFUSAL_INVALID},
    {"{" FILES "{\"a\": \"\", \"a/b\": \"\"}}", REFUSAL_INVALID},
    {"{" FILES "{\"a/b\": \"\", \"a\": \"\"}}", REFUSAL_INVALID},
    {"{" FILES "{\"a\\nb\": \"\"}}", REFUSAL_INVALID},
    {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", REFUSAL_INVALID},
};

START_TEST(each_is_taken_or_refused)
{
    ck_assert_msg(parse(cases[_i].text) == cases[_i].kind, "%s", cases[_i].text);
}
END_TEST

/* A body of one string of that many bytes. */
static char *long_body(const char *field, size_t size)
{
    cleanup_free char *filler = memory_allocate(size + 1);

    memset(filler, 'x', size);
    return text_format("{\"language\": \"c\", \"code\": \"1\", \"%s\": \"%s\"}", field, filler);
}

START_TEST(standard_input_has_a_limit)
{
    char *fits = long_body("stdin", REQUEST_STDIN_MAX), *over = long_body("stdin", REQUEST_STDIN_MAX + 1);

    ck_assert_int_eq(parse(fits), REFUSAL_NONE);
    ck_assert_int_eq(parse(over), REFUSAL_TOO_LARGE);
    free(fits);
    free(over);
}
END_TEST

/* core/program.h knows what one of them may have, and all of them with the environment. */
START_TEST(arguments_have_the_limit_of_the_guest)
{
    char *words = memory_allocate(PROTO_STRINGS_MAX);
    cleanup_free char *fits = NULL, *over = NULL;

    memset(words, 'x', PROTO_STRINGS_MAX - 1);
    fits = text_format("{\"language\": \"c\", \"code\": \"1\", \"args\": [\"%s\"]}", words);
    over = text_format("{\"language\": \"c\", \"code\": \"1\", \"args\": [\"%s\", \"x\"]}", words);
    ck_assert_int_eq(parse(fits), REFUSAL_NONE);
    ck_assert_int_eq(parse(over), REFUSAL_INVALID);
    free(words);
}
END_TEST

START_TEST(values_are_counted_before_they_are_parsed)
{
    struct buffer text = {0};

    buffer_add_text(&text, "{\"args\": [");
    for (int i = 0; i < REQUEST_VALUES_MAX; i++)
        buffer_add_text(&text, "1,");
    ck_assert_int_eq(parse(text.data),
                     REFUSAL_INVALID); /* and not "unexpected end": it did not get that far */
    buffer_free(&text);
}
END_TEST

START_TEST(what_is_made_needs_a_language)
{
    struct refusal r = {0};
    struct request b;
    const char *good = "{\"language\": \"c\", \"force\": true, \"vcpus\": 2}", *bad = "{\"force\": true}";

    ck_assert(request_parse(&b, SCHEMA_OBJECT_SNAPSHOT, good, strlen(good), NULL, &limits, &r) == 0);
    ck_assert(b.force && b.run.shape.vcpus == 2);
    request_done(&b);
    ck_assert(request_parse(&b, SCHEMA_OBJECT_IMAGE, good, strlen(good), NULL, &limits, &r) <
              0); /* an image has no processors */
    ck_assert(request_parse(&b, SCHEMA_OBJECT_SNAPSHOT, bad, strlen(bad), NULL, &limits, &r) < 0);
}
END_TEST

/* Of a session and a snapshot they become part of its name at once; a program's language may not be known yet. */
START_TEST(packages_go_with_a_language)
{
    static const char good[] = "{\"language\": \"python\", \"packages\": \"Pandas==3.1.1, numpy\"}";
    static const char *const bad[] = {"{\"language\": \"python\", \"packages\": \"../x\"}",
                                      "{\"language\": \"python\", \"packages\": [\"numpy\"]}",
                                      "{\"language\": \"python\", \"packages\": \"\"}",
                                      "{\"packages\": \"numpy\"}"};
    const enum schema_object objects[] = {SCHEMA_OBJECT_SESSION, SCHEMA_OBJECT_SNAPSHOT};
    struct refusal r = {0};
    struct request b;

    for (size_t o = 0; o < 2; o++) {
        ck_assert_msg(request_parse(&b, objects[o], good, strlen(good), NULL, &limits, &r) == 0, "%s",
                      r.text);
        ck_assert_str_eq(b.run.language, "python+numpy+pandas_3.1.1");
        request_done(&b);
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
            ck_assert_int_lt(request_parse(&b, objects[o], bad[i], strlen(bad[i]), NULL, &limits, &r), 0);
            ck_assert_int_eq(r.kind, REFUSAL_INVALID);
        }
    }
    ck_assert_int_eq(parse("{\"files\": {\"a.py\": \"\"}, \"packages\": \"numpy\"}"), REFUSAL_NONE);
    ck_assert_int_eq(parse("{\"image\": \"tag:a\", \"argv\": [\"a\"], \"packages\": \"numpy\"}"),
                     REFUSAL_INVALID);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("host_request");

    unit_add(&u, a_whole_request_is_taken_apart);
    unit_add(&u, one_file_gets_the_name_of_its_language);
    unit_add_loop(&u, each_is_taken_or_refused, sizeof(cases) / sizeof(cases[0]));
    unit_add(&u, standard_input_has_a_limit);
    unit_add(&u, arguments_have_the_limit_of_the_guest);
    unit_add(&u, values_are_counted_before_they_are_parsed);
    unit_add(&u, what_is_made_needs_a_language);
    unit_add(&u, packages_go_with_a_language);
    return unit_end(&u);
}
