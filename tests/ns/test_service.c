/* The main program of an appliance: started, restarted, given up, beside the protocol. */
#include "ns_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct ns_guest guest;
static struct ns_conn conn;
static char log_path[128];

/* Starts initd with a main program that is a shell script of these lines; the script appends to log_path. */
static void start(const char *options, const char *script)
{
    char path[128], words[512], option[600];
    const char *arguments[] = {option, NULL};

    char directory[] = "/tmp/capsid-service-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/main", directory);
    snprintf(log_path, sizeof(log_path), "%s/log", directory);
    FILE *f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    fprintf(f, "#!/bin/sh\nexec >>%s\n%s\n", log_path, script);
    fclose(f);
    chmod(path, 0755);
    snprintf(words, sizeof(words), "initd.main=%s,first,second %s", path, options);
    snprintf(option, sizeof(option), "--test-cmdline=%s", words);
    ns_start(&guest, arguments);
    ns_connect(&guest, &conn, true);
}

static void remove_files(void)
{
    char directory[128];

    snprintf(directory, sizeof(directory), "%s", log_path);
    *strrchr(directory, '/') = '\0';
    unlink(log_path);
    strcat(directory, "/main");
    unlink(directory);
    *strrchr(directory, '/') = '\0';
    rmdir(directory);
}

static void stop(void)
{
    ns_disconnect(&conn);
    ns_stop(&guest);
    remove_files();
}

/* Waits for the end of initd, which in a namespace ends with the status that it would give the VMM. */
static int status_at_end(void)
{
    int status;

    ck_assert_int_eq(waitpid(guest.pid, &status, 0), guest.pid);
    ck_assert(WIFEXITED(status));
    ns_disconnect(&conn);
    return WEXITSTATUS(status);
}

/* Waits until the log has at least that many lines; returns how many it has, and the first one. */
static int log_lines(int wanted, char first[static 128])
{
    int lines = 0;

    for (int i = 0; i < 500; i++) {
        char line[128];
        FILE *f = fopen(log_path, "re");
        lines = 0;
        while (f && fgets(line, sizeof(line), f))
            if (lines++ == 0)
                snprintf(first, 128, "%s", line);
        if (f)
            fclose(f);
        if (lines >= wanted)
            break;
        usleep(10000);
    }
    return lines;
}

static void expect_alive(void)
{
    struct ns_result result;

    ns_run(&conn, ns_sh("echo alive"), &result);
    ck_assert_str_eq(result.out, "alive\n");
}

START_TEST(it_is_started_with_its_arguments)
{
    char first[128];

    start("", "echo \"$# $1 $2\"; sleep 100");
    ck_assert_int_eq(log_lines(1, first), 1);
    ck_assert_str_eq(first, "2 first second\n");
    expect_alive();
    stop();
}
END_TEST

START_TEST(it_is_restarted_as_asked)
{
    static const struct {
        const char *options, *script;
        int least, most;
    } cases[] = {
        {"initd.main_restart=always", "echo x; exit 0", 3, 1000},
        {"initd.main_restart=on-failure", "echo x; exit 1", 3, 1000},
        {"initd.main_restart=on-failure", "echo x; kill -SEGV $$", 3, 1000},
        {"initd.main_restart=on-failure", "echo x; exit 0", 1, 1},
        {"initd.main_restart=never", "echo x; exit 1", 1, 1},
        {"initd.main_restart=sometimes", "echo x; exit 1", 1,
         1}, /* a bad value is logged, the default stays */
    };
    char first[128];

    start(cases[_i].options, cases[_i].script);
    int lines = log_lines(cases[_i].least, first);
    if (cases[_i].most == 1) {
        usleep(500000);
        lines = log_lines(1, first);
    }
    ck_assert_int_ge(lines, cases[_i].least);
    ck_assert_int_le(lines, cases[_i].most);
    expect_alive();
    stop();
}
END_TEST

/* The pause doubles from 100 ms, so a program that always fails is not started more than a few times a second. */
START_TEST(a_failing_program_does_not_spin)
{
    char first[128];

    start("initd.main_restart=always", "echo x; exit 1");
    sleep(2);
    ck_assert_int_le(log_lines(1, first), 6);
    stop();
}
END_TEST

START_TEST(a_missing_program_does_not_matter)
{
    const char *arguments[] = {"--test-cmdline=initd.main=/nowhere/at-all initd.main_restart=always", NULL};

    ns_start(&guest, arguments);
    ns_connect(&guest, &conn, true);
    usleep(300000);
    expect_alive();
    ns_disconnect(&conn);
    ns_stop(&guest);
}
END_TEST

