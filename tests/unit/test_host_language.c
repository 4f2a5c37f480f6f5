/* language/: definitions, good, careless and hostile ones; and how one is found. */
#include "base/file.h"
#include "language/language.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char root[64];
static struct error e;

static void setup(void)
{
    strcpy(root, "/tmp/capsid-language-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    e = (struct error){0};
}

static void teardown(void)
{
    file_remove_tree(root, &e);
}

static void put_bytes(const char *name, const char *text, size_t size)
{
    char *path = text_format("%s/languages/%s", root, name), *directory = text_copy(path);

    *strrchr(directory, '/') = '\0';
    ck_assert_int_eq(file_make_directories(directory, &e), 0);
    FILE *f = fopen(path, "w"); /* not file_replace(), which syncs */
    ck_assert(f && fwrite(text, 1, size, f) == size && fclose(f) == 0);
    free(path);
    free(directory);
}

static void put(const char *name, const char *text)
{
    put_bytes(name, text, strlen(text));
}

static const char good[] =
    "[language]\nname = toy\ntitle = Toy\naliases = t, t#, toy3\nextension = toy\nextensions = ty, tyy\n"
    "source = main.toy\nrun = /bin/toy -x {source}\nprime = yes\nimport = a, b.c\n[image]\nsuite = s\nmethod "
    "= extract\n"
    "extra = s-backports\npackages = a, b/s-backports\nnpm = @x/y@1.2.3, z@4\npip = A.b==1.2, c\npost = "
    "first\n  && second\n"
    "[vm]\nmemory = 64\nvcpus = 2\n[env]\nLANG = C\nPAIR = a\n  b\n[warm]\ncommand = toy {source}\nkeep = "
    "yes\n"
    "[hello]\ncode = say \"a\\\\n\"\\n\\tend\nexpect = a\\nb\n";

START_TEST(a_language_is_found_by_name_and_alias)
{
    struct language l;

    put("toy.ini", good);
    const char *const names[] = {"toy", "t", "toy3", "t#"};
    for (size_t i = 0; i < 4; i++) {
        ck_assert_msg(language_find(&l, root, names[i], &e) == 0, "%s", e.text);
        ck_assert_str_eq(l.name, "toy");
        ck_assert_uint_eq(l.shape.memory_mib, 64);
        ck_assert_uint_eq(l.shape.vcpus, 2);
        ck_assert(l.prime);
        language_done(&l);
    }
    char *all = language_names(root);
    ck_assert_str_eq(all, "toy");
    free(all);
}
END_TEST

/* Languages with packages: of every spelling the same one. */
static const char snake[] =
    "[language]\nname = snake\naliases = s, s++\nextension = sn\nsource = m.sn\nrun = /x {source}\n"
    "[image]\nsuite = s\nmethod = extract\npackages = dash, python3\npip = own==1\n";

START_TEST(packages_are_part_of_the_name)
{
    static const struct {
        const char *list, *name, *pip;
    } rows[] = {
        {"numpy", "snake+numpy", "own==1,numpy"},
        {"pandas, numpy", "snake+numpy+pandas", "own==1,numpy,pandas"},
        {" Scikit_Learn==1.5.2 ,ruamel.yaml,a--_b", "snake+a-b+ruamel-yaml+scikit-learn_1.5.2",
         "own==1,a-b,ruamel-yaml,scikit-learn==1.5.2"},
        {"a,A,a", "snake+a", "own==1,a"},
        {"a==1.0,a==1.0", "snake+a_1.0", "own==1,a==1.0"},
    };
    struct language l;

    put("snake.ini", snake);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *name = language_variant("snake", rows[i].list, &e),
             *alias = text_format("s%s", rows[i].name + 5);
        ck_assert_msg(name, "%s", e.text);
        ck_assert_str_eq(name, rows[i].name);
        const char *const found_by[] = {name, alias};
        for (size_t n = 0; n < 2; n++) {
            ck_assert_msg(language_find(&l, root, found_by[n], &e) == 0, "%s", e.text);
            ck_assert_str_eq(l.name, rows[i].name);
            ck_assert_str_eq(l.recipe.pip, rows[i].pip);
            ck_assert(l.variant);
            language_done(&l);
        }
        free(name);
        free(alias);
    }
    ck_assert_int_eq(language_find(&l, root, "s++", &e), 0); /* an alias as ever */
    ck_assert_str_eq(l.recipe.pip, "own==1");
    ck_assert(!l.variant);
    language_done(&l);
}
END_TEST

