/* base/text and base/jsontext: numbers, names, UTF-8, base64, sizes; JSON of others and ours. */
#include "base/jsontext.h"
#include "base/moment.h"
#include "base/text.h"

#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

START_TEST(numbers_are_whole_and_bounded)
{
    uint64_t v = 7;

    ck_assert(text_to_u64("0", 0, 10, &v) && v == 0);
    ck_assert(text_to_u64("10", 0, 10, &v) && v == 10);
    ck_assert(text_to_u64("18446744073709551615", 0, UINT64_MAX, &v) && v == UINT64_MAX);
    v = 7;
    const char *const bad[] = {"",    " 1", "1 ", "-1", "+1", "1x", "0x1", "11", "18446744073709551616",
                               "1.5", "abc"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!text_to_u64(bad[i], 0, 10, &v) && v == 7, "accepted \"%s\"", bad[i]);
}
END_TEST

START_TEST(utf8_prefix_ends_at_the_first_bad_byte)
{
    const struct {
        const char *text;
        size_t size, valid;
    } cases[] = {
        {"", 0, 0},
        {"abc", 3, 3},
        {"a\0b", 3, 3},
        {"\xc3\xa9", 2, 2},
        {"\xe2\x82\xac", 3, 3},
        {"\xf0\x9f\x98\x80", 4, 4},
        {"\xf4\x8f\xbf\xbf", 4, 4},
        {"\xf4\x90\x80\x80", 4, 0}, /* above U+10FFFF */
        {"\xed\xa0\x80", 3, 0},     /* surrogate */
        {"\xc0\x80", 2, 0},         /* overlong */
        {"\xe0\x80\x80", 3, 0},
        {"\xf0\x80\x80\x80", 4, 0},
        {"ab\xff", 3, 2},
        {"ab\xc3", 3, 2}, /* cut */
        {"ab\xe2\x82", 4, 2},
        {"\x80", 1, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_uint_eq(text_utf8_prefix(cases[i].text, cases[i].size), cases[i].valid);
}
END_TEST

START_TEST(plain_text_has_nothing_that_a_terminal_acts_on)
{
    const char *const cases[][2] = {
        {"", ""},
        {"a b\tc\nd\r\n", "a b c d  "},
        {"\x1b[2J\x07\x7f", "?[2J??"},
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"\xc2\x9b"
         "31m",
         "??31m"}, /* CSI of the second set */
        {"\xc2\xa0", "\xc2\xa0"},
        {"a\xff"
         "b\xc3",
         "a?b?"},
        {"\xe2\x82", "??"},
        {"\xed\xa0\x80.", "???."},
        {"\xf0\x9f\x98", "???"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *exact = unit_exact(cases[i][0], strlen(cases[i][0]) + 1);
        ck_assert_str_eq(text_make_plain(exact), cases[i][1]);
        free(exact);
    }
}
END_TEST

START_TEST(base64_is_that_of_rfc_4648)
{
    const char *const pairs[][2] = {{"", ""},
                                    {"f", "Zg=="},
                                    {"fo", "Zm8="},
                                    {"foo", "Zm9v"},
                                    {"foob", "Zm9vYg=="},
                                    {"fooba", "Zm9vYmE="},
                                    {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        char *s = text_base64(pairs[i][0], strlen(pairs[i][0]));
        ck_assert_str_eq(s, pairs[i][1]);
        free(s);
    }
    char *s = text_base64("\xff\xfe\x00", 3);
    ck_assert_str_eq(s, "//4A");
    free(s);
}
END_TEST

START_TEST(names_cannot_leave_their_directory)
{
    ck_assert(text_is_name("python"));
    ck_assert(text_is_name("c++"));
    ck_assert(text_is_name("main.py"));
    const char *const bad[] = {
        "",     ".",  "..",  ".hidden", "a/b",
        "../x", "-x", "a b", "a\n",     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!text_is_name(bad[i]), "accepted \"%s\"", bad[i]);
}
END_TEST

START_TEST(sizes_are_short)
{
    char out[24];

    ck_assert_str_eq(text_bytes(0, out), "0 B");
    ck_assert_str_eq(text_bytes(999, out), "999 B");
    ck_assert_str_eq(text_bytes(1500, out), "1.5 kB");
    ck_assert_str_eq(text_bytes(26214400, out), "26.2 MB");
    ck_assert_str_eq(text_bytes(268435456, out), "268 MB");
    ck_assert_str_eq(text_bytes(UINT64_MAX, out), "18446744 TB");
}
END_TEST

/* As text of 2 GiB, whose size is no int, but at once: in this locale there is no such character. */
START_TEST(text_without_a_size_is_not_left_out_in_silence)
{
    struct buffer b = {0};

    buffer_add_text(&b, "%ls", L"\u20ac");
    buffer_free(&b);
}
END_TEST

START_TEST(lines_stay_lines)
{
    char text[] = "one\x1b[31m\ntwo\xc2\x9b\r\n";

    ck_assert_str_eq(text_make_plain_lines(text), "one?[31m\ntwo?? \n");
}
END_TEST

START_TEST(json_that_would_take_much_memory_is_not_parsed)
{
    const struct {
        const char *text;
        enum jsontext_shape shape; /* with at most 4 values */
    } cases[] = {
        {"", JSONTEXT_FINE},
        {"[1,2,3,4]", JSONTEXT_FINE},
        {"[1,2,3,4,5]", JSONTEXT_MANY},
        {"[[],[],[]]", JSONTEXT_MANY},
        {"{\"a,b,c,d,e,[[[[[\\\",,,,,,\":1}", JSONTEXT_FINE}, /* within a string */
        {"\"\\", JSONTEXT_FINE},                              /* a cut escape */
    };
    char deep[2 * JSONTEXT_DEPTH_MAX + 2];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *exact = unit_exact(cases[i].text, strlen(cases[i].text));
        ck_assert_msg(jsontext_shape(exact, strlen(cases[i].text), 4) == cases[i].shape, "%s", cases[i].text);
        free(exact);
    }
    memset(deep, '[', JSONTEXT_DEPTH_MAX + 1);
    memset(deep + JSONTEXT_DEPTH_MAX, ']', JSONTEXT_DEPTH_MAX);
    json_t *j = jsontext_parse(deep, 2 * JSONTEXT_DEPTH_MAX, 100, 0);
    ck_assert_ptr_nonnull(j);
    json_decref(j);
    memset(deep, '[', JSONTEXT_DEPTH_MAX + 1);
    ck_assert_int_eq(jsontext_shape(deep, JSONTEXT_DEPTH_MAX + 1, 100), JSONTEXT_DEEP);
    ck_assert_ptr_null(jsontext_parse(NULL, 0, 4, 0));
    ck_assert_ptr_null(jsontext_parse("[1,2,3,4,5]", 11, 4, 0));
}
END_TEST

START_TEST(json_of_ours_holds_no_control_character)
{
    json_t *j = json_pack("{s:s, s:s}", "a", "\xc2\x80-\xc2\x9f\x7f\x1b\n", "\xc2\x9bk",
                          "\xc3\xbc\xc2\xa0\xe2\x82\xac");
    char *text = jsontext_format(j, JSON_COMPACT);
    json_t *again = jsontext_parse(text, strlen(text), 10, 0);

    ck_assert_str_eq(
        text, "{\"a\":\"\\u0080-\\u009F\\u007F\\u001B\\n\",\"\\u009Bk\":\"\xc3\xbc\xc2\xa0\xe2\x82\xac\"}");
    ck_assert(json_equal(j, again));
    json_decref(again);
    json_decref(j);
    free(text);
    ck_assert_ptr_null(jsontext_format(NULL, 0));
}
END_TEST

static const struct {
    const char *text;
    int64_t seconds; /* -1: it is none */
} moments[] = {
    {"0", 0},
    {"1796076143", 1796076143},
    {"90s", 1000000000 - 90},
    {"24h", 1000000000 - 86400},
    {"1w", 1000000000 - 604800},
    {"1970-01-02", 86400},
    {"2026-12-01T10:30:15Z", 1796121015},
    {"2026-12-01T10:30:15.250+01:30", 1796121015 - 5400},
    {"2026-12-01 10:30", 1796121000},
    {"2026-12-01T10:30:15-00:01", 1796121015 + 60},
    {"", -1},
    {"x", -1},
    {"1x", -1},
    {"1hh", -1},
    {"-1", -1},
    {"99999999999999999999", -1},
    {"2026-13-01", -1},
    {"2026-12-01T", -1},
    {"2026-12-01T10:30:15Zx", -1},
    {"2026-12-01T10:30:15+25:00", -1},
    {"2026-12-01T10:30:15+01", -1},
};

START_TEST(test_moment)
{
    int64_t seconds = -1;
    bool good = moment_parse(moments[_i].text, 1000000000, &seconds);

    ck_assert_msg(good == (moments[_i].seconds >= 0) && seconds == moments[_i].seconds, "%s %lld",
                  moments[_i].text, (long long)seconds);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("host_text");

    unit_add(&u, numbers_are_whole_and_bounded);
    unit_add(&u, utf8_prefix_ends_at_the_first_bad_byte);
    unit_add(&u, plain_text_has_nothing_that_a_terminal_acts_on);
    unit_add(&u, lines_stay_lines);
    unit_add(&u, json_that_would_take_much_memory_is_not_parsed);
    unit_add(&u, json_of_ours_holds_no_control_character);
    unit_add(&u, base64_is_that_of_rfc_4648);
    unit_add(&u, names_cannot_leave_their_directory);
    unit_add(&u, sizes_are_short);
    tcase_add_test_raise_signal(u.tests, text_without_a_size_is_not_left_out_in_silence, SIGABRT);
    unit_add_loop(&u, test_moment, sizeof(moments) / sizeof(moments[0]));
    return unit_end(&u);
}
