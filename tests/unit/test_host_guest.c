/* guest/: what the host does with a guest that lies, floods, stalls or goes away. The guest is this test, at
 * the other end of a socket pair. */
#include "base/cleanup.h"
#include "base/text.h"
#include "guest/guest.h"

#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct guest guest;
static int peer;
static struct error e;

static void setup(void)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    e = (struct error){0};
    peer = pair[1];
    guest_open(&guest, pair[0], -1, NULL);
}

static void teardown(void)
{
    guest_close(&guest);
    close_fd(&peer);
}

static void say(const void *data, size_t size)
{
    ck_assert_int_eq(send(peer, data, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* Sends a message of the guest. */
#define SAY(name, stream, ...)                                                                               \
    do {                                                                                                     \
        uint8_t out_[FRAME_MAX];                                                                             \
        struct msg_##name m_ = {__VA_ARGS__};                                                                \
        size_t n_ = msg_##name##_frame(&m_, stream, out_, sizeof(out_));                                     \
        ck_assert_uint_gt(n_, 0);                                                                            \
        say(out_, n_);                                                                                       \
    } while (0)

static void say_welcome(uint16_t version)
{
    SAY(welcome, 0, .magic = PROTO_MAGIC, .version = version, .state = PROTO_STATE_READY, .build = "test");
}

START_TEST(a_good_welcome_is_taken)
{
    say_welcome(PROTO_VERSION);
    ck_assert_int_eq(guest_hello(&guest, deadline_in_ms(1000), &e), 0);
    ck_assert_str_eq(guest.build, "test");
}
END_TEST

START_TEST(another_version_is_refused)
{
    say_welcome(PROTO_VERSION + 1);
    ck_assert_int_lt(guest_hello(&guest, deadline_in_ms(1000), &e), 0);
    ck_assert_int_eq(e.kind, ERROR_VM_LOST);
}
END_TEST

START_TEST(silence_ends_at_the_deadline)
{
    ck_assert_int_lt(guest_hello(&guest, deadline_in_ms(30), &e), 0);
    ck_assert_int_eq(e.kind, ERROR_TIMEOUT);
}
END_TEST

static bool says_stop(int fd)
{
    char text[8];

    return recv(fd, text, sizeof(text), MSG_DONTWAIT) == 4;
}

/* Whatever else it says is no reason to give up the guest. */
START_TEST(a_vmm_that_stops_the_guest_has_lost_it)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    guest.vmm_fd = pair[0];
    guest.vmm_stopped = says_stop;
    ck_assert_int_eq(send(pair[1], "something", 6, 0), 6);
    ck_assert_int_lt(guest_hello(&guest, deadline_in_ms(30), &e), 0);
    ck_assert_int_eq(e.kind, ERROR_TIMEOUT);
    ck_assert_int_eq(send(pair[1], "stop", 4, 0), 4);
    ck_assert_int_lt(guest_hello(&guest, deadline_in_ms(20000), &e), 0);
    ck_assert_int_eq(e.kind, ERROR_VM_LOST);
    ck_assert_ptr_nonnull(strstr(e.text, "cannot run the guest any further"));
    close(pair[0]);
    close(pair[1]);
}
END_TEST

START_TEST(half_a_frame_ends_at_the_deadline)
{
    say("\x20\x00\x00\x00\x02", 5);
    ck_assert_int_lt(guest_hello(&guest, deadline_in_ms(30), &e), 0);
    ck_assert_int_eq(e.kind, ERROR_TIMEOUT);
}
END_TEST

START_TEST(a_length_over_the_limit_is_fatal)
{
    say("\xff\xff\xff\x7f\x02\x00\x00\x00\x00\x00\x00\x00", 12);
    ck_assert_int_lt(guest_hello(&guest, deadline_in_ms(1000), &e), 0);
    ck_assert_int_eq(e.kind, ERROR_VM_LOST);
}
END_TEST

START_TEST(a_closed_connection_is_fatal)
{
    close_fd(&peer);
    ck_assert_int_lt(guest_hello(&guest, deadline_in_ms(1000), &e), 0);
    ck_assert_int_eq(e.kind, ERROR_VM_LOST);
}
END_TEST

START_TEST(text_of_the_guest_cannot_control_the_terminal)
{
    SAY(error, 0, .request = MSG_HELLO, .code = PROTO_ERR_STATE, .text = "\x1b[2Jboo\n");
    ck_assert_int_lt(guest_hello(&guest, deadline_in_ms(1000), &e), 0);
    ck_assert_ptr_null(strchr(e.text, '\x1b'));
    ck_assert_ptr_null(strchr(e.text, '\n'));
    ck_assert_ptr_nonnull(strstr(e.text, "boo"));
}
END_TEST

START_TEST(a_guest_that_is_not_made_unique_is_not_used)
{
    SAY(resumed, 1, .done = PROTO_RESUMED_CLOCK | PROTO_RESUMED_ENTROPY);
    ck_assert_int_lt(guest_resume(&guest, deadline_in_ms(1000), &e), 0);
    ck_assert_int_eq(e.kind, ERROR_VM_LOST);
}
END_TEST

START_TEST(a_guest_that_cannot_be_set_up_says_why)
{
    SAY(error, 1, .request = MSG_RESUME, .code = PROTO_ERR_SETUP, .os_errno = ENODEV, .text = "over\nlay");
    ck_assert_int_lt(guest_resume(&guest, deadline_in_ms(1000), &e), 0);
    ck_assert_int_eq(e.kind, ERROR_GENERAL);
    ck_assert_str_eq(e.text, "the guest could not be set up: over lay: No such device");
}
END_TEST

START_TEST(a_guest_made_unique_is_used)
{
    SAY(resumed, 1, .done = PROTO_RESUMED_CLOCK | PROTO_RESUMED_ENTROPY | PROTO_RESUMED_RESEEDED);
    ck_assert_int_eq(guest_resume(&guest, deadline_in_ms(1000), &e), 0);
}
END_TEST

/* What the host has sent; no more than has come. */
static uint16_t sent_type(struct frame_reader *r)
{
    struct frame f;
    size_t room;
    uint8_t *space = frame_reader_space(r, &room);
    ssize_t n = recv(peer, space, room, MSG_DONTWAIT);

    if (n > 0)
        frame_reader_added(r, (size_t)n);
    return frame_reader_next(r, &f) == 1 ? f.type : 0;
}

START_TEST(a_restored_guest_is_greeted_and_resumed_at_once)
{
    uint8_t buffer[4096];
    struct frame_reader r;

    frame_reader_init(&r, buffer, sizeof(buffer));
    SAY(resumed, 1, .done = 0); /* for its host before this one */
    say_welcome(PROTO_VERSION);
    ck_assert_int_eq(guest_hello_again(&guest, deadline_in_ms(1000), &e), 0);
    ck_assert_str_eq(guest.build, "test");
    ck_assert_uint_eq(sent_type(&r), MSG_HELLO);
    ck_assert_uint_eq(sent_type(&r), MSG_RESUME);
    SAY(resumed, 1, .done = PROTO_RESUMED_CLOCK | PROTO_RESUMED_ENTROPY | PROTO_RESUMED_RESEEDED);
    ck_assert_int_eq(guest_resume(&guest, deadline_in_ms(1000), &e), 0);
    ck_assert_uint_eq(sent_type(&r), 0);
    /* Later ones are asked for anew. */
    SAY(resumed, 2, .done = PROTO_RESUMED_CLOCK | PROTO_RESUMED_ENTROPY | PROTO_RESUMED_RESEEDED);
    ck_assert_int_eq(guest_resume(&guest, deadline_in_ms(1000), &e), 0);
    ck_assert_uint_eq(sent_type(&r), MSG_RESUME);
}
END_TEST

START_TEST(a_restored_guest_of_another_version_is_refused)
{
    say_welcome(PROTO_VERSION + 1);
    SAY(resumed, 1, .done = PROTO_RESUMED_CLOCK | PROTO_RESUMED_ENTROPY | PROTO_RESUMED_RESEEDED);
    ck_assert_int_lt(guest_hello_again(&guest, deadline_in_ms(1000), &e), 0);
    ck_assert_int_eq(e.kind, ERROR_VM_LOST);
}
END_TEST

START_TEST(a_restored_guest_that_says_no_welcome_is_not_used)
{
    SAY(resumed, 1, .done = PROTO_RESUMED_CLOCK | PROTO_RESUMED_ENTROPY | PROTO_RESUMED_RESEEDED);
    ck_assert_int_lt(guest_hello_again(&guest, deadline_in_ms(30), &e), 0);
    ck_assert_int_eq(e.kind, ERROR_TIMEOUT);
}
END_TEST

START_TEST(a_restored_guest_that_is_not_made_unique_is_not_used)
{
    say_welcome(PROTO_VERSION);
    SAY(resumed, 1, .done = PROTO_RESUMED_CLOCK | PROTO_RESUMED_RESEEDED);
    ck_assert_int_eq(guest_hello_again(&guest, deadline_in_ms(1000), &e), 0);
    ck_assert_int_lt(guest_resume(&guest, deadline_in_ms(1000), &e), 0);
    ck_assert_int_eq(e.kind, ERROR_VM_LOST);
}
END_TEST

static struct buffer output;

static int collect(void *context, int channel, const void *data, size_t size, struct error *why)
{
    (void)context, (void)why;
    ck_assert(channel == 1 || channel == 2);
    buffer_add(&output, data, size);
    return 0;
}

static int run_job(struct msg_exit *exit)
{
    const struct job_io io = {.stdin_fd = -1, .on_output = collect};
    const struct msg_exec exec = {.argv = {.data = "true", .size = 5}, .cwd = "/"};

    buffer_free(&output);
    return guest_run_job(&guest, &exec, NULL, &io, deadline_in_ms(500), exit, &e);
}

#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

START_TEST(a_job_gives_its_output_and_exit)
{
    struct msg_exit exit;

    SAY(started, 1, .job = 1, .pid = 2);
    SAY(data, 1, .channel = 1, .offset = 0, .data = {BYTES("ab")});
    SAY(data, 1, .channel = 2, .offset = 0, .data = {BYTES("x")});
    SAY(data, 1, .channel = 1, .offset = 2, .data = {BYTES("c")});
    SAY(end, 1, .channel = 1, .offset = 3);
    SAY(end, 1, .channel = 2, .offset = 1);
    SAY(exit, 1, .cause = PROTO_CAUSE_EXITED, .status = 3, .stdout_size = 3, .stderr_size = 1);
    ck_assert_int_eq(run_job(&exit), 0);
    ck_assert_int_eq(exit.status, 3);
    ck_assert_str_eq(output.data, "abxc");
    buffer_free(&output);
}
END_TEST

/* Has the next byte ready before this one is taken. */
static int answer_with_more(void *context, int channel, const void *data, size_t size, struct error *why)
{
    uint64_t *sent = context;

    (void)channel, (void)data, (void)size, (void)why;
    SAY(data, 1, .channel = 1, .offset = (*sent)++, .data = {BYTES("a")});
    usleep(1000);
    return 0;
}

/* A connection that is always ready must not keep the host from looking at the clock. */
START_TEST(output_without_end_ends_at_the_deadline)
{
    uint64_t sent = 1;
    const struct job_io io = {.stdin_fd = -1, .on_output = answer_with_more, .context = &sent};
    const struct msg_exec exec = {.argv = {.data = "yes", .size = 4}, .cwd = "/"};
    struct msg_exit exit;

    SAY(started, 1, .job = 1, .pid = 2);
    SAY(data, 1, .channel = 1, .offset = 0, .data = {BYTES("a")});
    ck_assert_int_lt(guest_run_job(&guest, &exec, NULL, &io, deadline_in_ms(100), &exit, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_TIMEOUT);
}
END_TEST

/* Who was stopped past the deadline finds what arrived meanwhile, and how the job ended. */
START_TEST(what_arrived_before_a_late_look_counts)
{
    static uint8_t chunk[30000];
    const struct job_io io = {.stdin_fd = -1, .on_output = collect};
    const struct msg_exec exec = {.argv = {.data = "true", .size = 5}, .cwd = "/"};
    struct msg_exit exit;

    SAY(started, 1, .job = 1, .pid = 2);
    for (uint64_t i = 0; i < 4; i++) /* more than is read at once */
        SAY(data, 1, .channel = 1, .offset = i * sizeof(chunk), .data = {chunk, sizeof(chunk)});
    if (_i)
        SAY(exit, 1, .cause = PROTO_CAUSE_EXITED, .status = 3, .stdout_size = 4 * sizeof(chunk));
    buffer_free(&output);
    int result = guest_run_job(&guest, &exec, NULL, &io, deadline_in_ms(-5000), &exit, &e);
    ck_assert_uint_eq(output.size, 4 * sizeof(chunk));
    if (_i) {
        ck_assert_msg(result == 0, "%s", e.text);
        ck_assert_int_eq(exit.status, 3);
    } else {
        ck_assert_int_lt(result, 0);
        ck_assert_int_eq(e.kind, ERROR_TIMEOUT);
    }
    buffer_free(&output);
}
END_TEST

START_TEST(an_answer_before_a_late_look_counts)
{
    say_welcome(PROTO_VERSION);
    ck_assert_int_eq(guest_hello(&guest, deadline_in_ms(-5000), &e), 0);
    ck_assert_int_lt(guest_hello(&guest, deadline_in_ms(-5000), &e), 0);
    ck_assert_int_eq(e.kind, ERROR_TIMEOUT);
}
END_TEST

/* Each of these is a guest that breaks a rule after STARTED. */
static void break_rule(int rule)
{
    switch (rule) {
    case 0: /* a gap */
        SAY(data, 1, .channel = 1, .offset = 1, .data = {BYTES("a")});
        break;
    case 1: /* a channel that does not go this way */
        SAY(data, 1, .channel = 0, .offset = 0, .data = {BYTES("a")});
        break;
    case 2:
        SAY(data, 1, .channel = 3, .offset = 0, .data = {BYTES("a")});
        break;
    case 3: /* nothing */
        SAY(data, 1, .channel = 1, .offset = 0, .data = {BYTES("")});
        break;
    case 4: /* another stream */
        SAY(data, 9, .channel = 1, .offset = 0, .data = {BYTES("a")});
        break;
    case 5: /* sizes that do not match what was sent */
        SAY(exit, 1, .cause = PROTO_CAUSE_EXITED, .stdout_size = 5);
        break;
    case 6:
        SAY(end, 1, .channel = 1, .offset = 5);
        break;
    case 7: /* twice */
        SAY(started, 1, .job = 1);
        break;
    case 8: /* not a message for a host */
        SAY(hello, 1, .magic = PROTO_MAGIC);
        break;
    case 9: /* took more standard input than there was */
        SAY(window, 1, .channel = 0, .consumed = 1, .limit = 2);
        break;
    case 10: /* a number that no message has */
        say("\x00\x00\x00\x00\x39\x30\x00\x00\x01\x00\x00\x00", 12);
        break;
    default: /* trailing bytes */
        say("\x0c\x00\x00\x00\x09\x00\x00\x00\x01\x00\x00\x00\x01\0\0\0\0\0\0\0\0\0\0\0", 24);
        break;
    }
}

START_TEST(a_rule_broken_loses_the_vm)
{
    struct msg_exit exit;

    SAY(started, 1, .job = 1, .pid = 2);
    break_rule(_i);
    ck_assert_int_lt(run_job(&exit), 0);
    ck_assert_msg(e.kind == ERROR_VM_LOST, "rule %d: %s", _i, e.text);
    buffer_free(&output);
}
END_TEST

/* A guest that sends without being asked is stopped at the window, however fast it is. */
static void *flood(void *unused)
{
    uint8_t out[FRAME_MAX], payload[32768] = {0};
    uint64_t offset = 0;

    (void)unused;
    for (int i = 0; i < 200; i++) {
        struct msg_data m = {.channel = 1, .offset = offset, .data = {payload, sizeof(payload)}};
        size_t n = msg_data_frame(&m, 1, out, sizeof(out));
        if (send(peer, out, n, MSG_NOSIGNAL) != (ssize_t)n)
            break;
        offset += sizeof(payload);
    }
    return NULL;
}

static int never_takes(void *context, int channel, const void *data, size_t size, struct error *why)
{
    (void)context, (void)channel, (void)data, (void)why;
    ck_assert_uint_le(size, 65536);
    return 0;
}

START_TEST(output_beyond_the_window_loses_the_vm)
{
    const struct job_io io = {.stdin_fd = -1, .on_output = never_takes};
    const struct msg_exec exec = {.argv = {.data = "true", .size = 5}, .cwd = "/"};
    struct msg_exit exit;
    pthread_t thread;
    uint8_t out[64];

    /* The first window is a mebibyte; data from its end on was not asked for. */
    SAY(started, 1, .job = 1, .pid = 2);
    struct msg_data m = {.channel = 1, .offset = 1u << 20, .data = {BYTES("a")}};
    say(out, msg_data_frame(&m, 1, out, sizeof(out)));
    ck_assert_int_lt(guest_run_job(&guest, &exec, NULL, &io, deadline_in_ms(500), &exit, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_VM_LOST);
    ck_assert_int_eq(pthread_create(&thread, NULL, flood, NULL), 0);
    guest_close(&guest);
    pthread_join(thread, NULL);
}
END_TEST

/* Takes a frame of the host. */
static void take_frame(struct frame *ret, uint8_t *buffer)
{
    ck_assert_int_eq(recv(peer, buffer, FRAME_HEADER_SIZE, MSG_WAITALL), FRAME_HEADER_SIZE);
    *ret = (struct frame){.type = (uint16_t)(buffer[4] | buffer[5] << 8),
                          .stream = buffer[8],
                          .payload = buffer + FRAME_HEADER_SIZE,
                          .length = buffer[0] | (uint32_t)buffer[1] << 8};
    ck_assert_int_eq(recv(peer, buffer + FRAME_HEADER_SIZE, ret->length, MSG_WAITALL), ret->length);
}

static void *take_strings(void *argument)
{
    struct buffer *got = argument;
    uint8_t *buffer = malloc(FRAME_MAX);
    struct frame f;

    for (;;) {
        struct msg_strings m;
        take_frame(&f, buffer);
        if (f.type != MSG_STRINGS)
            break;
        ck_assert(msg_strings_decode(&m, f.payload, f.length));
        ck_assert_uint_eq(m.argv_size, 100000);
        ck_assert_uint_eq(m.env_size, 100000);
        ck_assert_uint_eq(m.offset, got->size);
        buffer_add(got, m.data.data, m.data.size);
    }
    struct msg_exec exec;
    ck_assert(f.type == MSG_EXEC && msg_exec_decode(&exec, f.payload, f.length));
    ck_assert_uint_eq(exec.argv.size + exec.env.size, 0);
    SAY(started, f.stream, .job = 1, .pid = 2);
    free(buffer);
    return NULL;
}

static struct msg_exec large_exec(char *argv, char *env)
{
    memset(argv, 'a', 100000);
    memset(env, 'e', 100000);
    argv[99999] = env[99999] = '\0';
    return (struct msg_exec){.argv = {argv, 100000}, .env = {env, 100000}, .cwd = "/"};
}

START_TEST(strings_larger_than_a_frame_go_before_it)
{
    static char argv[100000], env[100000];
    const struct msg_exec m = large_exec(argv, env);
    struct buffer got = {0};
    struct msg_started started;
    pthread_t thread;

    guest.features = PROTO_FEATURE_STRINGS;
    pthread_create(&thread, NULL, take_strings, &got);
    ck_assert_int_eq(guest_start_job(&guest, &m, &started, deadline_in_ms(5000), &e), 0);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(got.size, 200000);
    ck_assert_mem_eq(got.data, argv, 100000);
    ck_assert_mem_eq(got.data + 100000, env, 100000);
    buffer_free(&got);
}
END_TEST

/* A frame may hold them, but an EXEC has a limit of its own. */
START_TEST(so_do_more_strings_than_an_EXEC_may_have)
{
    static char argv[2 * PROTO_FRAME_STRINGS_MAX];
    struct msg_exec m = {.argv = {argv, PROTO_FRAME_STRINGS_MAX}, .env = {"A=", 3}, .cwd = "/"};
    uint8_t *buffer = malloc(FRAME_MAX);
    struct msg_started started;
    struct frame f;

    guest.features = PROTO_FEATURE_STRINGS;
    for (int i = 0; i < 2; i++) {
        SAY(started, (uint32_t)(i + 1), .job = 1, .pid = 2);
        ck_assert_int_eq(guest_start_job(&guest, &m, &started, deadline_in_ms(5000), &e), 0);
        take_frame(&f, buffer);
        ck_assert_uint_eq(f.type, i == 0 ? MSG_STRINGS : MSG_EXEC);
        if (i == 0)
            take_frame(&f, buffer);
        ck_assert_uint_eq(f.type, MSG_EXEC);
        m.argv.size--;
    }
    free(buffer);
}
END_TEST

START_TEST(an_old_guest_is_not_sent_them)
{
    static char argv[100000], env[100000];
    const struct msg_exec m = large_exec(argv, env);
    struct msg_started started;

    ck_assert_int_lt(guest_start_job(&guest, &m, &started, deadline_in_ms(1000), &e), 0);
    ck_assert_int_eq(e.kind, ERROR_USAGE);
    ck_assert_ptr_nonnull(strstr(e.text, "200000 bytes"));
    ck_assert_int_eq(recv(peer, argv, 1, MSG_DONTWAIT), -1);
}
END_TEST

START_TEST(a_file_is_sent_as_the_windows_allow)
{
    size_t size = 100000;
    char *content = memory_allocate(size);

    SAY(window, 1, .channel = 0, .consumed = 32768, .limit = 70000);
    SAY(window, 1, .channel = 0, .consumed = 70000, .limit = 200000);
    SAY(ok, 1);
    ck_assert_int_eq(
        guest_write_file(&guest, "/x", 0100644, 0, 0, 0, content, size, deadline_in_ms(1000), &e), 0);
    free(content);
}
END_TEST

START_TEST(a_refused_file_is_an_error_with_the_reason)
{
    SAY(error, 1, .request = MSG_WRITE_FILE, .code = PROTO_ERR_OS, .os_errno = 28, .text = "write");
    ck_assert_int_lt(guest_write_file(&guest, "/x", 0100644, 0, 0, 0, "abc", 3, deadline_in_ms(1000), &e), 0);
    ck_assert_ptr_nonnull(strstr(e.text, "No space left"));
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("host_guest");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, a_good_welcome_is_taken);
    unit_add(&u, another_version_is_refused);
    unit_add(&u, silence_ends_at_the_deadline);
    unit_add(&u, a_vmm_that_stops_the_guest_has_lost_it);
    unit_add(&u, half_a_frame_ends_at_the_deadline);
    unit_add(&u, a_length_over_the_limit_is_fatal);
    unit_add(&u, a_closed_connection_is_fatal);
    unit_add(&u, text_of_the_guest_cannot_control_the_terminal);
    unit_add(&u, a_guest_that_is_not_made_unique_is_not_used);
    unit_add(&u, a_guest_that_cannot_be_set_up_says_why);
    unit_add(&u, a_guest_made_unique_is_used);
    unit_add(&u, a_restored_guest_is_greeted_and_resumed_at_once);
    unit_add(&u, a_restored_guest_of_another_version_is_refused);
    unit_add(&u, a_restored_guest_that_says_no_welcome_is_not_used);
    unit_add(&u, a_restored_guest_that_is_not_made_unique_is_not_used);
    unit_add(&u, a_job_gives_its_output_and_exit);
    unit_add(&u, output_without_end_ends_at_the_deadline);
    unit_add_loop(&u, what_arrived_before_a_late_look_counts, 2);
    unit_add(&u, an_answer_before_a_late_look_counts);
    unit_add_loop(&u, a_rule_broken_loses_the_vm, 12);
    unit_add(&u, output_beyond_the_window_loses_the_vm);
    unit_add(&u, strings_larger_than_a_frame_go_before_it);
    unit_add(&u, so_do_more_strings_than_an_EXEC_may_have);
    unit_add(&u, an_old_guest_is_not_sent_them);
    unit_add(&u, a_file_is_sent_as_the_windows_allow);
    unit_add(&u, a_refused_file_is_an_error_with_the_reason);
    return unit_end(&u);
}