START_TEST(packages_are_bounded_and_plain)
{
    static const char *const bad[] = {
        "",   ",",         " ",      "a b",  "a,,../b", "a==", "a==x1",   "a==1+local", "a>=1",
        "-r", "a==1,a==2", "a==1,a", "a[b]", "a @ b",   "+a",  "a==1==2", "a_",         "\xc3\xa9"};
    struct buffer many = {0}, far = {0};
    struct language l;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        e = (struct error){0};
        ck_assert_msg(!language_variant("snake", bad[i], &e), "%s", bad[i]);
        ck_assert_int_eq(e.kind, ERROR_USAGE);
        ck_assert_ptr_nonnull(strstr(e.text, "packages: "));
    }
    for (int i = 0; i < 33; i++)
        buffer_add_text(&many, "p%d,", i);
    ck_assert_ptr_null(language_variant("snake", many.data, &e));
    for (int i = 0; i < 10; i++)
        buffer_add_text(&far, "a-name-of-some-length-%d,", i);
    ck_assert_ptr_null(language_variant("snake", far.data, &e));
    buffer_free(&many);
    buffer_free(&far);
    put("snake.ini", snake);
    put("toy.ini", good);
    static const char *const unknown[] = {"toy+a",     "none+a",     "snake+", "snake+a+",
                                          "snake+a_x", "snake+../b", "+a"};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
        ck_assert_msg(language_find(&l, root, unknown[i], &e) < 0, "%s", unknown[i]);
}
END_TEST

START_TEST(every_key_arrives)
{
    struct language l;

    put("toy.ini", good);
    ck_assert_msg(language_find(&l, root, "toy", &e) == 0, "%s", e.text);
    ck_assert_str_eq(l.extensions, "toy, ty, tyy");
    ck_assert_str_eq(l.recipe.extra, "s-backports");
    ck_assert_str_eq(l.recipe.packages, "a, b/s-backports");
    ck_assert_str_eq(l.recipe.npm, "@x/y@1.2.3, z@4");
    ck_assert_str_eq(l.recipe.pip, "A.b==1.2, c");
    ck_assert_str_eq(l.import, "a, b.c");
    ck_assert_str_eq(l.recipe.post, "first && second");
    ck_assert_uint_eq(l.env_count, 2);
    ck_assert_str_eq(l.env[0], "LANG=C");
    ck_assert_str_eq(l.env[1], "PAIR=a b");
    ck_assert_str_eq(l.warm, "toy {source}");
    ck_assert(l.warm_keep);
    ck_assert_str_eq(l.hello, "say \"a\\n\"\n\tend");
    ck_assert_str_eq(l.expect, "a\nb");
    ck_assert_ptr_null(l.build);
    ck_assert_ptr_null(l.recipe.oci);
    language_done(&l);
}
END_TEST

#define IMAGE "[image]\nsuite = s\nmethod = extract\npackages = p\n"
#define HEAD "[language]\nname = toy\nextension = toy\nsource = main.toy\n"

START_TEST(a_compiled_language_runs_its_output)
{
    struct language l;

    put("toy.ini", HEAD "build = cc -o {output} {source}\nrun = {output}\n" IMAGE);
    ck_assert_msg(language_find(&l, root, "toy", &e) == 0, "%s", e.text);
    ck_assert_str_eq(l.build, "cc -o {output} {source}");
    ck_assert_str_eq(l.title, "toy");
    ck_assert_uint_eq(l.shape.memory_mib, 256);
    language_done(&l);
    put("toy.ini", HEAD "build =\nrun = x {source}\n" IMAGE);
    ck_assert_msg(language_find(&l, root, "toy", &e) == 0, "%s", e.text);
    ck_assert_ptr_null(l.build); /* empty: no build phase */
    language_done(&l);
}
END_TEST

