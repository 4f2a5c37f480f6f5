/* vmm/: the client of Firecracker's API, against servers that misbehave. */
#include "base/file.h"
#include "base/text.h"
#include "vmm/firecracker_api.h"

#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char root[64];
static struct error e;

/* A server that takes one connection, reads one request, sends a fixed text, and closes unless told to hold. */
struct server {
    pthread_t thread;
    int listener;
    char path[108];
    const char *answer;
    size_t answer_size;
    bool hold;
    char request[4096];
};

static void setup(void)
{
    strcpy(root, "/tmp/capsid-firecracker-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    e = (struct error){0};
}

static void teardown(void)
{
    file_remove_tree(root, &e);
}

static void *serve(void *argument)
{
    struct server *s = argument;
    int fd = accept(s->listener, NULL, NULL);
    size_t size = 0;
    ssize_t n;

    while (size < sizeof(s->request) - 1 && !strstr(s->request, "\r\n\r\n") &&
           (n = read(fd, s->request + size, sizeof(s->request) - 1 - size)) > 0)
        size += (size_t)n;
    for (size_t sent = 0; sent < s->answer_size; sent += (size_t)n)
        if ((n = send(fd, s->answer + sent, s->answer_size - sent, MSG_NOSIGNAL)) <= 0)
            break;
    if (s->hold) /* until the client goes away */
        while (read(fd, s->request, 1) > 0)
            ;
    close(fd);
    return NULL;
}

static void server_start(struct server *s, const char *answer, bool hold)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *s = (struct server){.answer = answer, .answer_size = strlen(answer), .hold = hold};
    snprintf(s->path, sizeof(s->path), "%s/api", root);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", s->path);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(s->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(s->listener, 4), 0);
    ck_assert_int_eq(pthread_create(&s->thread, NULL, serve, s), 0);
}

/* One request to a server with that answer. */
static int ask(const char *answer, bool hold, int cancel_fd, int64_t deadline, json_t *body, json_t **ret,
               struct server *s)
{
    const struct cancel cancel = {.fd = cancel_fd};

    server_start(s, answer, hold);
    struct firecracker_api a = {.socket = s->path, .vmm_pidfd = -1, .deadline = deadline, .cancel = &cancel};
    int result = firecracker_api_call(&a, body ? "PUT" : "GET", "/thing", body, ret, &e);
    firecracker_api_close(&a);
    pthread_join(s->thread, NULL);
    close(s->listener);
    unlink(s->path);
    return result;
}

START_TEST(sends_a_body_and_takes_an_empty_answer)
{
    struct server s;

    ck_assert_int_eq(ask("HTTP/1.1 204 No Content\r\n\r\n", false, -1, deadline_in_ms(20000),
                         json_pack("{s:i}", "n", 7), NULL, &s),
                     0);
    ck_assert_ptr_nonnull(strstr(s.request, "PUT /thing HTTP/1.1\r\n"));
    ck_assert_ptr_nonnull(strstr(s.request, "Content-Type: application/json\r\n"));
    ck_assert_ptr_nonnull(strstr(s.request, "Content-Length: 7\r\n"));
    ck_assert_ptr_null(strstr(s.request, "Expect"));
}
END_TEST

START_TEST(gives_the_json_of_an_answer)
{
    struct server s;
    json_t *answer = NULL;

    ck_assert_msg(ask("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"n\":7}", false, -1,
                      deadline_in_ms(20000), NULL, &answer, &s) == 0,
                  "%s", e.text);
    ck_assert_int_eq(json_integer_value(json_object_get(answer, "n")), 7);
    ck_assert_ptr_nonnull(strstr(s.request, "GET /thing HTTP/1.1\r\n"));
    ck_assert_ptr_null(strstr(s.request, "Transfer-Encoding"));
    ck_assert_ptr_null(strstr(s.request, "Content-"));
    json_decref(answer);
}
END_TEST