/* Who it runs as, what and on which disks is not to be overlooked: nothing is started, and a host is told why. */
START_TEST(what_restricts_fails_closed)
{
    static const char *const words[] = {"main_user=root",         "main_user==1000", "main_user=4294967295:0",
                                        "main_user=0:4294967295", "main_user=1000",  "main=relative",
                                        "main_usr=1:1",           "upper=/dev/vdb",  "layers=a,,b"};
    char option[700], mark[64], expected[64];
    const char *arguments[] = {option, NULL};
    struct msg_error m;

    snprintf(mark, sizeof(mark), "/tmp/capsid-service-mark-%d", (int)getpid());
    for (size_t i = 0; i <= sizeof(words) / sizeof(words[0]); i++) {
        bool too_long = i == sizeof(words) / sizeof(words[0]);
        if (too_long)
            snprintf(option, sizeof(option), "--test-cmdline=initd.main=/bin/touch,%s,%0480d", mark, 0);
        else
            snprintf(option, sizeof(option), "--test-cmdline=initd.main=/bin/touch,%s initd.%s", mark,
                     words[i]);
        ns_start(&guest, arguments);
        ns_connect(&guest, &conn, true);
        NS_SEND(&conn, stats, 1, {});
        NS_EXPECT(&conn, error, ERROR, 1, &m);
        ck_assert_uint_eq(m.code, PROTO_ERR_SETUP);
        snprintf(expected, sizeof(expected), "initd.%.4s", too_long ? "main" : words[i]);
        ck_assert_msg(strstr(m.text, expected), "%s: %s", option, m.text);
        ck_assert_int_eq(status_at_end(), 1);
        ck_assert_int_lt(access(mark, F_OK), 0);
    }
}
END_TEST

START_TEST(jobs_are_not_disturbed_by_its_end)
{
    char first[128];
    struct ns_result result;

    start("initd.main_restart=always", "echo x; exit 1");
    ns_run(&conn, ns_sh("sleep 1; echo done; exit 7"), &result);
    ck_assert_str_eq(result.out, "done\n");
    ck_assert_int_ge(log_lines(2, first), 2);
    stop();
}
END_TEST

/* Lets a script go on that waits in WAIT; so initd does not end before the test has connected. */
#define WAIT "while [ ! -e $0.go ]; do sleep 0.02; done; "

static void let_go(bool go)
{
    char path[160];

    snprintf(path, sizeof(path), "%.*s/main.go", (int)(strrchr(log_path, '/') - log_path), log_path);
    if (!go) {
        unlink(path);
        return;
    }
    FILE *f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    fclose(f);
}

START_TEST(its_status_is_that_of_the_guest)
{
    static const struct {
        const char *options, *script;
        int status;
    } cases[] = {
        {"initd.main_end=poweroff", WAIT "exit 0", 0},
        {"initd.main_end=poweroff", WAIT "exit 3", 3},
        {"initd.main_end=reboot", WAIT "kill -SEGV $$", 128 + 11},
        {"initd.main_end=poweroff initd.main_restart=on-failure",
         WAIT "mkdir $0.d 2>/dev/null && exit 9; rmdir $0.d", 0},
    };
    start(cases[_i].options, cases[_i].script);
    let_go(true);
    ck_assert_int_eq(status_at_end(), cases[_i].status);
    let_go(false);
    remove_files();
}
END_TEST

START_TEST(shutdown_has_a_status_of_its_own)
{
    char first[128];

    start("", "echo $$; exit 3");
    ck_assert_int_eq(log_lines(1, first), 1);
    NS_SEND(&conn, shutdown, ns_stream(&conn), {.action = PROTO_SHUTDOWN_POWEROFF, .status = 200});
    ck_assert_int_eq(status_at_end(), 200);
    remove_files();
}
END_TEST

START_TEST(it_is_asked_to_end)
{
    static const struct {
        const char *options, *script;
        int lines;
    } cases[] = {
        {"", "trap 'echo end; exit' TERM; echo up; while :; do sleep 0.05; done", 2},
        {"initd.main_stop=1", "trap '' TERM; echo up; while :; do sleep 0.05; done", 1}, /* deaf */
        {"", "trap 'echo end; exit' TERM; echo up; kill -STOP $$; while :; do sleep 0.05; done",
         2}, /* stopped */
        {"initd.main_stop=0 initd.main_stop=3601 initd.main_stop=-1", "echo up; sleep 100", 1},
    };
    char first[128];

    start(cases[_i].options, cases[_i].script);
    ck_assert_int_eq(log_lines(1, first), 1);
    NS_SEND(&conn, shutdown, ns_stream(&conn), {.action = PROTO_SHUTDOWN_REBOOT});
    ck_assert_int_eq(status_at_end(), 0);
    ck_assert_int_eq(log_lines(1, first), cases[_i].lines);
    remove_files();
}
END_TEST

