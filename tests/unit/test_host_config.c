/* config/ and language/: settings and definitions, good and careless ones. */
#include "base/file.h"
#include "config/config.h"
#include "language/language.h"

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

START_TEST(a_careless_file_is_refused_by_name)
{
    struct config c;

    put("capsid/capsid.conf", careless[_i][0]);
    ck_assert_int_lt(config_load(&c, &e), 0);
    ck_assert_msg(strstr(e.text, careless[_i][1]) && strstr(e.text, "capsid.conf"), "%s", e.text);
}
END_TEST

static const char good[] =
    "[language]\nname = toy\ntitle = Toy\naliases = t, toy3\nextension = toy\nsource = main.toy\n"
    "run = /bin/toy -x {source}\nprime = yes\n[image]\nsuite = s\nmethod = extract\n"
    "packages = a, b\n[vm]\nmemory = 64\nvcpus = 2\n[env]\nLANG = C\n";

START_TEST(a_language_is_found_by_name_and_alias)
{
    struct language l;

    put("languages/toy.ini", good);
    const char *const names[] = {"toy", "t", "toy3"};
    for (size_t i = 0; i < 3; i++) {
        ck_assert_msg(language_find(&l, root, names[i], &e) == 0, "%s", e.text);
        ck_assert_str_eq(l.name, "toy");
        ck_assert_uint_eq(l.memory, 64);
        ck_assert_uint_eq(l.vcpus, 2);
        ck_assert(l.prime);
        ck_assert_uint_eq(l.env_count, 1);
        ck_assert_str_eq(l.env[0], "LANG=C");
        language_done(&l);
    }
    char *all = language_names(root);
    ck_assert_str_eq(all, "toy");
    free(all);
}
END_TEST

START_TEST(an_unknown_language_lists_the_known)
{
    struct language l;

    put("languages/toy.ini", good);
    const char *const names[] = {"nope", "to", "", "../toy", "toy.ini"};
    for (size_t i = 0; i < 5; i++) {
        ck_assert_int_lt(language_find(&l, root, names[i], &e), 0);
        ck_assert_int_eq(e.kind, ERROR_UNKNOWN_LANGUAGE);
        ck_assert_ptr_nonnull(strstr(e.text, "Available: toy"));
    }
}
END_TEST

static const char *const broken[][2] = {
    {"[language]\nname = toy\n", "missing"},
    {"[language]\nname = ../x\n", "missing"},
    {"[language]\nprime = maybe\n", "prime"},
    {"[language]\ncolour = red\n", "colour"},
    {"[vm]\nmemory = 1\n", "memory"},
    {"nonsense\n", "line 1"},
    {"[language]\nname = toy\nextension = t\nsource = a/b\nrun = x {source}\n[image]\nsuite = s\nmethod = "
     "m\npackages = p\n",
     "plain names"},
    {"[language]\nname = toy\nextension = t\nsource = a\nrun = x\n[image]\nsuite = s\nmethod = m\npackages = "
     "p\n",
     "{source}"},
};

START_TEST(a_broken_definition_is_refused)
{
    struct language l;

    put("languages/toy.ini", broken[_i][0]);
    ck_assert_int_lt(language_find(&l, root, "toy", &e), 0);
    ck_assert_msg(strstr(e.text, broken[_i][1]) && strstr(e.text, "toy.ini"), "%s", e.text);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("host_config");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, the_environment_beats_the_file);
    unit_add_loop(&u, a_careless_file_is_refused_by_name, sizeof(careless) / sizeof(careless[0]));
    unit_add(&u, a_language_is_found_by_name_and_alias);
    unit_add(&u, an_unknown_language_lists_the_known);
    unit_add_loop(&u, a_broken_definition_is_refused, sizeof(broken) / sizeof(broken[0]));
    return unit_end(&u);
}