/* Answers that fail, and what the error must say. */
static const struct {
    const char *answer, *wanted;
    enum error_kind kind;
} failures[] = {
    {"HTTP/1.1 400 Bad Request\r\nContent-Length: 28\r\n\r\n{\"fault_message\":\"it is so\"}",
     "Firecracker, GET /thing: it is so (status 400)", ERROR_GENERAL},
    {"HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\n???", "GET /thing: ??? (status 500)", ERROR_GENERAL},
    {"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "no reason given (status 500)", ERROR_GENERAL},
    {"HTTP/1.1 400 Bad Request\r\nContent-Length: 34\r\n\r\n{ \"error\": \"too large.\nAll gone\" }",
     "GET /thing: { \"error\": \"too large. All gone\" } (status 400)", ERROR_GENERAL},
    {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n???", "the answer is not JSON", ERROR_GENERAL},
    {"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n", "Firecracker, GET /thing: ", ERROR_VM_LOST},
    {"no HTTP at all\r\n\r\n", "Firecracker, GET /thing: ", ERROR_VM_LOST},
    {"", "Firecracker, GET /thing: ", ERROR_VM_LOST},
};

START_TEST(fails_with_the_reason)
{
    struct server s;
    json_t *answer = NULL;

    ck_assert_int_eq(ask(failures[_i].answer, false, -1, deadline_in_ms(20000), NULL, &answer, &s), -1);
    ck_assert_int_eq(e.kind, failures[_i].kind);
    ck_assert_msg(strstr(e.text, failures[_i].wanted), "%s", e.text);
    ck_assert_ptr_null(answer);
}
END_TEST

START_TEST(refuses_an_endless_answer)
{
    static char answer[200000] = "HTTP/1.1 200 OK\r\nContent-Length: 199000\r\n\r\n";
    struct server s;
    json_t *json = NULL;

    memset(answer + strlen(answer), ' ', sizeof(answer) - 1 - strlen(answer));
    ck_assert_int_eq(ask(answer, false, -1, deadline_in_ms(20000), NULL, &json, &s), -1);
    ck_assert_msg(strstr(e.text, "longer than 65536 bytes"), "%s", e.text);
}
END_TEST

START_TEST(gives_up_at_the_deadline)
{
    struct server s;

    ck_assert_int_eq(ask("", true, -1, deadline_in_ms(50), NULL, NULL, &s), -1);
    ck_assert_int_eq(e.kind, ERROR_TIMEOUT);
}
END_TEST

START_TEST(can_be_cancelled)
{
    struct server s;
    int wish[2];

    ck_assert_int_eq(pipe(wish), 0);
    ck_assert_int_eq(write(wish[1], "", 1), 1);
    ck_assert_int_eq(ask("", true, wish[0], DEADLINE_NEVER, NULL, NULL, &s), -1);
    ck_assert_int_eq(e.kind, ERROR_CANCELLED);
    close(wish[0]);
    close(wish[1]);
}
END_TEST

START_TEST(gives_up_on_a_socket_that_never_comes)
{
    struct firecracker_api a = {
        .socket = "/nonexistent/api", .vmm_pidfd = -1, .deadline = deadline_in_ms(50)};

    ck_assert_int_eq(firecracker_api_call(&a, "GET", "/", NULL, NULL, &e), -1);
    ck_assert_int_eq(e.kind, ERROR_TIMEOUT);
    firecracker_api_close(&a);
}
END_TEST

START_TEST(shows_a_fault_in_one_harmless_line)
{
    static const char body[] = "{\"fault_message\":\"a\\nb\\u001b[31mc\"}";
    char *fault = firecracker_fault(body, sizeof(body) - 1);

    ck_assert_str_eq(fault, "a b?[31mc");
    free(fault);
    static const char wrong_type[] = "{\"fault_message\":3}";
    fault = firecracker_fault(wrong_type, sizeof(wrong_type) - 1);
    ck_assert_str_eq(fault, wrong_type);
    free(fault);
    fault = firecracker_fault(NULL, 0);
    ck_assert_str_eq(fault, "no reason given");
    free(fault);
}
END_TEST

START_TEST(reads_versions)
{
    struct firecracker_version v = {0};

    ck_assert_int_eq(firecracker_version_parse("Firecracker v1.16.1\n", &v), 0);
    ck_assert(v.major == 1 && v.minor == 16 && v.patch == 1);
    ck_assert_int_eq(firecracker_version_parse("1.17.0-dev", &v), 0);
    ck_assert(firecracker_version_at_least(&v, 1, 17) && firecracker_version_at_least(&v, 1, 7));
    ck_assert(!firecracker_version_at_least(&v, 1, 18) && !firecracker_version_at_least(&v, 2, 0));
    static const char *const bad[] = {"", "1.16", "v1.16.1", "Firecracker", "-1.2.3", "1.2.x", "1.2.34567"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(firecracker_version_parse(bad[i], &v) < 0, "%s", bad[i]);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("firecracker");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, sends_a_body_and_takes_an_empty_answer);
    unit_add(&u, gives_the_json_of_an_answer);
    unit_add_loop(&u, fails_with_the_reason, sizeof(failures) / sizeof(failures[0]));
    unit_add(&u, refuses_an_endless_answer);
    unit_add(&u, gives_up_at_the_deadline);
    unit_add(&u, can_be_cancelled);
    unit_add(&u, gives_up_on_a_socket_that_never_comes);
    unit_add(&u, shows_a_fault_in_one_harmless_line);
    unit_add(&u, reads_versions);
    return unit_end(&u);
}
