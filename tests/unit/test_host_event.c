/* core/event: lines that can be parsed, whatever is in them. */
#include "base/cleanup.h"
#include "base/log.h"
#include "core/event.h"

#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int stderr_fd, out[2];
static char line[8192];

static void setup(void)
{
    stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    ck_assert_int_eq(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
    ck_assert_int_ge(dup2(out[1], STDERR_FILENO), 0);
    log_set_level(LOG_DEBUG);
}

static void teardown(void)
{
    dup2(stderr_fd, STDERR_FILENO);
    close(stderr_fd);
    close(out[0]);
    close(out[1]);
    log_set_level(LOG_PROGRESS);
}

/* The line, from its event on; everything of it came with one write. */
static const char *written(struct event *v)
{
    event_end(v);
    ssize_t n = read(out[0], line, sizeof(line) - 1);
    line[n > 0 ? n : 0] = '\0';
    const char *from = strstr(line, " event=");
    return from ? from + 1 : line;
}

START_TEST(fields)
{
    struct event v;

    event_begin(&v, "job");
    event_text(&v, "language", "c++");
    event_text(&v, "none", NULL);
    event_text(&v, "empty", "");
    event_number(&v, "exit_code", -1);
    event_ms(&v, "load_ms", 1234567);
    event_ms(&v, "left_out_ms", -1);
    ck_assert_str_eq(written(&v), "event=job language=c++ exit_code=-1 load_ms=1.2\n");
    ck_assert_int_eq(strncmp(line, "time=20", 7), 0);
}
END_TEST

START_TEST(hostile_text_stays_in_its_quotes)
{
    struct event v;

    event_begin(&v, "x");
    event_text(&v, "detail", "a b\"\\\n\x1b[2J\xff why=evicted");
    ck_assert_str_eq(written(&v), "event=x detail=\"a b\\\"\\\\\\x0a\\x1b[2J\\xff why=evicted\"\n");
}
END_TEST

/* Cut within the value, not within an escape, and the line keeps its end. */
START_TEST(long_text_is_cut)
{
    char text[20000];
    struct event v;

    memset(text, '\n', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    event_begin(&v, "x");
    for (int i = 0; i < 20; i++)
        event_text(&v, "detail", text);
    event_text(&v, "after", "x");
    const char *l = written(&v);
    ck_assert_uint_lt(strlen(line), EVENT_LINE_MAX + 1);
    ck_assert_str_eq(l + strlen(l) - 2, "x\n");
    for (const char *p = strchr(l, '"') + 1; *p != '"'; p += 4)
        ck_assert_int_eq(strncmp(p, "\\x0a", 4), 0);
}
END_TEST

START_TEST(nothing_below_debug)
{
    struct event v;

    log_set_level(LOG_PROGRESS);
    event_begin(&v, "x");
    event_text(&v, "detail", "text");
    ck_assert_str_eq(written(&v), "");
}
END_TEST

START_TEST(the_first_reason_counts)
{
    struct error e = {.kind = ERROR_VM_LOST, .text = "it went"};
    struct vm_life a = {0}, b = {0};
    struct event v;

    life_begin(&a, "qemu", "tcg", "python", "0123456789abcdef0123", NULL);
    life_begin(&b, "qemu", "tcg", NULL, NULL, NULL);
    ck_assert_str_ne(a.id, b.id);
    life_because_error(&a, &e);
    life_because(&a, "pool closed", NULL);
    ck_assert_str_eq(a.why, "lost");
    ck_assert_str_eq(a.detail, "it went");
    life_event(&v, &a, "ready");
    ck_assert_ptr_nonnull(strstr(written(&v), " language=python snapshot=0123456789abcdef\n"));
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("host_event");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, fields);
    unit_add(&u, hostile_text_stays_in_its_quotes);
    unit_add(&u, long_text_is_cut);
    unit_add(&u, nothing_below_debug);
    unit_add(&u, the_first_reason_counts);
    return unit_end(&u);
}