START_TEST(a_container_image_needs_no_packages)
{
    struct language l;

    put("toy.ini", HEAD "run = x {source}\n[image]\noci = docker.io/library/toy:1@sha256:00\n");
    ck_assert_msg(language_find(&l, root, "toy", &e) == 0, "%s", e.text);
    ck_assert_str_eq(l.recipe.oci, "docker.io/library/toy:1@sha256:00");
    ck_assert_ptr_null(l.recipe.packages);
    language_done(&l);
}
END_TEST

/* In an imported image in place of its own. */
START_TEST(a_language_moves)
{
    struct language l;

    put("toy.ini",
        HEAD "run = /usr/bin/toy3 -x /usr/lib/y {source}\nprime = yes\n" IMAGE
             "[env]\nLANG = C\nSTART = /usr/lib/start\nCACHE = /tmp/cache\nB = 2\n[warm]\ncommand = toy\n");
    ck_assert_msg(language_find(&l, root, "toy", &e) == 0, "%s", e.text);
    language_move(&l);
    ck_assert_str_eq(l.run, "toy3 -x /usr/lib/y {source}");
    ck_assert(l.imported && !l.prime && !l.warm);
    ck_assert_uint_eq(l.env_count, 3);
    ck_assert_str_eq(l.env[1], "CACHE=/tmp/cache");
    ck_assert_str_eq(l.env[2], "B=2");
    language_done(&l);
    put("toy.ini", HEAD "build = cc\nrun = {output}\n" IMAGE);
    ck_assert_msg(language_find(&l, root, "toy", &e) == 0, "%s", e.text);
    language_move(&l);
    ck_assert_str_eq(l.run, "{output}");
    language_done(&l);
    put("toy.ini",
        HEAD "run = /usr/bin/toy3 {source}\n" IMAGE "[imported]\nrun = toy {source}\nprime = yes\n");
    ck_assert_msg(language_find(&l, root, "toy", &e) == 0, "%s", e.text);
    ck_assert(!l.prime);
    language_move(&l);
    ck_assert_str_eq(l.run, "toy {source}");
    ck_assert(l.prime);
    language_done(&l);
}
END_TEST

static void put_recipe(const char *text)
{
    put("../images/small.ini", text);
}

/* Of an image that is no language's. */
START_TEST(a_recipe_of_its_own)
{
    static const char *const bad[][2] = {
        {"[image]\nsuite = s\nmethod = extract\n", "packages is missing"},
        {IMAGE "colour = red\n", "unknown key in [image]: colour"},
        {IMAGE "[language]\nname = small\n", "unknown key in [language]: name"},
        {IMAGE "npm = x\n", "npm: \"x\""}};
    struct recipe r;

    put_recipe(IMAGE "post = a\n  && b\ndrop =\n");
    ck_assert_msg(recipe_find(&r, root, "small", &e) == 0, "%s", e.text);
    ck_assert_str_eq(r.suite, "s");
    ck_assert_str_eq(r.post, "a && b");
    ck_assert_ptr_null(r.drop);
    recipe_done(&r);
    const char *const names[] = {"other", "", "../images/small", "small.ini"};
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_lt(recipe_find(&r, root, names[i], &e), 0);
        ck_assert_int_eq(e.kind, ERROR_NOT_FOUND);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        put_recipe(bad[i][0]);
        ck_assert_int_lt(recipe_find(&r, root, "small", &e), 0);
        ck_assert_msg(strstr(e.text, bad[i][1]) && strstr(e.text, "small.ini"), "%s", e.text);
    }
    ck_assert_msg(recipe_find(&r, "rootfs", "agent", &e) == 0, "%s", e.text);
    recipe_done(&r);
}
END_TEST

START_TEST(an_unknown_language_lists_the_known)
{
    struct language l;

    put("toy.ini", good);
    const char *const names[] = {"nope", "to", "", "../toy", "toy.ini"};
    for (size_t i = 0; i < 5; i++) {
        ck_assert_int_lt(language_find(&l, root, names[i], &e), 0);
        ck_assert_int_eq(e.kind, ERROR_UNKNOWN_LANGUAGE);
        ck_assert_ptr_nonnull(strstr(e.text, "Available: toy"));
    }
}
END_TEST

