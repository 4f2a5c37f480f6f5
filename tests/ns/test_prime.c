/* Primed interpreters, and the states around a snapshot. */
#include "ns_client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct ns_guest guest;
static struct ns_conn conn;
static struct ns_result result;

static void setup(void)
{
    ns_start(&guest, NULL);
    ns_connect(&guest, &conn, true);
}

static struct msg_prime prime_of(const char *interpreter)
{
    const char *script = ns_in_dir(&guest, "work/main");

    return (struct msg_prime){
        .argv = NS_STRS(interpreter, script, "argument"),
        .env = NS_STRS("PATH=/usr/bin:/bin", "LC_ALL=C"),
        .cwd = "/",
        .script = script,
        .settle_ms = 5000,
    };
}

/* PRIME; returns the job's id. */
static uint32_t prime(const char *interpreter)
{
    struct msg_started s;
    uint32_t stream = ns_stream(&conn);

    NS_SEND(&conn, prime, stream, prime_of(interpreter));
    NS_EXPECT(&conn, started, STARTED, stream, &s);
    return s.job;
}

static void write_source(const char *content)
{
    FILE *f = fopen(ns_in_dir(&guest, "source"), "w");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(content, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

static struct msg_feed feed_of(uint32_t job)
{
    return (struct msg_feed){.job = job, .source = ns_in_dir(&guest, "source"), .window = 65536};
}

static void feed(const struct msg_feed *m)
{
    uint32_t stream = ns_stream(&conn);

    NS_SEND(&conn, feed, stream, *m);
    ns_collect(&conn, stream, 65536, &result);
}

static uint32_t state_of(uint32_t job)
{
    struct msg_job_list list;
    uint32_t stream = ns_stream(&conn);

    NS_SEND(&conn, jobs, stream, {});
    NS_EXPECT(&conn, job_list, JOB_LIST, stream, &list);
    for (uint32_t i = 0; i < list.ids.count; i++)
        if (wire_u32s_at(list.ids, i) == job)
            return wire_u32s_at(list.states, i);
    return 0;
}

START_TEST(sh_runs_what_it_is_fed)
{
    struct stat st;

    setup();
    uint32_t job = prime("/bin/sh");
    ck_assert_uint_eq(state_of(job), PROTO_JOB_PRIMED);
    ck_assert_int_eq(stat(ns_in_dir(&guest, "work/main"), &st), 0);
    ck_assert(S_ISFIFO(st.st_mode));
    write_source("echo \"$0 $1\"; read x || echo no input; exit 7\n");
    struct msg_feed m = feed_of(job);
    feed(&m);
    char want[300];
    snprintf(want, sizeof(want), "%s argument\nno input\n", ns_in_dir(&guest, "work/main"));
    ck_assert_str_eq(result.out, want);
    ck_assert_str_eq(result.err, "");
    ck_assert_uint_eq(result.exit.status, 7);
    ck_assert_uint_eq(result.started.job, job);
    ck_assert_int_eq(stat(ns_in_dir(&guest, "work/main"), &st), 0);
    ck_assert(S_ISREG(st.st_mode)); /* the source has the script's name */
    ns_stop(&guest);
}
END_TEST

START_TEST(sh_gets_its_input_and_limits)
{
    setup();
    uint32_t job = prime("/bin/sh");
    write_source("read x; echo got $x; sleep 100\n");
    struct msg_feed m = feed_of(job);
    m.flags = PROTO_JOB_STDIN;
    m.wall_ms = 300;
    usleep(400000); /* the time before does not count */
    uint32_t stream = ns_stream(&conn);
    NS_SEND(&conn, feed, stream, m);
    struct msg_started s;
    NS_EXPECT(&conn, started, STARTED, stream, &s);
    ck_assert_uint_gt(s.stdin_limit, 3);
    NS_SEND(&conn, data, stream,
            {.channel = 0, .offset = 0, .data = {.data = (const uint8_t *)"me\n", .size = 3}});
    ns_collect(&conn, stream, 65536, &result);
    ck_assert_str_eq(result.out, "got me\n");
    ck_assert_uint_eq(result.exit.cause, PROTO_CAUSE_TIMEOUT);
    ck_assert_double_gt(result.seconds, 0.25);
    ns_stop(&guest);
}
END_TEST

START_TEST(python_runs_what_it_is_fed)
{
    if (access("/usr/bin/python3", X_OK) < 0)
        return;
    setup();
    uint32_t job = prime("/usr/bin/python3");
    /* More than a pipe holds, and a traceback that opens the script again. */
    static char source[320000];
    size_t at = 0;
    while (at < 300000)
        at += (size_t)snprintf(source + at, sizeof(source) - at,
                               "# a comment that makes the script long, at %zu\n", at);
    snprintf(source + at, sizeof(source) - at,
             "import sys\nprint('fed', len(sys.argv))\nraise ValueError('here')\n");
    write_source(source);
    struct msg_feed m = feed_of(job);
    feed(&m);
    ck_assert_str_eq(result.out, "fed 2\n");
    ck_assert_ptr_nonnull(strstr(result.err, "raise ValueError('here')"));
    ck_assert_ptr_nonnull(strstr(result.err, "ValueError: here"));
    ck_assert_uint_eq(result.exit.status, 1);
    ns_stop(&guest);
}
END_TEST

START_TEST(a_job_is_fed_once_and_only_when_primed)
{
    setup();
    uint32_t job = prime("/bin/sh");
    struct msg_feed m = feed_of(99);
    NS_SEND(&conn, feed, 700, m);
    ns_expect_error(&conn, 700, PROTO_ERR_NOT_FOUND);
    m = feed_of(job);
    NS_SEND(&conn, feed, 700, m); /* there is no source yet */
    ck_assert_uint_eq(ns_expect_error(&conn, 700, PROTO_ERR_OS), ENOENT);
    m.flags = PROTO_JOB_TTY;
    NS_SEND(&conn, feed, 700, m);
    ns_expect_error(&conn, 700, PROTO_ERR_UNSUPPORTED);
    m = feed_of(job);
    ck_assert_int_eq(mkdir(ns_in_dir(&guest, "source"), 0755), 0);
    NS_SEND(&conn, feed, 700, m);
    ck_assert_uint_eq(ns_expect_error(&conn, 700, PROTO_ERR_OS), EINVAL);
    ck_assert_int_eq(rmdir(ns_in_dir(&guest, "source")), 0);
    write_source("echo once\n");
    feed(&m);
    ck_assert_str_eq(result.out, "once\n");
    write_source("echo twice\n");
    NS_SEND(&conn, feed, 700, m);
    ns_expect_error(&conn, 700, PROTO_ERR_STATE);
    ns_stop(&guest);
}
END_TEST

START_TEST(a_feed_that_is_refused_changes_nothing)
{
    char elsewhere[64];
    struct stat st, other;

    setup();
    uint32_t job = prime("/bin/sh");
    write_source("ulimit -n\n");
    struct msg_feed m = feed_of(job);
    m.files = UINT32_MAX; /* more than the kernel allows */
    NS_SEND(&conn, feed, 700, m);
    ns_expect_error(&conn, 700, PROTO_ERR_OS);
    ck_assert_int_eq(stat(ns_in_dir(&guest, "source"), &st), 0);
    /* A source of another filesystem cannot get the script's name. */
    snprintf(elsewhere, sizeof(elsewhere), "/dev/shm/capsid-source-%d", (int)getpid());
    FILE *f = fopen(elsewhere, "we");
    if (f && fstat(fileno(f), &other) == 0 && other.st_dev != st.st_dev) {
        m.source = elsewhere;
        m.files = 20;
        NS_SEND(&conn, feed, 700, m);
        ck_assert_uint_eq(ns_expect_error(&conn, 700, PROTO_ERR_OS), EXDEV);
    }
    if (f)
        fclose(f);
    unlink(elsewhere);
    ck_assert_uint_eq(state_of(job), PROTO_JOB_PRIMED);
    m = feed_of(job);
    feed(&m);
    ck_assert_uint_eq(result.exit.status, 0);
    ck_assert_int_gt(atoi(result.out), 20);
    ns_stop(&guest);
}
END_TEST

START_TEST(an_interpreter_that_does_not_settle)
{
    setup();
    struct msg_prime m = prime_of("/bin/sh");
    m.argv = NS_STRS("/bin/sleep", "100");
    m.settle_ms = 200;
    NS_SEND(&conn, prime, 800, m);
    ns_expect_error(&conn, 800, PROTO_ERR_TIMEOUT);
    ck_assert_int_ne(access(m.script, F_OK), 0); /* no FIFO is left behind */
    m.argv = NS_STRS("/bin/sh", "-c", "exit 3");
    NS_SEND(&conn, prime, 800, m);
    ns_expect_error(&conn, 800, PROTO_ERR_EXEC);
    m.argv = NS_STRS("/no/such/interpreter");
    NS_SEND(&conn, prime, 800, m);
    ck_assert_uint_eq(ns_expect_error(&conn, 800, PROTO_ERR_EXEC), ENOENT);
    m.script = "relative";
    NS_SEND(&conn, prime, 800, m);
    ns_expect_error(&conn, 800, PROTO_ERR_INVALID);
    ns_wait_until(ns_is_at_rest, &guest);
    unsigned fds = ns_count_fds(&guest);
    prime("/bin/sh");
    usleep(100000); /* for the next spare process */
    ck_assert_uint_gt(ns_count_fds(&guest), fds);
    ns_stop(&guest);
}
END_TEST

START_TEST(a_primed_job_that_dies_is_an_ended_job)
{
    struct msg_started s;

    setup();
    uint32_t stream = ns_stream(&conn);
    NS_SEND(&conn, prime, stream, prime_of("/bin/sh"));
    NS_EXPECT(&conn, started, STARTED, stream, &s);
    usleep(100000); /* for the next spare process */
    unsigned fds = ns_count_fds(&guest);
    char script[64];
    snprintf(script, sizeof(script), "kill -9 %u", s.pid);
    ns_run_sh(&conn, script, &result);
    usleep(200000);
    ck_assert_uint_eq(state_of(s.job), PROTO_JOB_ENDED);
    ck_assert_uint_lt(ns_count_fds(&guest), fds);
    ck_assert_int_ne(access(ns_in_dir(&guest, "work/main"), F_OK), 0);
    write_source("echo\n");
    NS_SEND(&conn, feed, 700, feed_of(s.job));
    ns_expect_error(&conn, 700, PROTO_ERR_STATE);
    ns_stop(&guest);
}
END_TEST

/* initd is root of a user namespace, so the machine's clock and random numbers are safe from it, and RESUMED
 * says so. */
START_TEST(quiesce_and_resume)
{
    static const uint8_t entropy[32];
    struct msg_welcome w;
    struct msg_resumed r;
    struct msg_resume resume = {
        .entropy = {.data = entropy, .size = sizeof(entropy)}, .wall_clock_ns = 1, .hostname = "renamed"};

    setup();
    uint32_t job = prime("/bin/sh");
    memset(resume.instance.byte, 0xa7, sizeof(resume.instance.byte));
    NS_SEND(&conn, quiesce, 60, {});
    ns_expect_ok(&conn, 60);
    NS_SEND(&conn, feed, 61, feed_of(job));
    ns_expect_error(&conn, 61, PROTO_ERR_STATE);
    struct msg_exec m = ns_sh("true");
    NS_SEND(&conn, exec, 61, m);
    ns_expect_error(&conn, 61, PROTO_ERR_STATE);
    struct msg_pong pong;
    NS_SEND(&conn, ping, 61, {.token = 6});
    NS_EXPECT(&conn, pong, PONG, 61, &pong);
    ns_disconnect(&conn);

    ns_connect(&guest, &conn, false);
    NS_SEND(&conn, hello, 0, {.magic = PROTO_MAGIC, .version_min = 1, .version_max = 1});
    NS_SEND(&conn, resume, 1, resume);
    NS_EXPECT(&conn, welcome, WELCOME, 0, &w);
    ck_assert_uint_eq(w.state, PROTO_STATE_QUIESCED);
    NS_EXPECT(&conn, resumed, RESUMED, 1, &r);
    ck_assert_uint_eq(r.done, PROTO_RESUMED_HOSTNAME | PROTO_RESUMED_MACHINE_ID);
    ck_assert_uint_gt(r.clock_before_ns, 1600000000000000000);
    resume.entropy.size = 31;
    NS_SEND(&conn, resume, 1, resume);
    ns_expect_error(&conn, 1, PROTO_ERR_INVALID);
    conn.next_stream = 10;
    ns_run_sh(&conn, "cat /etc/machine-id /proc/sys/kernel/hostname", &result);
    ck_assert_str_eq(result.out, "a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7\nrenamed\n");
    write_source("echo fed after resume\n");
    struct msg_feed f = feed_of(job);
    feed(&f);
    ck_assert_str_eq(result.out, "fed after resume\n");
    ns_stop(&guest);
}
END_TEST

static void ask_to_resume(uint8_t id, uint32_t stream)
{
    static const uint8_t entropy[32];
    struct msg_resume resume = {
        .entropy = {.data = entropy, .size = sizeof(entropy)}, .wall_clock_ns = 1, .hostname = ""};

    memset(resume.instance.byte, id, sizeof(resume.instance.byte));
    NS_SEND(&conn, resume, stream, resume);
}

static void expect_resumed(uint32_t stream)
{
    struct msg_resumed r;

    NS_EXPECT(&conn, resumed, RESUMED, stream, &r);
    ck_assert_uint_eq(r.done & PROTO_RESUMED_MACHINE_ID, PROTO_RESUMED_MACHINE_ID);
}

static void resume_as(uint8_t id)
{
    uint32_t stream = ns_stream(&conn);

    ask_to_resume(id, stream);
    expect_resumed(stream);
}

static void quiesce(void)
{
    uint32_t stream = ns_stream(&conn);

    NS_SEND(&conn, quiesce, stream, {});
    ns_expect_ok(&conn, stream);
}

/* Starts a job that runs a command once "go" is there; its stream. */
static uint32_t start_waiting(const char *command)
{
    char script[512];
    struct msg_started s;
    uint32_t stream = ns_stream(&conn);
    size_t n = (size_t)snprintf(script, sizeof(script), "until [ -e %s ]; do sleep 0.01; done; ",
                                ns_in_dir(&guest, "go"));

    snprintf(script + n, sizeof(script) - n, "%s", command);
    unlink(ns_in_dir(&guest, "go"));
    struct msg_exec m = ns_sh(script);
    NS_SEND(&conn, exec, stream, m);
    NS_EXPECT(&conn, started, STARTED, stream, &s);
    return stream;
}

/* Whatever becomes of /etc/machine-id between QUIESCE and RESUME, it names the new instance afterwards, also to a job that
 * was asked for without waiting for RESUMED. */
START_TEST(the_machine_id_is_new_whatever_was_done_to_it)
{
    static const char *const deeds[] = {
        ":",
        "rm /etc/machine-id",
        "cp /etc/machine-id /etc/other; mv /etc/other /etc/machine-id",
        "mv /etc/machine-id /etc/other",
        ">/etc/machine-id",
        "echo more >>/etc/machine-id",
        "rm /etc/machine-id; ln -s /etc/hostname /etc/machine-id",
    };
    char wanted[34];

    setup();
    for (unsigned i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++) {
        uint32_t job = start_waiting(deeds[i]);
        resume_as(0xee);
        quiesce();
        fclose(fopen(ns_in_dir(&guest, "go"), "w"));
        ns_collect(&conn, job, 65536, &result);
        uint32_t stream = ns_stream(&conn), reader = ns_stream(&conn);
        ask_to_resume((uint8_t)(0x11 * (i + 1)), stream);
        NS_SEND(&conn, exec, reader, ns_sh("[ -L /etc/machine-id ] && echo link; cat /etc/machine-id"));
        expect_resumed(stream);
        memset(wanted, '1' + (int)i, 32);
        memcpy(wanted + 32, "\n", 2);
        ns_collect(&conn, reader, 65536, &result);
        ck_assert_msg(strcmp(result.out, wanted) == 0, "after %s: %s", deeds[i], result.out);
    }
    ns_stop(&guest);
}
END_TEST

/* Part of the time, meanwhile, that initd runs. */
static double activity(double seconds)
{
    struct timespec before, after;
    clockid_t clock;

    ck_assert_int_eq(clock_getcpuclockid(guest.pid, &clock), 0);
    clock_gettime(clock, &before);
    usleep((useconds_t)(seconds * 1e6));
    clock_gettime(clock, &after);
    return ((double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9) /
           seconds;
}

static bool is_asleep(void *unused)
{
    (void)unused;
    return activity(0.2) < 0.05;
}

/* A guest that is restored while it sleeps needs longer for RESUME. Whose host takes its time costs nothing. */
START_TEST(a_quiesced_guest_stays_awake_for_a_while)
{
    setup();
    ns_wait_until(is_asleep, NULL);
    quiesce();
    double awake = activity(0.5);
    ck_assert_msg(awake > 0.1, "it ran for %.3f of the time", awake);
    ns_wait_until(is_asleep, NULL);
    resume_as(0x21);
    ns_run_sh(&conn, "cat /etc/machine-id", &result);
    ck_assert_str_eq(result.out, "21212121212121212121212121212121\n");
    quiesce();
    resume_as(0x22);
    awake = activity(0.5);
    ck_assert_msg(awake < 0.1, "it ran for %.3f of the time after RESUME", awake);
    ns_stop(&guest);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        sh_runs_what_it_is_fed,
        sh_gets_its_input_and_limits,
        python_runs_what_it_is_fed,
        a_job_is_fed_once_and_only_when_primed,
        a_feed_that_is_refused_changes_nothing,
        an_interpreter_that_does_not_settle,
        a_primed_job_that_dies_is_an_ended_job,
        quiesce_and_resume,
        the_machine_id_is_new_whatever_was_done_to_it,
        a_quiesced_guest_stays_awake_for_a_while,
    };

    return ns_main("prime", tests, sizeof(tests) / sizeof(tests[0]), 30);
}
