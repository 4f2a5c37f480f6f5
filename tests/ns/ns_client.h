/*
 * ns_client: starts initd as PID 1 of namespaces of its own, and talks to it as a host would.
 *
 * No VM, no network, no root: initd listens on a Unix socket (--test-listen). Everything fails the test
 * through check when it does not go as the caller says. A guest dies with the test's process.
 *
 * Where namespaces are not to be had, ns_require() ends the program with status 77 and says why.
 */
#ifndef NS_CLIENT_H
#define NS_CLIENT_H

#include "frame.h"
#include "messages.h"

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- the guest ---------------------------------------------------------------------------------- */

struct ns_guest {
    pid_t pid;     /* of initd, as seen from here */
    char dir[64];  /* a directory for files of the test; removed by ns_stop() */
    char path[96]; /* initd's socket */
};

/* Before anything else: exits with 77 when initd cannot be run here. */
void ns_require(void);

/* Starts initd. arguments: more of them, ended by NULL, or NULL. */
void ns_start(struct ns_guest *g, const char *const *arguments);

/* Kills it, and checks that it was alive until then. */
void ns_stop(struct ns_guest *g);

/* Waits for initd, which has been told to end, and checks that it did so well. */
void ns_join(struct ns_guest *g);

/* A path in the guest's directory; static, valid until the 4th call from then. */
const char *ns_in_dir(const struct ns_guest *g, const char *name);

/* How many files initd has open. */
unsigned ns_count_fds(const struct ns_guest *g);

/* For ns_wait_until(): nothing lives but initd and its spare process. */
bool ns_is_at_rest(void *guest);

/* ---- a connection ------------------------------------------------------------------------------- */

struct ns_conn {
    int fd;
    uint32_t next_stream;
    struct frame_reader reader;
    uint8_t buffer[FRAME_MAX];
};

/* Connects; with HELLO when greet is set. */
void ns_connect(const struct ns_guest *g, struct ns_conn *c, bool greet);
void ns_disconnect(struct ns_conn *c);

/* A stream id that was not used yet. */
uint32_t ns_stream(struct ns_conn *c);

void ns_send_bytes(struct ns_conn *c, const void *data, size_t size);

#define NS_SEND(c, name, stream, ...)                                                                        \
    do {                                                                                                     \
        uint8_t ns_frame[FRAME_MAX];                                                                         \
        struct msg_##name ns_message = __VA_ARGS__;                                                          \
        size_t ns_size = msg_##name##_frame(&ns_message, stream, ns_frame, sizeof(ns_frame));                \
        ck_assert_uint_gt(ns_size, 0);                                                                       \
        ns_send_bytes(c, ns_frame, ns_size);                                                                 \
    } while (0)

/* The next frame; fails when none comes within 10 s. Its payload is valid until the next call. */
struct frame ns_receive(struct ns_conn *c);

/* The next frame within timeout_ms; false: none came. */
bool ns_receive_within(struct ns_conn *c, int timeout_ms, struct frame *ret);

/* True when initd closes the connection within timeout_ms; frames before that are skipped. */
bool ns_closed_within(struct ns_conn *c, int timeout_ms);

void ns_expect_type(const struct frame *f, uint16_t type, uint32_t stream);

/* The next frame has to be this message, on this stream. */
#define NS_EXPECT(c, name, NAME, stream_id, ret)                                                             \
    do {                                                                                                     \
        struct frame ns_got = ns_receive(c);                                                                 \
        ns_expect_type(&ns_got, MSG_##NAME, stream_id);                                                      \
        ck_assert(msg_##name##_decode(ret, ns_got.payload, ns_got.length));                                  \
    } while (0)

/* The next frame has to be ERROR with this code. Returns its os_errno. */
uint32_t ns_expect_error(struct ns_conn *c, uint32_t stream, uint16_t code);
void ns_expect_ok(struct ns_conn *c, uint32_t stream);

/* ---- jobs ---------------------------------------------------------------------------------------- */

/* "a", "b", NULL as strs. The result points to static memory, valid until the 4th call from then. */
struct wire_strs ns_strs(const char *const *strings);
#define NS_STRS(...) ns_strs((const char *const[]){__VA_ARGS__, NULL})

/* EXEC of /bin/sh -c script with a plain environment; other fields can be changed before it is sent. */
struct msg_exec ns_sh(const char *script);

/* Sends EXEC and returns its stream. */
uint32_t ns_exec(struct ns_conn *c, const struct msg_exec *m);

/* What a job said, from STARTED to EXIT. */
struct ns_result {
    struct msg_started started;
    struct msg_exit exit;
    char *out, *err; /* with a NUL after the last byte; static, valid until the next collection */
    size_t out_size, err_size;
    double seconds; /* from the call to EXIT */
};

/* Reads everything up to EXIT, granting window bytes ahead of what came. */
void ns_collect(struct ns_conn *c, uint32_t stream, uint64_t window, struct ns_result *ret);

/* Runs m to its end. */
void ns_run(struct ns_conn *c, struct msg_exec m, struct ns_result *ret);

/* Runs a script to its end, and checks that it exited with status 0. */
void ns_run_sh(struct ns_conn *c, const char *script, struct ns_result *ret);

double ns_now(void);

/* Waits until what() is true, for at most 5 s. */
void ns_wait_until(bool (*what)(void *data), void *data);

/* Runs a suite of one test case and returns the exit status of the program. timeout_s: of one test. */
int ns_main(const char *name, const TTest *const *tests, size_t count, double timeout_s);

#endif