static void put_language(const char *name, const char *aliases, const char *extension, const char *further)
{
    char *text = text_format("[language]\nname = %s\naliases = %s\nextension = %s\nextensions = %s\n"
                             "source = main.x\nrun = x {source}\n" IMAGE,
                             name, aliases, extension, further);
    char *file = text_format("%s.ini", name);

    put(file, text);
    free(file);
    free(text);
}

static void expect_guess(const char *file, const char *wanted)
{
    struct language l;

    ck_assert_msg(language_guess(&l, root, file, NULL, &e) == 0, "%s: %s", file, e.text);
    ck_assert_str_eq(l.name, wanted);
    language_done(&l);
}

static void expect_no_guess(const char *file, enum error_kind kind, const char *text)
{
    struct language l;

    ck_assert_int_lt(language_guess(&l, root, file, NULL, &e), 0);
    ck_assert_msg(e.kind == kind && strstr(e.text, text), "%s: %s", file, e.text);
}

START_TEST(a_language_is_guessed_from_the_extension)
{
    put_language("alpha", "", "al", "alp, one");
    put_language("bravo", "", "ts", "");
    put_language("charlie", "ts", "ts", "");
    put_language("delta", "", "sql", "");
    put_language("echo", "", "ex", "sql");
    expect_guess("x.al", "alpha");
    expect_guess("/some.where/x.one", "alpha");
    expect_guess("x.ts", "charlie"); /* its alias */
    expect_no_guess("x.sql", ERROR_USAGE, "delta, echo");
    expect_no_guess("x.AL", ERROR_UNKNOWN_LANGUAGE, ".AL");
    expect_no_guess("x.alpha", ERROR_UNKNOWN_LANGUAGE, ".alpha"); /* a name, but not of files */
    expect_no_guess("Makefile", ERROR_USAGE, "--lang");
    expect_no_guess("dir.al/file", ERROR_USAGE, "--lang");
    expect_no_guess(".al", ERROR_USAGE, "--lang");
    expect_no_guess("x.", ERROR_USAGE, "--lang");
}
END_TEST

static const struct {
    const char *line, *interpreter;
} lines[] = {
    {"#!/bin/bash\necho", "bash"},
    {"#! \t/usr/local/bin/python3.11 -u\n", "python3.11"},
    {"#!lua", "lua"},
    {"#!/usr/bin/env python3\r\n", "python3"},
    {"#!/bin/env -S node --flag\n", "node"},
    {"#!/usr/bin/env -S/opt/node --flag\n", "node"},
    {"#!/usr/bin/env --split-string=node x\n", "node"},
    {"#!/usr/bin/env -S --chdir /tmp --unset X python3\n", "python3"},
    {"#!/usr/bin/env -vS A=/b -i -u HOME perl -w\n", "perl"},
    {"#!/usr/bin/env\n", NULL},
    {"#!/usr/bin/env -S\n", NULL},
    {"#!\nbash", NULL},
    {"#!/bin/\n", NULL},
    {"#", NULL},
    {"", NULL},
    {" #!/bin/sh\n", NULL},
    {"\xef\xbb\xbf#!/bin/sh\n", NULL},
    {"#!/bin/s\033[1mh\n", NULL},
    {"#!/bin/b\xc3\xa4sh\n", NULL},
};

START_TEST(an_interpreter_is_found_in_the_first_line)
{
    char name[LANGUAGE_INTERPRETER_MAX] = "";
    bool found = language_interpreter(lines[_i].line, strlen(lines[_i].line), name);

    ck_assert_int_eq(found, lines[_i].interpreter != NULL);
    if (found)
        ck_assert_str_eq(name, lines[_i].interpreter);
}
END_TEST

