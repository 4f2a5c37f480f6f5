/* service/session: how a session begins, and how users come to it and leave it; upon a double of its VM. */
/* also: threads */
#include "service/session.h"

#include "base/cleanup.h"
#include "core/usage.h"
#include "unit.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MS 20000

#ifdef __SANITIZE_THREAD__ /* keeps a signal back while its thread waits for a lock */
static const bool can_hold = false;
#else
static const bool can_hold = true;
#endif
static const atomic_bool stopping;
static const struct refusal_manner manner = {.stopping = &stopping};
static struct sessions table, *all = &table;
static struct session_user users[SESSION_USERS_MAX];
static enum { STARTS, STARTS_LATE, STARTS_AND_DIES, FAILS, WAITS_FOR_CANCEL } vm;
static pthread_t thread;   /* the session's */
static int peer = -1;      /* the guest's end */
static int held[2], go[2]; /* pipes, see hold() */

/* ---- doubles ------------------------------------------------------------------------------------- */

int backend_session(struct backend *b, const struct call *call, const char *owner,
                    const struct run_request *request, struct lease *ret, struct error *e)
{
    int pair[2];
    sigset_t hold;

    (void)b, (void)owner, (void)request;
    *ret = LEASE_NONE;
    sigemptyset(&hold);
    sigaddset(&hold, SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &hold, NULL);
    thread = pthread_self();
    if (vm == WAITS_FOR_CANCEL)
        return deadline_wait_fd(-1, 0, deadline_in_ms(WAIT_MS), &call->cancel, e);
    if (vm == FAILS)
        return error_set(e, ERROR_GENERAL, "there is no kernel");
    if (vm == STARTS_LATE)
        usleep(300000);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    guest_open(&ret->guest, pair[0], -1, NULL);
    close_fd(&peer);
    peer = pair[1];
    if (vm == STARTS_AND_DIES)
        close_fd(&peer);
    return 0;
}

/* ---- help ---------------------------------------------------------------------------------------- */

