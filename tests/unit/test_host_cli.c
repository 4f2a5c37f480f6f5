/* cli: what the row of an option says becomes of its value, for each kind. */
#include "cli/cli.h"

#include "unit.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

struct values {
    bool flag;
    const char *text;
    uint64_t number, size;
    char doubled[16];
};

static int set_doubled(void *target, const char *name, const char *value, struct error *e)
{
    if (strlen(value) > 7)
        return error_set(e, ERROR_USAGE, "--%s is too long", name);
    sprintf(target, "%s%s", value, value);
    return 0;
}

static const struct cli_option options[] = {
    {"flag", 'f', NULL, "a switch", CLI_SWITCH(struct values, flag)},
    {"text", 't', "WORD", "a text", CLI_TEXT(struct values, text)},
    {"number", 'n', "N", "a number", CLI_NUMBER(struct values, number, 2, 9)},
    {"size", 0, "MB", "a size", CLI_SIZE(struct values, size, 8, 4096)},
    {"call", 0, "TEXT", "a function", CLI_CALL(struct values, doubled, set_doubled)},
    {0},
};

static int run(struct cli *cli, void *context, int argc, char **argv, struct error *e)
{
    const struct values *v = context;

    (void)e;
    printf("%d %s %llu %llu %s json=%d", v->flag, v->text, (unsigned long long)v->number,
           (unsigned long long)v->size, v->doubled, cli->json);
    for (int i = 0; i < argc; i++)
        printf(" %s", argv[i]);
    return fflush(stdout) == 0 ? 7 : -1;
}

/* What the verb prints, errors included, in a process of its own: it catches signals and keeps a pipe for them. */
static void expect_of(bool no_empty_values, int wanted_status, const char *wanted, char **argv)
{
    struct values values = {.text = "-", .doubled = "-"};
    const struct cli_verb verb = {.name = "try",
                                  .arguments = "",
                                  .summary = "tries",
                                  .options = options,
                                  .no_empty_values = no_empty_values,
                                  .run = run,
                                  .values = &values};
    char got[4096] = "";
    int argc = 0, channel[2], status;
    size_t size = 0;
    ssize_t n;

    while (argv[argc])
        argc++;
    ck_assert_int_eq(pipe(channel), 0);
    fflush(NULL);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        dup2(channel[1], STDOUT_FILENO);
        dup2(channel[1], STDERR_FILENO);
        _exit(cli_run_verb(&verb, argc, argv));
    }
    close(channel[1]);
    while ((n = read(channel[0], got + size, sizeof(got) - 1 - size)) > 0)
        size += (size_t)n;
    close(channel[0]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(strstr(got, wanted), "\"%s\" is not in \"%s\"", wanted, got);
    ck_assert_int_eq(WEXITSTATUS(status), wanted_status);
}

#define ARGV(...) ((char *[]){"try", __VA_ARGS__, NULL})
#define EXPECT(wanted, ...) expect_of(false, 7, wanted, ARGV(__VA_ARGS__))
#define REFUSE(wanted, ...) expect_of(false, 1, "Error: " wanted "\n", ARGV(__VA_ARGS__))

START_TEST(each_kind_has_its_target)
{
    EXPECT("0 - 0 0 - json=0 else", "else");
    EXPECT("1 - 0 0 - json=0", "-f");
    EXPECT("0 it 0 0 - json=0", "--text", "it");
    EXPECT("0 - 9 0 - json=0", "-n9");
    EXPECT("0 - 0 2048 - json=0", "--size=2G");
    EXPECT("0 - 0 0 abab json=0", "--call", "ab");
    EXPECT("1  2 8 xx json=1 a b", "a", "--json", "--flag", "-t", "", "-n", "2", "--size", "8M", "--call",
           "x", "b");
}
END_TEST

START_TEST(the_last_counts)
{
    EXPECT("0 b 4 9 yy json=0", "-ta", "-tb", "-n3", "-n4", "--size=8", "--size=9", "--call=x", "--call=y");
}
END_TEST

START_TEST(bounds_are_those_of_the_row)
{
    REFUSE("--number is \"1\", but must be a whole number from 2 to 9", "-n", "1");
    REFUSE("--number is \"10\", but must be a whole number from 2 to 9", "--number=10");
    REFUSE("--number is \"\", but must be a whole number from 2 to 9", "--number=");
    REFUSE("--size is \"7\", but must be a size from 8M to 4096M, such as 512M or 2G", "--size=7");
    REFUSE("--size is \"5G\", but must be a size from 8M to 4096M, such as 512M or 2G", "--size=5G");
    REFUSE("--call is too long", "--call", "12345678");
}
END_TEST

START_TEST(some_verbs_refuse_empty_values)
{
    expect_of(true, 1, "Error: --text is empty\n", ARGV("--text", ""));
    expect_of(true, 1, "Error: --size is empty\n", ARGV("--size="));
    expect_of(true, 7, "1 it 0 0 - json=0", ARGV("-f", "--text", "it"));
}
END_TEST

START_TEST(help_ends_the_reading)
{
    expect_of(false, 0, "  -n, --number N             a number\n", ARGV("--help", "--nothing-such"));
    REFUSE("unknown option --nothing-such; see: capsid try --help", "--nothing-such", "--help");
    REFUSE("--text needs a value; see: capsid try --help", "--text");
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("cli");

    setenv("CAPSID_HOME", "/nonexistent", 1);
    unit_add(&u, each_kind_has_its_target);
    unit_add(&u, the_last_counts);
    unit_add(&u, bounds_are_those_of_the_row);
    unit_add(&u, some_verbs_refuse_empty_values);
    unit_add(&u, help_ends_the_reading);
    return unit_end(&u);
}