static void write_text(const char *directory, const char *name, const char *text)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

/* init(8): what reboot, halt and poweroff send when they are not told to do it themselves. */
START_TEST(root_asks_for_the_end_by_a_signal)
{
    static const char *const signals[] = {"TERM", "INT", "USR1", "USR2"};
    char first[128], script[64];

    start("", "trap 'echo end; exit' TERM; echo up; while :; do sleep 0.05; done");
    ck_assert_int_eq(log_lines(1, first), 1);
    snprintf(script, sizeof(script), "kill -%s 1; sleep 100", signals[_i]);
    struct msg_exec m = ns_sh(script);
    ns_exec(&conn, &m);
    ck_assert_int_eq(status_at_end(), 0);
    ck_assert_int_eq(log_lines(1, first), 2);
    remove_files();
}
END_TEST

START_TEST(others_do_not_end_it)
{
    if (getuid() != 0)
        return; /* other ids need root outside of the namespace */
    start("", "sleep 100");
    struct msg_exec m = ns_sh("kill -TERM 1; kill -USR2 1");
    struct ns_result result;
    m.uid = m.gid = 1234;
    ns_run(&conn, m, &result);
    ns_run(&conn, ns_sh("kill -HUP 1; kill -WINCH 1; kill -QUIT 1; kill -KILL 1"), &result);
    expect_alive();
    stop();
}
END_TEST

/* Before Linux 5.14 there is no cgroup.kill: a group is frozen to be killed, and has to be thawed for the next start. Such
 * a kernel's cgroups are played by a directory; a file of it holds what was written last. */
START_TEST(it_is_restarted_where_cgroups_are_killed_by_freezing)
{
    static const char *const files[] = {"cgroup.subtree_control", "jobs/cgroup.subtree_control",
                                        "jobs/0/cgroup.procs", "jobs/0/cgroup.freeze"};
    char directory[] = "/tmp/capsid-service-XXXXXX", text[700], first[128];
    const char *initd = getenv("INITD");

    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(text, sizeof(text), "mkdir -p %s/jobs/0", directory); /* the first group that is made */
    ck_assert_int_eq(system(text), 0);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        write_text(directory, files[i], "");
    /* clone3(2) would see that this is no cgroup. */
    snprintf(text, sizeof(text), "#!/bin/sh\nexec %s/test/tools/enosys clone3 %s --test-cgroup=%s \"$@\"\n",
             getenv("BUILD") ? getenv("BUILD") : "build", initd ? initd : "build/initd", directory);
    write_text(directory, "initd", text);
    snprintf(text, sizeof(text), "%s/initd", directory);
    ck_assert_int_eq(chmod(text, 0755), 0);
    ck_assert_int_eq(setenv("INITD", text, 1), 0);

    snprintf(text, sizeof(text), "echo $(cat %s/jobs/0/cgroup.freeze); exit 1", directory);
    start("initd.main_restart=always", text);
    ck_assert_int_ge(log_lines(3, first), 3);
    snprintf(text, sizeof(text), "! grep -qv '^0$' %s", log_path);
    ck_assert_int_eq(system(text), 0);
    stop();
    snprintf(text, sizeof(text), "rm -r %s", directory);
    ck_assert_int_eq(system(text), 0);
}
END_TEST

int main(void)
{
    ns_require();
    Suite *suite = suite_create("service");
    TCase *t = tcase_create("service");

    suite_add_tcase(suite, t);
    tcase_set_timeout(t, 30);
    tcase_add_test(t, it_is_started_with_its_arguments);
    tcase_add_loop_test(t, it_is_restarted_as_asked, 0, 6);
    tcase_add_test(t, it_is_restarted_where_cgroups_are_killed_by_freezing);
    tcase_add_test(t, a_failing_program_does_not_spin);
    tcase_add_test(t, a_missing_program_does_not_matter);
    tcase_add_test(t, what_restricts_fails_closed);
    tcase_add_test(t, jobs_are_not_disturbed_by_its_end);
    tcase_add_loop_test(t, its_status_is_that_of_the_guest, 0, 4);
    tcase_add_test(t, shutdown_has_a_status_of_its_own);
    tcase_add_loop_test(t, it_is_asked_to_end, 0, 4);
    tcase_add_loop_test(t, root_asks_for_the_end_by_a_signal, 0, 4);
    tcase_add_test(t, others_do_not_end_it);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