/* As much of it as there is, a byte less each time, in memory of exactly that size. */
START_TEST(a_first_line_is_bounded)
{
    char name[LANGUAGE_INTERPRETER_MAX], text[512];

    memset(text, 'x', sizeof(text));
    memcpy(text, "#!/bin/", 7);
    ck_assert(!language_interpreter(text, sizeof(text), name));
    text[7 + LANGUAGE_INTERPRETER_MAX - 1] = '\n';
    ck_assert(language_interpreter(text, sizeof(text), name));
    ck_assert_uint_eq(strlen(name), LANGUAGE_INTERPRETER_MAX - 1);
    text[7 + LANGUAGE_INTERPRETER_MAX - 1] = 'x';
    text[7 + LANGUAGE_INTERPRETER_MAX] = '\n';
    ck_assert(!language_interpreter(text, sizeof(text), name));
    memset(text + 10, ' ', sizeof(text) - 10);
    text[255] = '\n';
    ck_assert(language_interpreter(text, sizeof(text), name));
    text[255] = ' ';
    text[256] = '\n';
    ck_assert(!language_interpreter(text, sizeof(text), name));
    memcpy(text + 10, " \0\n", 3);
    ck_assert(!language_interpreter(text, sizeof(text), name));
    memcpy(text, "#!/usr/bin/env -S -u", 20);
    for (size_t size = 0; size <= 256; size++) {
        char *exact = memory_allocate(size + 1);
        memcpy(exact, text, size);
        language_interpreter(exact, size, name);
        free(exact);
    }
}
END_TEST

static void expect_script(const char *file, const char *line, const char *wanted)
{
    struct buffer content = {0};
    struct language l;

    buffer_add(&content, line, strlen(line));
    int result = language_guess(&l, root, file, &content, &e);
    buffer_free(&content);
    if (!wanted) {
        ck_assert_int_lt(result, 0);
        return;
    }
    ck_assert_msg(result == 0, "%s: %s", line, e.text);
    ck_assert_str_eq(l.name, wanted);
    language_done(&l);
}

START_TEST(a_language_is_guessed_from_the_first_line)
{
    const char *const names[] = {"alpha", "bravo", "charlie"}, *const interpreters[] = {
                                                                   "al, al3", "bravo-x, both", "both"};

    for (size_t i = 0; i < 3; i++) {
        char *text =
            text_format("[language]\nname = %s\nextension = %.1s\ninterpreters = %s\nsource = m\nrun = "
                        "x {source}\n" IMAGE,
                        names[i], names[i], interpreters[i]);
        char *file = text_format("%s.ini", names[i]);
        put(file, text);
        free(text);
        free(file);
    }
    expect_script("tool", "#!/bin/al\n", "alpha");
    expect_script("tool", "#!/bin/al3.11\n", "alpha");
    expect_script("tool", "#!/bin/al-2.0.1\n", "alpha");
    expect_script("tool.unheard", "#!/bin/env bravo-x-1\n", "bravo");
    expect_script("tool.c", "#!/bin/al\n", "charlie"); /* the extension wins */
    expect_script("tool", "#!/bin/al2\n", NULL);
    ck_assert_msg(e.kind == ERROR_UNKNOWN_LANGUAGE && strstr(e.text, "of no language, al2;"), "%s", e.text);
    expect_script("tool", "#!/bin/al3.x\n", NULL);
    expect_script("tool", "#!/bin/al3.\n", NULL);
    expect_script("tool", "#!/bin/bravo\n", NULL);
    expect_script("tool", "#!/bin/both\n", NULL);
    ck_assert_msg(e.kind == ERROR_USAGE &&
                      strstr(e.text, "scripts for both are of several languages, bravo, charlie"),
                  "%s", e.text);
    expect_script("tool", "\177ELF\n", NULL);
    ck_assert_msg(e.kind == ERROR_USAGE && strstr(e.text, "no #! line"), "%s", e.text);
    expect_script("tool.unheard", "print(1)\n", NULL);
    ck_assert_msg(e.kind == ERROR_UNKNOWN_LANGUAGE && strstr(e.text, "ending in .unheard"), "%s", e.text);
}
END_TEST

static int count(const struct language *l, void *context, struct error *why)
{
    (void)l, (void)why;
    return ++*(int *)context < 3 ? 0 : -1;
}

