/* guest/mux: users that share a guest, and what a hostile one may not do to them. */
#include "guest/mux.h"

#include "base/cleanup.h"
#include "unit.h"

#include <sys/socket.h>
#include <unistd.h>

static struct guest guest;
static struct mux mux;
static struct error e;
static int peer;    /* the guest's end */
static int user[2]; /* the users' ends */

static void setup(void)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    peer = pair[1];
    guest_open(&guest, pair[0], -1, NULL);
    mux_open(&mux, &guest);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        user[i] = pair[0];
        ck_assert_int_eq(mux_add(&mux, pair[1], i == 1), 0);
    }
}

static void teardown(void)
{
    mux_close(&mux);
    guest_close(&guest);
    close(peer);
    close_fd(&user[0]);
    close_fd(&user[1]);
}

#define SEND(fd, name, stream, ...)                                                                          \
    do {                                                                                                     \
        uint8_t frame_[4096];                                                                                \
        size_t size_ =                                                                                       \
            msg_##name##_frame(&(struct msg_##name){__VA_ARGS__}, stream, frame_, sizeof(frame_));           \
        ck_assert(size_ > 0 && write(fd, frame_, size_) == (ssize_t)size_);                                  \
    } while (0)

static int step(void)
{
    return mux_step(&mux, -1, deadline_in_ms(1000), &e);
}

/* The next frame at fd; the payload is dropped. */
static void expect_frame(int fd, uint16_t type, uint32_t stream)
{
    uint8_t head[FRAME_HEADER_SIZE], payload[4096];

    ck_assert_int_eq(recv(fd, head, sizeof(head), MSG_WAITALL), sizeof(head));
    uint32_t size = head[0] | (uint32_t)head[1] << 8;
    ck_assert(size == 0 || recv(fd, payload, size, MSG_WAITALL) == (ssize_t)size);
    ck_assert_msg((head[4] | head[5] << 8) == type, "type %d, wanted %d", head[4] | head[5] << 8, type);
    ck_assert_uint_eq(head[8], stream);
}

static void start_job(int which, uint32_t inner, uint32_t outer)
{
    SEND(user[which], exec, inner, .argv = {"a", 2}, .cwd = "/", .window = 100);
    ck_assert_int_eq(step(), 0);
    expect_frame(peer, MSG_EXEC, outer);
    SEND(peer, started, outer, .job = 1, .pid = 2);
    ck_assert_int_eq(step(), 0);
    expect_frame(user[which], MSG_STARTED, inner);
}

START_TEST(streams_of_two_users_are_told_apart)
{
    start_job(0, 1, 1);
    start_job(1, 1, 2);
    SEND(peer, data, 2, .channel = 1, .data = {(const uint8_t *)"two", 3});
    SEND(peer, data, 1, .channel = 1, .data = {(const uint8_t *)"one", 3});
    ck_assert_int_eq(step(), 0);
    expect_frame(user[0], MSG_DATA, 1);
    expect_frame(user[1], MSG_DATA, 1);
    SEND(user[0], kill, 1);
    ck_assert_int_eq(step(), 0);
    expect_frame(peer, MSG_KILL, 1);
    SEND(peer, ok, 1);
    SEND(peer, exit, 1, .cause = PROTO_CAUSE_CANCELLED);
    ck_assert_int_eq(step(), 0);
    expect_frame(user[0], MSG_OK, 1);
    expect_frame(user[0], MSG_EXIT, 1);
}
END_TEST

START_TEST(what_a_user_leaves_is_ended)
{
    start_job(0, 7, 1);
    close_fd(&user[0]);
    ck_assert_int_eq(step(), 0);
    expect_frame(peer, MSG_KILL, 1);
    expect_frame(peer, MSG_WINDOW, 1);
    expect_frame(peer, MSG_WINDOW, 1);
    ck_assert_uint_eq(mux_count(&mux), 1);
    SEND(peer, data, 1, .channel = 1, .data = {(const uint8_t *)"rest", 4});
    ck_assert_int_eq(step(), 0);
    expect_frame(peer, MSG_WINDOW, 1);
    SEND(peer, exit, 1, .cause = PROTO_CAUSE_CANCELLED);
    ck_assert_int_eq(step(), 0);
}
END_TEST

START_TEST(jobs_that_are_kept_run_on)
{
    start_job(1, 1, 1);
    close_fd(&user[1]);
    ck_assert_int_eq(step(), 0);
    expect_frame(peer, MSG_WINDOW, 1);
}
END_TEST

