/* core/account, core/keep: who a command runs as, and how many layers a branch takes in. */
#include "core/account.h"
#include "core/keep.h"

#include "unit.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
                             "# a comment: with: colons: that: are: none:\n"
                             "bad:x:one:1::/:\n"
                             "short:x:5:5\n"
                             "no-home:x:6:6::relative:/bin/sh\n"
                             "alice:x:1000:100:Alice,,,:/home/alice:/bin/sh\n"
                             "alice:x:1001:101::/second:/bin/sh\n"
                             "twin:x:1000:200::/twin:\n"
                             "nobody-has:x:4294967295:1::/:\n"
                             "far:x:99999999999999999999:1::/:\n"
                             "group-less:x:7:4294967295::/:\n"
                             "last:x:4294967294:3::/last:/bin/sh";

static void expect_user(const char *name, uint32_t uid, uint32_t gid, const char *home)
{
    struct account a = {0};

    ck_assert_msg(account_parse_user(&a, passwd, name), "%s", name);
    ck_assert_uint_eq(a.uid, uid);
    ck_assert_uint_eq(a.gid, gid);
    if (home)
        ck_assert_str_eq(a.home, home);
    else
        ck_assert_ptr_null(a.home);
    account_done(&a);
}

START_TEST(users_of_an_image)
{
    expect_user("root", 0, 0, "/root");
    expect_user("0", 0, 0, "/root");
    expect_user("alice", 1000, 100, "/home/alice");
    expect_user("1000", 1000, 100, "/home/alice");
    expect_user("1001", 1001, 101, "/second");
    expect_user("no-home", 6, 6, NULL);
    expect_user("last", 4294967294, 3, "/last");
}
END_TEST

START_TEST(who_is_no_user)
{
    static const char *const names[] = {"",           "bad",        "short",      "5",          "ali",
                                        "alice2",     "x",          "-1",         "nobody-has", "far",
                                        "4294967295", "group-less", "# a comment"};
    struct account a = {0};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        ck_assert_msg(!account_parse_user(&a, passwd, names[i]), "%s", names[i]);
        ck_assert_ptr_null(a.home);
        ck_assert_uint_eq(a.gid, 0);
    }
    ck_assert(!account_parse_user(&a, "", "root"));
    ck_assert(!account_parse_user(&a, "\n\n:::::\n", "root"));
    ck_assert(!account_parse_user(&a, "root", "root"));
}
END_TEST

/* A home is a working directory and a variable, so it is a path. */
START_TEST(a_home_that_is_too_long)
{
    static char line[6000] = "long:x:5:5::/";
    struct account a = {0};

    memset(line + strlen(line), 'h', 5000);
    ck_assert(account_parse_user(&a, line, "long"));
    ck_assert_ptr_null(a.home);
}
END_TEST

START_TEST(groups_of_an_image)
{
    static const char group[] = "root:x:0:\nwheel:x:10:alice,bob\nbad:x:ten:\nshort:x\nlast:x:20";
    uint32_t gid = 7;

    ck_assert(account_parse_group(&gid, group, "wheel") && gid == 10);
    ck_assert(account_parse_group(&gid, group, "last") && gid == 20);
    gid = 7;
    ck_assert(!account_parse_group(&gid, group, "bad"));
    ck_assert(!account_parse_group(&gid, group, "short"));
    ck_assert(!account_parse_group(&gid, group, "alice"));
    ck_assert_uint_eq(gid, 7);
}
END_TEST

START_TEST(the_form_of_a_user)
{
    static const char *const good[] = {"0", "1000:1000", "www-data", "a.b_c:d", "alice:4294967295"};
    static const char *const bad[] = {"", ":", ":0", "a:", "a:b:c", "a b", "a\nb", "../a", "a:\x7f", "\t"};
    char name[600];

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        ck_assert_msg(account_is_valid(good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!account_is_valid(bad[i]), "%s", bad[i]);
    memset(name, 'n', sizeof(name));
    name[255] = '\0';
    ck_assert(account_is_valid(name));
    name[255] = 'n';
    name[256] = '\0';
    ck_assert(!account_is_valid(name));
}
END_TEST

/* sizes from the lowest layer on; the letters: E EROFS, 4 ext4. */
static unsigned fold_count(const char *kinds, const uint64_t *sizes)
{
    struct image parent = {.layer_count = (unsigned)strlen(kinds)};

    for (unsigned i = 0; i < parent.layer_count; i++)
        parent.layers[i] = (struct image_layer){
            .kind = kinds[i] == 'E' ? IMAGE_LAYER_EROFS : IMAGE_LAYER_EXT4, .size = sizes[i]};
    return keep_fold_count(&parent);
}

#define SIZES(...) ((const uint64_t[]){__VA_ARGS__})

START_TEST(how_many_layers_a_branch_takes_in)
{
    ck_assert_uint_eq(IMAGE_LAYERS_MAX, 4);
    ck_assert_uint_eq(fold_count("", SIZES(0)), 0);
    ck_assert_uint_eq(fold_count("444", SIZES(1, 1, 1)), 0);
    ck_assert_uint_eq(fold_count("4444", SIZES(1000, 100, 30, 10)),
                      1); /* each is much larger than those above */
    ck_assert_uint_eq(fold_count("4444", SIZES(1000, 100, 20, 10)), 2);
    ck_assert_uint_eq(fold_count("4444", SIZES(1000, 60, 20, 10)), 3);
    ck_assert_uint_eq(fold_count("4444", SIZES(10, 10, 10, 10)), 4);
    ck_assert_uint_eq(fold_count("E444", SIZES(10, 10, 10, 10)), 3); /* what is not of a run stays */
    ck_assert_uint_eq(fold_count("EEE4", SIZES(10, 10, 10, 10)), 1);
    ck_assert_uint_eq(fold_count("4444", SIZES(0, 0, 0, 0)), 4);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("account");

    unit_add(&u, users_of_an_image);
    unit_add(&u, who_is_no_user);
    unit_add(&u, a_home_that_is_too_long);
    unit_add(&u, groups_of_an_image);
    unit_add(&u, the_form_of_a_user);
    unit_add(&u, how_many_layers_a_branch_takes_in);
    return unit_end(&u);
}