START_TEST(every_language_is_visited)
{
    int visited = 0;

    ck_assert_int_lt(language_each(root, count, &visited, &e), 0);
    ck_assert_ptr_nonnull(strstr(e.text, "CAPSID_DATA"));
    put_language("alpha", "", "al", "");
    put_language("bravo", "", "br", "");
    ck_assert_int_eq(language_each(root, count, &visited, &e), 0);
    ck_assert_int_eq(visited, 2);
    put("zulu.ini", "nonsense\n");
    visited = 0;
    ck_assert_int_lt(language_each(root, count, &visited, &e), 0);
    ck_assert_msg(strstr(e.text, "zulu.ini"), "%s", e.text);
}
END_TEST

#define RUN "run = x {source}\n"

static const char *const broken[][2] = {
    {"", "name is missing"},
    {"[language]\nname = toy\n", "extension is missing"},
    {HEAD IMAGE, "run is missing"},
    {HEAD RUN "[image]\nsuite = s\nmethod = extract\n", "packages is missing"},
    {HEAD RUN "prime = maybe\n" IMAGE, "prime must be"},
    {HEAD RUN "prime = yes\nprime = yes\n" IMAGE, "prime must be"},
    {HEAD "build = b\nrun = {output}\nprime = yes\n" IMAGE, "cannot be primed"},
    {HEAD RUN "colour = red\n" IMAGE, "unknown key in [language]: colour"},
    {HEAD RUN IMAGE "[colours]\nred = 1\n", "unknown section [colours]"},
    {"name = toy\n", "unknown section []"},
    {HEAD RUN IMAGE "[vm]\nmemory = 1\n", "memory is \"1\""},
    {HEAD RUN IMAGE "[vm]\nmemory = 256 MB\n", "memory is \"256 MB\""},
    {HEAD RUN IMAGE "[vm]\nmemory = 64\nmemory = 64\n", "memory is \"64 64\""},
    {HEAD RUN IMAGE "[vm]\nvcpus = -1\n", "vcpus is \"-1\""},
    {"nonsense\n", "line 1"},
    {HEAD RUN IMAGE "[env]\n1A = x\n", "1A"},
    {HEAD RUN IMAGE "[env]\nA-B = x\n", "A-B"},
    {"[language]\nname = ../toy\nextension = t\nsource = a\n" RUN IMAGE, "name: \"../toy\""},
    {"[language]\nname = Toy\nextension = t\nsource = a\n" RUN IMAGE, "name: \"Toy\""},
    {"[language]\nname = toys\nextension = t\nsource = a\n" RUN IMAGE, "toys.ini"},
    {"[language]\nname = toy\nextension = t\nsource = a/b\n" RUN IMAGE, "source: \"a/b\""},
    {"[language]\nname = toy\nextension = t\nsource = .a\n" RUN IMAGE, "source: \".a\""},
    {"[language]\nname = toy\nextension = t, u\nsource = a\n" RUN IMAGE, "not lists"},
    {HEAD RUN "aliases = a,,b\n" IMAGE, "aliases: \"\""},
    {HEAD RUN "extensions = a/b\n" IMAGE, "extensions: \"a/b\""},
    {HEAD RUN "interpreters = /bin/a\n" IMAGE, "interpreters: \"/bin/a\""},
    {HEAD "run = x\n" IMAGE, "{source}"},
    {HEAD RUN "[image]\nsuite = s\nmethod = magic\npackages = p\n", "method"},
    {HEAD RUN "[image]\nsuite = s\nmethod = extract\npackages = p, -q\n", "packages: \"-q\""},
    {HEAD RUN "[image]\nsuite = s\nmethod = extract\npackages = $(p)\n", "packages: \"$(p)\""},
    {HEAD RUN "[image]\nsuite = s u\nmethod = extract\npackages = p\n", "suite: \"s u\""},
    {HEAD RUN IMAGE "npm = left-pad\n", "npm: \"left-pad\""},
    {HEAD RUN IMAGE "npm = @x@1\n", "npm: \"@x@1\""},
    {HEAD RUN IMAGE "npm = ../x@1\n", "npm: \"../x@1\""},
    {HEAD RUN IMAGE "npm = x@1/2\n", "npm: \"x@1/2\""},
    {HEAD RUN "import = a\n" IMAGE, "import is for a language with prime"},
    {HEAD RUN "prime = yes\nimport = a..b\n" IMAGE, "import: \"a..b\""},
    {HEAD RUN "prime = yes\nimport = a;b\n" IMAGE, "import: \"a;b\""},
    {HEAD RUN IMAGE "pip = a=1\n", "pip: \"a=1\""},
    {HEAD RUN IMAGE "pip = a==\n", "pip: \"a==\""},
    {HEAD RUN IMAGE "pip = ==1\n", "pip: \"==1\""},
    {HEAD RUN IMAGE "pip = a==1==2\n", "pip: \"a==1==2\""},
    {HEAD RUN IMAGE "pip = -r\n", "pip: \"-r\""},
    {HEAD RUN IMAGE "pip = a>=1\n", "pip: \"a>=1\""},
    {HEAD RUN IMAGE "pip = a+b\n", "pip: \"a+b\""},
    {HEAD RUN IMAGE "pip = ../a\n", "pip: \"../a\""},
    {HEAD RUN "[image]\noci = --help\n", "oci: \"--help\""},
    {HEAD RUN "[image]\noci = a b\n", "oci: \"a b\""},
    {HEAD RUN IMAGE "[warm]\ncommand = x {source}\n", "[hello]"},
    {HEAD RUN IMAGE "[warm]\nkeep = maybe\n", "keep must be yes or no"},
    {HEAD RUN IMAGE "[imported]\nrun = y\n", "[imported] run does not use {source}"},
    {HEAD RUN IMAGE "[imported]\nprime = maybe\n", "prime must be"},
    {HEAD "build = b\nrun = {output}\n" IMAGE "[imported]\nprime = yes\n", "cannot be primed"},
    {HEAD RUN IMAGE "[hello]\ncode = \\d\n", "\\d is no escape"},
    {HEAD RUN IMAGE "[hello]\ncode = x\nexpect = x\\\n", "expect"},
};

