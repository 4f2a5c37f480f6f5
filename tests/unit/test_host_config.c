/* config/: settings, good and careless ones. */
#include "base/file.h"
#include "config/config.h"

#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char root[64];
static struct error e;

static void setup(void)
{
    strcpy(root, "/tmp/capsid-config-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    e = (struct error){0};
    setenv("XDG_CONFIG_HOME", root, 1);
    setenv("CAPSID_HOME", "/from/environment", 1);
    unsetenv("CAPSID_TIMEOUT");
}

static void teardown(void)
{
    file_remove_tree(root, &e);
}

static void put(const char *name, const char *text)
{
    char *path = text_format("%s/%s", root, name), *directory = text_copy(path);

    *strrchr(directory, '/') = '\0';
    ck_assert_int_eq(file_make_directories(directory, &e), 0);
    ck_assert_int_eq(file_replace(path, root, text, strlen(text), 0600, &e), 0);
    free(path);
    free(directory);
}

START_TEST(the_environment_beats_the_file)
{
    struct config c;

    put("capsid/capsid.conf", "[capsid]\nhome = /from/file\ntimeout = 7\naccel = tcg ; a comment\n");
    ck_assert_int_eq(config_load(&c, &e), 0);
    ck_assert_str_eq(c.home, "/from/environment");
    ck_assert_uint_eq(c.timeout, 7);
    ck_assert_int_eq(c.accel, ACCEL_TCG);
    ck_assert_int_eq(config_set(&c, "timeout", "9", "flag", &e), 0);
    ck_assert_uint_eq(c.timeout, 9);
    config_done(&c);
}
END_TEST

static const char *const careless[][2] = {
    {"[capsid]\ntimeout = 0\n", "timeout"},      {"[capsid]\ntimeout = soon\n", "soon"},
    {"[capsid]\ntimeout = 99999999\n", "86400"}, {"[capsid]\naccel = fast\n", "fast"},
    {"[capsid]\nspeed = 1\n", "speed"},          {"[other]\nhome = /x\n", "other"},
    {"[capsid]\nthis is not ini\n", "line 2"},   {"home = /x\n", "[]"},
};

START_TEST(a_file_that_is_not_there_is_no_error)
{
    struct config c;

    ck_assert_int_eq(config_load(&c, &e), 0);
    ck_assert_msg(!e.kind && !e.text[0], "%s", e.text);
    config_done(&c);
}
END_TEST

START_TEST(a_careless_file_is_refused_by_name)
{
    struct config c;

    put("capsid/capsid.conf", careless[_i][0]);
    ck_assert_int_lt(config_load(&c, &e), 0);
    ck_assert_msg(strstr(e.text, careless[_i][1]) && strstr(e.text, "capsid.conf"), "%s", e.text);
}
END_TEST

START_TEST(kernel_arguments_have_a_bound)
{
    struct config c = {0};
    char words[CONFIG_KERNEL_ARGS_MAX + 2];

    memset(words, 'x', sizeof(words) - 1);
    words[sizeof(words) - 1] = '\0';
    ck_assert_int_lt(config_set(&c, "kernel_args", words, "CAPSID_KERNEL_ARGS", &e), 0);
    ck_assert_str_eq(e.text, "CAPSID_KERNEL_ARGS: kernel_args is 1601 bytes long, but must be 1600 at most");
    words[CONFIG_KERNEL_ARGS_MAX] = '\0';
    ck_assert_int_eq(config_set(&c, "kernel_args", words, "flag", &e), 0);
    config_done(&c);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("host_config");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, the_environment_beats_the_file);
    unit_add(&u, a_file_that_is_not_there_is_no_error);
    unit_add(&u, kernel_arguments_have_a_bound);
    unit_add_loop(&u, a_careless_file_is_refused_by_name, sizeof(careless) / sizeof(careless[0]));
    return unit_end(&u);
}