/* STRINGS have no answer: the stream goes on as that of the request that they are for. */
START_TEST(strings_and_their_request_share_a_stream)
{
    SEND(user[0], strings, 5, .argv_size = 4, .data = {(const uint8_t *)"ab", 2});
    SEND(user[0], strings, 5, .argv_size = 4, .offset = 2, .data = {(const uint8_t *)"c", 2});
    SEND(user[0], exec, 5, .cwd = "/", .window = 3);
    ck_assert_int_eq(step(), 0);
    expect_frame(peer, MSG_STRINGS, 1);
    expect_frame(peer, MSG_STRINGS, 1);
    expect_frame(peer, MSG_EXEC, 1);
    SEND(peer, started, 1, .job = 1, .pid = 2);
    SEND(peer, data, 1, .channel = 1, .data = {(const uint8_t *)"one", 3});
    SEND(peer, exit, 1, .cause = PROTO_CAUSE_EXITED);
    ck_assert_int_eq(step(), 0);
    expect_frame(user[0], MSG_STARTED, 5);
    expect_frame(user[0], MSG_DATA, 5);
    expect_frame(user[0], MSG_EXIT, 5);
    ck_assert_uint_eq(mux.streams[0].outer, 0);
}
END_TEST

START_TEST(strings_that_are_left_are_taken_back)
{
    SEND(user[0], strings, 5, .argv_size = 4, .data = {(const uint8_t *)"ab", 2});
    ck_assert_int_eq(step(), 0);
    expect_frame(peer, MSG_STRINGS, 1);
    close_fd(&user[0]);
    ck_assert_int_eq(step(), 0);
    expect_frame(peer, MSG_END, 1);
    ck_assert_uint_eq(mux.streams[0].outer, 0);
}
END_TEST

START_TEST(a_frame_for_nobody_is_fatal)
{
    SEND(peer, exit, 9, .cause = PROTO_CAUSE_EXITED);
    ck_assert_int_lt(step(), 0);
    ck_assert_int_eq(e.kind, ERROR_VM_LOST);
}
END_TEST

START_TEST(output_at_a_wrong_offset_is_fatal)
{
    start_job(0, 1, 1);
    SEND(peer, data, 1, .channel = 1, .offset = 5, .data = {(const uint8_t *)"x", 1});
    ck_assert_int_lt(step(), 0);
    ck_assert_int_eq(e.kind, ERROR_VM_LOST);
}
END_TEST

START_TEST(output_that_nobody_asked_for_is_fatal)
{
    static uint8_t frame[FRAME_MAX], data[32768];
    int result = 0;

    start_job(0, 1, 1);
    SEND(user[0], window, 1, .channel = 1, .limit = 1ull << 40); /* more than may be held */
    ck_assert_int_eq(step(), 0);
    for (uint64_t sent = 0; result == 0; sent += sizeof(data)) {
        ck_assert_uint_lt(sent, 2 * MUX_HELD_MAX);
        const struct msg_data m = {.channel = 1, .offset = sent, .data = {data, sizeof(data)}};
        size_t size = msg_data_frame(&m, 1, frame, sizeof(frame));
        ck_assert_int_eq(write(peer, frame, size), (ssize_t)size);
        result = step();
    }
    ck_assert_int_eq(e.kind, ERROR_VM_LOST);
}
END_TEST

static void send_output(uint8_t channel, uint64_t offset, uint32_t size)
{
    static uint8_t frame[FRAME_MAX], data[32768];
    const struct msg_data m = {.channel = channel, .offset = offset, .data = {data, size}};
    size_t length = msg_data_frame(&m, 1, frame, sizeof(frame));

    ck_assert_int_eq(write(peer, frame, length), (ssize_t)length);
}

START_TEST(output_beyond_what_the_user_granted_is_fatal)
{
    start_job(0, 1, 1);
    send_output(1, 0, 100);
    send_output(2, 0, 100);
    ck_assert_int_eq(step(), 0);
    SEND(user[0], window, 1, .channel = 2, .consumed = 100, .limit = 101);
    ck_assert_int_eq(step(), 0);
    send_output(2, 100, 1);
    ck_assert_int_eq(step(), 0);
    send_output(1, 100, 1);
    ck_assert_int_lt(step(), 0);
    ck_assert_int_eq(e.kind, ERROR_VM_LOST);
}
END_TEST