START_TEST(a_broken_definition_is_refused)
{
    struct language l;

    put("toy.ini", broken[_i][0]);
    ck_assert_int_lt(language_find(&l, root, "toy", &e), 0);
    ck_assert_msg(strstr(e.text, broken[_i][1]) && strstr(e.text, "toy.ini"), "%s", e.text);
    ck_assert_msg(!strchr(e.text, '\n'), "%s", e.text);
}
END_TEST

START_TEST(too_much_is_refused)
{
    struct language l;
    struct buffer b = {0};

    buffer_add_text(&b, "%s", HEAD RUN IMAGE "[env]\n");
    for (int i = 0; i <= LANGUAGE_ENV_MAX; i++)
        buffer_add_text(&b, "V%d = x\n", i);
    put("toy.ini", b.data);
    ck_assert_int_lt(language_find(&l, root, "toy", &e), 0);
    ck_assert_msg(strstr(e.text, "more than 32 variables"), "%s", e.text);
    while (b.size < 70000)
        buffer_add_text(&b, "; a comment that says nothing\n");
    put("toy.ini", b.data);
    ck_assert_int_lt(language_find(&l, root, "toy", &e), 0);
    ck_assert_msg(strstr(e.text, "toy.ini"), "%s", e.text);
    buffer_free(&b);
    put("toy.ini", HEAD "run = {source} 3456789 123456789 123456789 123456789 123456789 123456789 123456789 "
                        "123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 "
                        "123456789 123456789 123456789 123456789\n" IMAGE);
    ck_assert_int_lt(language_find(&l, root, "toy", &e), 0);
    ck_assert_msg(strstr(e.text, "line 5"), "%s", e.text);
    put_bytes("toy.ini", "[language]\0name", 15);
    ck_assert_int_lt(language_find(&l, root, "toy", &e), 0);
    ck_assert_msg(strstr(e.text, "NUL"), "%s", e.text);
}
END_TEST

