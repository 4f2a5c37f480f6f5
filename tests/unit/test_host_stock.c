/* broker/stock_pack: what is packed is what comes out, and what was not packed so is refused; service/stock_json: what it is as JSON. */
#include "base/cleanup.h"
#include "base/file.h"
#include "service/stock_json.h"
#include "unit.h"

#include <string.h>
#include <unistd.h>

static struct error e;

static struct stock pass_on(struct stock_pack *p)
{
    cleanup_fd int fd = stock_pack_seal(p, &e);
    struct stock ret;

    ck_assert_msg(fd >= 0 && stock_unpack(&ret, fd, &e) == 0, "%s", e.text);
    ck_assert_int_eq(write(fd, "x", 1), -1);
    stock_pack_done(p);
    return ret;
}

START_TEST(rows_come_out_as_they_went_in)
{
    struct stock_pack p = {.kind = STOCK_LANGUAGE};
    char name[] = "toy";
    struct stock_language row = {
        .name = name, .aliases = "t, t#", .memory_mib = UINT64_MAX, .compiled = true};

    stock_pack_add(&p, &row);
    name[0] = 'b'; /* nothing of it was kept */
    row.aliases = "";
    stock_pack_add(&p, &row);
    struct stock s = pass_on(&p);
    ck_assert(s.kind == STOCK_LANGUAGE && s.count == 2);
    const struct stock_language *first = stock_row(&s, 0), *second = stock_row(&s, 1);
    ck_assert_str_eq(first->name, "toy");
    ck_assert_str_eq(first->aliases, "t, t#");
    ck_assert_ptr_null(first->title);
    ck_assert(first->memory_mib == UINT64_MAX && first->compiled && !first->primed);
    ck_assert_str_eq(second->name, "boy");
    ck_assert_str_eq(second->aliases, "");
    stock_done(&s);
}
END_TEST

START_TEST(none_is_an_empty_list)
{
    struct stock_pack p = {.kind = STOCK_IMAGE};
    struct stock s = pass_on(&p);
    json_t *j = stock_json_all(&s, &e), *want = json_pack("{s:[], s:i}", "images", "count", 0);

    ck_assert(json_equal(j, want));
    json_decref(j);
    json_decref(want);
    s = pass_on(&p);
    ck_assert_ptr_null(stock_json_one(SCHEMA_OBJECT_SHOWN_IMAGE, &s, &e));
}
END_TEST

START_TEST(rows_are_told_as_schema_def_says)
{
    struct stock_pack p = {.kind = STOCK_SNAPSHOT};
    const struct stock_snapshot row = {.key = "k", .language = "c", .vcpus = 2, .allocated = 5, .made = true};
    json_t *want =
        json_pack("{s:s, s:s, s:i, s:i, s:i, s:b, s:i, s:i, s:b}", "key", "k", "language", "c", "memory_mib",
                  0, "vcpus", 2, "disk_mib", 0, "primed", 0, "allocated_bytes", 5, "created", 0, "made", 1);

    stock_pack_add(&p, &row);
    struct stock s = pass_on(&p);
    json_t *j = stock_json_one(SCHEMA_OBJECT_MADE_SNAPSHOT, &s, &e);
    ck_assert(json_equal(j, want));
    json_decref(j);
    stock_pack_add(&p, &row);
    s = pass_on(&p);
    j = stock_json_all(&s, &e);
    json_object_del(want, "made");
    ck_assert(json_equal(json_array_get(json_object_get(j, "snapshots"), 0), want));
    json_decref(j);
    json_decref(want);
}
END_TEST

START_TEST(a_list_of_words_is_one_text)
{
    const struct stock_language row = {.name = "n",
                                       .title = "t",
                                       .extension = "e",
                                       .aliases = "a, b",
                                       .extensions = "e",
                                       .source = "s",
                                       .expect = "",
                                       .packages = "\xff",
                                       .npm = "x"};
    json_t *j = schema_json(SCHEMA_OBJECT_LANGUAGE, SCHEMA_OF_LANGUAGE, &row, &e),
           *want = json_pack("[s, s]", "a", "b");

    ck_assert(json_equal(json_object_get(j, "aliases"), want));
    ck_assert(json_is_null(json_object_get(j, "hello")));
    ck_assert_str_eq(json_string_value(json_object_get(j, "expect")), "");
    json_decref(j);
    json_decref(want);
    ck_assert_ptr_null(schema_json(SCHEMA_OBJECT_CLI_LANGUAGE, SCHEMA_OF_LANGUAGE, &row, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "packages is not UTF-8"));
}
END_TEST

/* Two images with texts, and what one who does not mean well changes of them. */
struct forged {
    uint64_t kind, count;
    struct stock_image rows[2];
    char texts[8];
};

static bool is_taken(const struct forged *f, size_t size)
{
    cleanup_fd int fd = file_sealed("test", f, size);
    struct stock s;

    bool ret = stock_unpack(&s, fd, &e) == 0;
    ck_assert(ret || strstr(e.text, "malformed"));
    ck_assert(ret || !s.data.data);
    stock_done(&s);
    return ret;
}

static void set_text(const char **text, uintptr_t packed)
{
    memcpy(text, &packed, sizeof(packed));
}

START_TEST(what_is_malformed_is_refused)
{
    const struct forged good = {.kind = STOCK_IMAGE, .count = 2, .texts = "abc\0def"};
    struct forged f = good;

    ck_assert(is_taken(&f, sizeof(f)));
    set_text(&f.rows[1].path, sizeof(f.texts)); /* the last NUL */
    ck_assert(is_taken(&f, sizeof(f)));
    set_text(&f.rows[1].path, sizeof(f.texts) + 1);
    ck_assert(!is_taken(&f, sizeof(f)));
    set_text(&f.rows[1].path, UINTPTR_MAX);
    ck_assert(!is_taken(&f, sizeof(f)));
    f = good;
    memset(&f.rows[0].imported, 2, 1);
    ck_assert(!is_taken(&f, sizeof(f)));
    f = good;
    f.texts[7] = 'x';
    ck_assert(!is_taken(&f, sizeof(f)));
    f = good;
    f.kind = STOCK_KINDS_COUNT;
    ck_assert(!is_taken(&f, sizeof(f)));
    f = good;
    for (f.count = 3; f.count; f.count <<= 1)
        ck_assert(!is_taken(&f, sizeof(f)));
    for (size_t size = 0; size < offsetof(struct forged, texts); size++)
        ck_assert(!is_taken(&good, size));
    ck_assert(is_taken(&good, offsetof(struct forged, texts)));
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("stock");

    unit_add(&u, rows_come_out_as_they_went_in);
    unit_add(&u, none_is_an_empty_list);
    unit_add(&u, rows_are_told_as_schema_def_says);
    unit_add(&u, a_list_of_words_is_one_text);
    unit_add(&u, what_is_malformed_is_refused);
    return unit_end(&u);
}