static void leave_job(void)
{
    start_job(0, 7, 1);
    close_fd(&user[0]);
    ck_assert_int_eq(step(), 0);
    expect_frame(peer, MSG_KILL, 1);
    expect_frame(peer, MSG_WINDOW, 1);
    expect_frame(peer, MSG_WINDOW, 1);
}

START_TEST(what_came_together_is_granted_once)
{
    leave_job();
    for (uint64_t i = 0; i < 100; i++)
        send_output(1, i, 1);
    ck_assert_int_eq(step(), 0);
    expect_frame(peer, MSG_WINDOW, 1);
    start_job(1, 1, 2); /* expects EXEC to be the next frame */
}
END_TEST

/* The other user's standard input fills the queue, and the guest takes none of it. */
static void fill_queue(void)
{
    static uint8_t frame[FRAME_MAX], data[32768];

    start_job(1, 1, 2);
    for (uint64_t sent = 0; mux.out.size - mux.out_start <= MUX_QUEUE_MAX; sent += sizeof(data)) {
        const struct msg_data m = {.channel = 0, .offset = sent, .data = {data, sizeof(data)}};
        size_t length = msg_data_frame(&m, 1, frame, sizeof(frame));
        ck_assert_int_eq(write(user[1], frame, length), (ssize_t)length);
        ck_assert_int_eq(step(), 0);
    }
}

START_TEST(a_guest_that_does_not_read_is_granted_nothing)
{
    uint64_t sent = 0;

    leave_job();
    fill_queue();
    size_t size = mux.out.size - mux.out_start;
    for (; sent < 3000; sent++) {
        send_output(1, sent, 1);
        ck_assert_int_eq(step(), 0);
    }
    ck_assert_uint_eq(mux.out.size - mux.out_start, size);
    int result = 0;
    for (; result == 0; sent += 32768) {
        ck_assert_uint_lt(sent, 4 << 20);
        send_output(1, sent, 32768);
        result = step();
    }
    ck_assert_int_eq(e.kind, ERROR_VM_LOST);
}
END_TEST

START_TEST(a_guest_that_reads_again_is_granted_more)
{
    static uint8_t in[FRAME_MAX];
    struct frame_reader reader;
    struct frame f = {0};

    leave_job();
    fill_queue();
    send_output(1, 0, 1000);
    ck_assert_int_eq(step(), 0);
    frame_reader_init(&reader, in, sizeof(in));
    while (f.type != MSG_WINDOW) {
        size_t room;
        uint8_t *space = frame_reader_space(&reader, &room);
        ssize_t n = recv(peer, space, room, MSG_DONTWAIT);
        if (n > 0)
            frame_reader_added(&reader, (size_t)n);
        else
            ck_assert_int_eq(step(), 0);
        while (f.type != MSG_WINDOW && frame_reader_next(&reader, &f) > 0)
            ;
    }
}
END_TEST

START_TEST(a_user_may_not_touch_the_connection)
{
    SEND(user[0], quiesce, 1);
    ck_assert_int_eq(step(), 0);
    ck_assert_uint_eq(mux_count(&mux), 1);
}
END_TEST

START_TEST(the_guests_end_is_told)
{
    shutdown(peer, SHUT_RDWR);
    ck_assert_int_lt(step(), 0);
    ck_assert_int_eq(e.kind, ERROR_VM_LOST);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("mux");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, streams_of_two_users_are_told_apart);
    unit_add(&u, what_a_user_leaves_is_ended);
    unit_add(&u, jobs_that_are_kept_run_on);
    unit_add(&u, strings_and_their_request_share_a_stream);
    unit_add(&u, strings_that_are_left_are_taken_back);
    unit_add(&u, a_frame_for_nobody_is_fatal);
    unit_add(&u, output_at_a_wrong_offset_is_fatal);
    unit_add(&u, output_that_nobody_asked_for_is_fatal);
    unit_add(&u, output_beyond_what_the_user_granted_is_fatal);
    unit_add(&u, what_came_together_is_granted_once);
    unit_add(&u, a_guest_that_does_not_read_is_granted_nothing);
    unit_add(&u, a_guest_that_reads_again_is_granted_more);
    unit_add(&u, a_user_may_not_touch_the_connection);
    unit_add(&u, the_guests_end_is_told);
    return unit_end(&u);
}