/* Bytes changed, cut, doubled and exchanged: each is either taken or refused with one line. */
START_TEST(a_damaged_definition_does_no_harm)
{
    static const char spice[] = "\n[]=;,{}\\ \t\"'@/#-.\x01\x80\xff";
    uint64_t state = (uint64_t)_i + 1;
    unsigned taken = 0;

    for (unsigned round = 0; round < 300; round++) {
        char text[2 * sizeof(good)];
        size_t size = sizeof(good) - 1;
        struct language l;
        memcpy(text, good, size);
        for (uint32_t n = unit_random(&state) % 4 + 1; n > 0; n--) {
            size_t at = unit_random(&state) % size, length = unit_random(&state) % 20;
            switch (unit_random(&state) % 4) {
            case 0:
                text[at] = spice[unit_random(&state) % (sizeof(spice) - 1)];
                break;
            case 1:
                text[at] = (char)unit_random(&state);
                break;
            case 2: /* cut out */
                length = length < size - at ? length : size - at - 1;
                memmove(text + at, text + at + length, size - at - length);
                size -= length;
                break;
            default: /* double */
                length = length < size - at ? length : size - at;
                if (size + length > sizeof(text))
                    break;
                memmove(text + at + length, text + at, size - at);
                size += length;
            }
        }
        put_bytes("toy.ini", text, size);
        e = (struct error){0};
        if (language_find(&l, root, "toy", &e) == 0) {
            ck_assert(text_is_name(l.name) && text_is_name(l.source) && l.shape.memory_mib >= 32 &&
                      l.shape.vcpus >= 1);
            ck_assert(l.run[0] && l.extension[0] && l.env_count <= LANGUAGE_ENV_MAX);
            language_done(&l);
            taken++;
        } else {
            ck_assert(e.text[0]);
        }
    }
    ck_assert_uint_gt(taken, 0);
}
END_TEST

/* What check_shipped() has seen. */
struct shipped {
    int count;
    struct buffer interpreters; /* each with a comma before and after it */
};

/* The definitions that come with capsid. The tests run in the repository. */
static int check_shipped(const struct language *l, void *context, struct error *why)
{
    struct shipped *s = context;
    char *names = text_copy(l->interpreters ? l->interpreters : ""), *state = NULL;

    (void)why;
    s->count++;
    ck_assert_msg(l->hello && l->expect, "%s: no hello program", l->name);
    for (char *name = strtok_r(names, ", ", &state); name; name = strtok_r(NULL, ", ", &state)) {
        char *one = text_format(",%s,", name);
        ck_assert_msg(!strstr(s->interpreters.data, one), "%s is an interpreter of several languages", name);
        buffer_add(&s->interpreters, one, strlen(one));
        free(one);
    }
    free(names);
    return 0;
}

START_TEST(the_shipped_definitions_are_good)
{
    struct shipped s = {0};

    buffer_add(&s.interpreters, "", 0);
    ck_assert_msg(language_each("rootfs", check_shipped, &s, &e) == 0, "%s", e.text);
    ck_assert_int_gt(s.count, 0);
    ck_assert_ptr_nonnull(strstr(s.interpreters.data, ",python3,"));
    buffer_free(&s.interpreters);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("host_language");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, a_language_is_found_by_name_and_alias);
    unit_add(&u, packages_are_part_of_the_name);
    unit_add(&u, packages_are_bounded_and_plain);
    unit_add(&u, every_key_arrives);
    unit_add(&u, a_compiled_language_runs_its_output);
    unit_add(&u, a_container_image_needs_no_packages);
    unit_add(&u, a_language_moves);
    unit_add(&u, a_recipe_of_its_own);
    unit_add(&u, an_unknown_language_lists_the_known);
    unit_add(&u, a_language_is_guessed_from_the_extension);
    unit_add_loop(&u, an_interpreter_is_found_in_the_first_line, sizeof(lines) / sizeof(lines[0]));
    unit_add(&u, a_first_line_is_bounded);
    unit_add(&u, a_language_is_guessed_from_the_first_line);
    unit_add(&u, every_language_is_visited);
    unit_add_loop(&u, a_broken_definition_is_refused, sizeof(broken) / sizeof(broken[0]));
    unit_add(&u, too_much_is_refused);
    unit_add_loop(&u, a_damaged_definition_does_no_harm, 8);
    unit_add(&u, the_shipped_definitions_are_good);
    return unit_end(&u);
}
