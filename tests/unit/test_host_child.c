/* base/child: what a program finds that is started by one who was started oddly. */
#include "base/child.h"

#include "base/text.h"
#include "base/thread.h"
#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct error e;

static void setup(void)
{
    e = (struct error){0};
}

START_TEST(a_child_ignores_no_signal_that_its_parent_does)
{
    /* It stays, because nobody could find one that has ended here. */
    const char *const argv[] = {"cat", "/proc/self/status", "-", NULL};
    char status[8192] = "";
    int in[2], out[2];
    struct child c;

    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    const struct child_spec spec = {.argv = argv, .stdin_fd = in[0], .stdout_fd = out[1], .stderr_fd = -1};
    ck_assert_msg(child_spawn(&c, &spec, &e) == 0, "%s", e.text);
    ck_assert_int_gt(read(out[0], status, sizeof(status) - 1), 0);
    child_kill(&c);
    const char *line = strstr(status, "SigIgn:");
    ck_assert_ptr_nonnull(line);
    unsigned long long ignored = strtoull(line + strlen("SigIgn:"), NULL, 16);
    ck_assert_msg((ignored & (1ull << (SIGCHLD - 1) | 1ull << (SIGPIPE - 1))) == 0, "%.24s", line);
    for (int i = 0; i < 2; i++) {
        close(in[i]);
        close(out[i]);
    }
}
END_TEST

static void *print_nice(void *text)
{
    const char *const argv[] = {"nice", NULL};
    struct buffer b = {0};

    ck_assert_msg(child_capture(argv, 16, deadline_in_ms(60000), NULL, &b, &e) == 0, "%s", e.text);
    snprintf(text, 16, "%s", b.data);
    buffer_free(&b);
    return NULL;
}

START_TEST(what_stands_back_stands_back_with_its_children)
{
    char before[16], behind[16], after[16];

    print_nice(before);
    ck_assert_msg(thread_run_behind(print_nice, behind, &e) == 0, "%s", e.text);
    print_nice(after);
    int wanted = atoi(before) + 5;
    ck_assert_int_eq(atoi(behind), wanted > 19 ? 19 : wanted);
    ck_assert_str_eq(after, before);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("host_child");

    unit_fixture(&u, setup, NULL);
    unit_add(&u, a_child_ignores_no_signal_that_its_parent_does);
    unit_add(&u, what_stands_back_stands_back_with_its_children);
    return unit_end(&u);
}