static void on_signal(int number)
{
    char byte = (char)number;

    if (write(held[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1)
        abort();
}

/* The session's thread stands still until let_go(). Only while all->lock is held, or it could stop with that. */
static void hold(void)
{
    char byte;

    ck_assert_int_eq(pthread_kill(thread, SIGUSR1), 0);
    ck_assert_int_eq(read(held[0], &byte, 1), 1);
}

static void let_go(void)
{
    ck_assert_int_eq(write(go[1], "", 1), 1);
}

static void setup(void)
{
    const struct sigaction action = {.sa_handler = on_signal};

    sessions_open(all, &(struct session_options){.manner = &manner, .max = 1000, .client_max = 1000});
    ck_assert(pipe(held) == 0 && pipe(go) == 0);
    sigaction(SIGUSR1, &action, NULL);
}

static void teardown(void)
{
    sessions_end(all);
    sessions_close(all);
    close_fd(&peer);
    for (int i = 0; i < 2; i++) {
        close_fd(&held[i]);
        close_fd(&go[i]);
    }
}

static struct session *create(uint64_t seconds, bool cancelled, struct refusal *r)
{
    struct request body = {.run = {.language = text_copy("sh"), .timeout = seconds}, .idle = 300};
    const atomic_bool gone = cancelled;

    return session_create(all, "client", &body, &gone, "trace", r);
}

static struct session *create_ready(void)
{
    struct refusal r = {0};
    struct session *s = create(300, false, &r);

    ck_assert_msg(s != NULL, "%s", r.text);
    return s;
}

static int enter(struct session *s, unsigned i, struct refusal *r)
{
    return session_enter(s, -1, SESSION_CALL, &users[i], r);
}

static void enter_all(struct session *s)
{
    for (unsigned i = 0; i < SESSION_USERS_MAX; i++) {
        struct refusal r = {0};
        ck_assert_msg(enter(s, i, &r) == 0, "user %u: %s", i, r.text);
    }
}

static void leave_all(void)
{
    for (unsigned i = 0; i < SESSION_USERS_MAX; i++)
        session_leave(&users[i]);
}

/* A frame without a payload. */
static void put(int fd, uint16_t type, uint32_t stream)
{
    uint8_t head[FRAME_HEADER_SIZE];

    frame_put_header(head, type, stream, 0);
    ck_assert_msg(send(fd, head, sizeof(head), MSG_NOSIGNAL) == sizeof(head), "the connection was closed");
}

/* The next one's stream. 0: none came. */
static uint32_t take(int fd, uint16_t type, int wait_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    uint8_t head[FRAME_HEADER_SIZE];

    if (poll(&p, 1, wait_ms) == 0)
        return 0;
    ck_assert_int_eq(recv(fd, head, sizeof(head), 0), sizeof(head));
    ck_assert_int_eq(head[4] | head[5] << 8, type);
    return head[8] | (uint32_t)head[9] << 8;
}

/* Each user's request comes to the guest. The last one's stream there. */
static uint32_t expect_all_served(void)
{
    uint32_t stream = 0;

    for (unsigned i = 0; i < SESSION_USERS_MAX; i++) {
        put(users[i].guest.fd, MSG_PING, 1);
        stream = take(peer, MSG_PING, WAIT_MS);
        ck_assert_msg(stream != 0, "user %u is not served", i);
    }
    return stream;
}

/* ---- making one ---------------------------------------------------------------------------------- */

static void wait_for_state(struct session *s, const char *wanted)
{
    for (int64_t end = deadline_in_ms(WAIT_MS); clock_monotonic_ns() < end; usleep(1000)) {
        json_t *j = session_show(s);
        bool reached = strcmp(json_string_value(json_object_get(j, "state")), wanted) == 0;
        json_decref(j);
        if (reached)
            return;
    }
    ck_abort_msg("the session's state is never %s", wanted);
}

static void expect_none_listed(void)
{
    json_t *j = sessions_show(all, "client");

    ck_assert_int_eq(json_integer_value(json_object_get(j, "count")), 0);
    json_decref(j);
}

/* Also when it is at its end before who made it has looked. */
START_TEST(a_session_that_was_ready_is_made)
{
    const bool dies = _i % 2;
    struct refusal r = {0};

    vm = dies ? STARTS_AND_DIES : STARTS;
    struct session *s = create(dies ? 300 : 0, false, &r);
    ck_assert_msg(s != NULL, "%s", r.text);
    wait_for_state(s, dies ? "lost" : "expired");
    session_unref(s);
}
END_TEST

START_TEST(what_is_remembered_holds_no_file)
{
    struct refusal r = {0};
    uint64_t before = usage_open_files();

    vm = STARTS_AND_DIES;
    struct session *s = create(300, false, &r);
    ck_assert_msg(s != NULL, "%s", r.text);
    session_unref(s);
    for (int64_t end = deadline_in_ms(WAIT_MS); usage_open_files() > before; usleep(1000))
        ck_assert(clock_monotonic_ns() < end);
    json_t *j = sessions_show(all, "client");
    ck_assert_int_eq(json_integer_value(json_object_get(j, "count")), 1);
    json_decref(j);
}
END_TEST

START_TEST(why_one_does_not_start_is_told)
{
    struct refusal r = {0};

    vm = FAILS;
    ck_assert_ptr_null(create(300, false, &r));
    ck_assert_int_eq(r.kind, REFUSAL_FAILED);
    ck_assert_str_eq(r.text, "there is no kernel");
    expect_none_listed();
}
END_TEST

START_TEST(nobody_keeps_one_whose_client_went_away)
{
    struct refusal r = {0};

    vm = _i ? STARTS_LATE : WAITS_FOR_CANCEL;
    ck_assert_ptr_null(create(300, true, &r));
    ck_assert_int_eq(r.kind, REFUSAL_CANCELLED);
    expect_none_listed();
}
END_TEST

/* ---- users --------------------------------------------------------------------------------------- */

START_TEST(any_number_come_and_go_before_the_session_looks)
{
    struct session *s = create_ready();
    struct session_user more;
    struct refusal r = {0};

    pthread_mutex_lock(&all->lock);
    hold();
    pthread_mutex_unlock(&all->lock);
    for (int i = 0; i < 5; i++) {
        enter_all(s);
        ck_assert_int_lt(session_enter(s, -1, SESSION_CALL, &more, &r), 0);
        ck_assert_int_eq(r.kind, REFUSAL_LIMIT);
        leave_all();
    }
    enter_all(s);
    session_leave(&users[3]); /* neither the first nor the last */
    ck_assert_int_eq(enter(s, 3, &r), 0);
    let_go();
    expect_all_served();
    leave_all();
    session_unref(s);
}
END_TEST

/* Stops the session's thread after it has seen what happened to the users, and before it looks who is new. */
static void hold_between(uint32_t stream)
{
    const int fd = users[SESSION_USERS_MAX - 1].guest.fd;

    for (int i = 0; i < 100; i++) {
        pthread_mutex_lock(&all->lock);
        put(peer, MSG_PONG, stream);
        bool passed = take(fd, MSG_PONG, 100) != 0; /* or else it waits for the lock already */
        if (passed)
            hold();
        pthread_mutex_unlock(&all->lock);
        if (passed)
            return;
        take(fd, MSG_PONG, WAIT_MS);
        put(fd, MSG_PING, 1);
        stream = take(peer, MSG_PING, WAIT_MS);
    }
    ck_abort_msg("the session is never at rest");
}

START_TEST(who_comes_for_one_that_left_is_served)
{
    struct session *s = create_ready();

    enter_all(s);
    hold_between(expect_all_served());
    leave_all();
    enter_all(s);
    let_go();
    expect_all_served();
    leave_all();
    session_unref(s);
}
END_TEST

static void *come_and_go(void *session)
{
    for (int i = 0; i < 300; i++) {
        struct session_user u;
        struct refusal r = {0};
        if (session_enter(session, -1, i % 2 ? SESSION_CALL : SESSION_TERMINAL, &u, &r) == 0)
            session_leave(&u);
        else
            ck_assert_int_eq(r.kind, REFUSAL_LIMIT);
    }
    return NULL;
}

START_TEST(many_come_and_go_at_once)
{
    struct session *s = create_ready();
    pthread_t threads[2 * SESSION_USERS_MAX];

    for (unsigned i = 0; i < 2 * SESSION_USERS_MAX; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, come_and_go, s), 0);
    for (unsigned i = 0; i < 2 * SESSION_USERS_MAX; i++)
        pthread_join(threads[i], NULL);
    enter_all(s);
    expect_all_served();
    leave_all();
    session_unref(s);
}
END_TEST

START_TEST(users_of_a_lost_session_are_told)
{
    struct session *s = create_ready();
    struct refusal r = {0};
    char why[200];

    enter_all(s);
    expect_all_served();
    close_fd(&peer);
    for (unsigned i = 0; i < SESSION_USERS_MAX; i++) {
        struct pollfd p = {.fd = users[i].guest.fd, .events = POLLIN};
        char byte;
        ck_assert_int_eq(poll(&p, 1, WAIT_MS), 1);
        ck_assert_int_eq(recv(p.fd, &byte, 1, 0), 0);
    }
    ck_assert(session_ended(s, why, sizeof(why)));
    leave_all();
    ck_assert_int_lt(enter(s, 0, &r), 0);
    ck_assert_int_eq(r.kind, REFUSAL_GONE);
    session_unref(s);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("session");

    unit_fixture(&u, setup, teardown);
    unit_add_loop(&u, a_session_that_was_ready_is_made, 20);
    unit_add(&u, what_is_remembered_holds_no_file);
    unit_add(&u, why_one_does_not_start_is_told);
    unit_add_loop(&u, nobody_keeps_one_whose_client_went_away, 2);
    if (can_hold) {
        unit_add(&u, any_number_come_and_go_before_the_session_looks);
        unit_add(&u, who_comes_for_one_that_left_is_served);
    }
    unit_add(&u, many_come_and_go_at_once);
    unit_add(&u, users_of_a_lost_session_are_told);
    return unit_end(&u);
}
