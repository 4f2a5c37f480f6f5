/* api/ and service/: paths, tokens and ids, each alone. */
#include "api/server.h"
#include "base/cleanup.h"
#include "base/file.h"

#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- routes -------------------------------------------------------------------------------------- */

START_TEST(paths_and_methods)
{
    const struct {
        const char *method, *path, *pattern, *argument;
        enum refusal_kind kind;
    } rows[] = {
        {"GET", "/health", "/health", "", REFUSAL_NONE},
        {"HEAD", "/health", "/health", "", REFUSAL_NONE},
        {"GET", "/api/v1/languages/c", "/api/v1/languages/{}", "c", REFUSAL_NONE},
        {"DELETE", "/api/v1/operations/op-1", "/api/v1/operations/{}", "op-1", REFUSAL_NONE},
        {"POST", "/api/v1/sessions/s/execute", "/api/v1/sessions/{}/execute", "s", REFUSAL_NONE},
        {"PUT", "/api/v1/sessions/s/files/a/b/", "/api/v1/sessions/{}/files/{*}", "s", REFUSAL_NONE},
        {"GET", "/api/v1/sessions/s/files/", "/api/v1/sessions/{}/files/{*}", "s", REFUSAL_NONE},
        {"GET", "/api/v1/sessions/s/files", NULL, NULL, REFUSAL_NOT_FOUND},
        {"POST", "/api/v1/sessions//execute", NULL, NULL, REFUSAL_NOT_FOUND},
        {"GET", "/api/v1/languages/", NULL, NULL, REFUSAL_NOT_FOUND},
        {"GET", "/api/v1/languages/a/b", NULL, NULL, REFUSAL_NOT_FOUND},
        {"GET", "/health/", NULL, NULL, REFUSAL_NOT_FOUND},
        {"GET", "", NULL, NULL, REFUSAL_NOT_FOUND},
        {"get", "/health", NULL, NULL, REFUSAL_METHOD},
        {"GET", "/api/v1/execute", NULL, NULL, REFUSAL_METHOD},
        {"OPTIONS", "/health", NULL, NULL, REFUSAL_METHOD},
    };
    char argument[ROUTE_ARGUMENT_MAX], allow[ROUTE_ALLOW_MAX];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct refusal r = {0};
        const struct route *found = route_find(api_routes, rows[i].method, rows[i].path, argument, allow, &r);
        ck_assert_msg(r.kind == rows[i].kind && !found == !rows[i].pattern, "%s %s", rows[i].method,
                      rows[i].path);
        if (found) {
            ck_assert_str_eq(found->pattern, rows[i].pattern);
            ck_assert_str_eq(argument, rows[i].argument);
        }
    }
    struct refusal r = {0};
    route_find(api_routes, "PUT", "/api/v1/operations/x", argument, allow, &r);
    ck_assert_str_eq(allow, "GET, HEAD, DELETE, OPTIONS");
}
END_TEST

START_TEST(every_refusal_has_a_code_of_its_own)
{
    for (enum refusal_kind a = REFUSAL_INVALID; a <= REFUSAL_RANGE; a++) {
        ck_assert(refusal_status(a) >= 400 && refusal_status(a) < 600);
        for (enum refusal_kind b = REFUSAL_INVALID; b < a; b++)
            ck_assert_str_ne(refusal_code(a), refusal_code(b));
    }
}
END_TEST

/* ---- ids ----------------------------------------------------------------------------------------- */

START_TEST(ids_are_taken_when_they_are_well_formed)
{
    static const char parent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    static const char *const bad[] = {"", "00-0", "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                                      "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                                      "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"};
    struct trace t, other;

    trace_begin(&t, "abc-1", parent);
    ck_assert_str_eq(t.id, "abc-1");
    ck_assert(strncmp(t.parent, parent, 36) == 0 && strncmp(t.parent + 36, parent + 36, 16) != 0);
    ck_assert(strlen(t.parent) == 55 && strcmp(t.parent + 52, "-01") == 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        trace_begin(&t, "a b", bad[i]);
        ck_assert(strncmp(t.id, "tr-", 3) == 0 && strlen(t.parent) == 55);
        ck_assert(strncmp(t.parent, parent, 36) != 0);
    }
    trace_begin(&t, NULL, NULL);
    trace_begin(&other, NULL, NULL);
    ck_assert_str_ne(t.id, other.id);
}
END_TEST

/* ---- tokens -------------------------------------------------------------------------------------- */

static char file[64];

static void write_file(const char *text)
{
    FILE *f = fopen(file, "we");

    ck_assert(f && fputs(text, f) >= 0 && fclose(f) == 0 && chmod(file, 0600) == 0);
}

static void make_file(void)
{
    snprintf(file, sizeof(file), "/tmp/tokens-%d", (int)getpid());
}

static struct tokens *open_file(const struct token_limits *defaults, struct error *e)
{
    cleanup_fd int fd = open(file, O_RDONLY | O_CLOEXEC);

    return tokens_open(file, fd, defaults, e);
}

static int reload_file(struct tokens *t, struct error *e)
{
    cleanup_fd int fd = open(file, O_RDONLY | O_CLOEXEC);

    return tokens_reload(t, fd, e);
}

static void remove_file(void)
{
    unlink(file);
}

START_TEST(what_one_client_holds_leaves_room_for_another)
{
    const struct token_limits none = {0};
    struct refusal r = {0};
    struct error e = {0};

    write_file("a 0000000000000000000000000000000000000000000000000000000000000000\n"
               "b 1111111111111111111111111111111111111111111111111111111111111111\n");
    struct tokens *t = open_file(&none, &e);
    ck_assert_msg(t, "%s", e.text);
    ck_assert_int_eq(tokens_hold(t, 0, 500, 500, 1000, &r), 0);
    ck_assert_int_lt(tokens_hold(t, 0, 1, 501, 1000, &r), 0); /* half of all */
    ck_assert(r.kind == REFUSAL_LIMIT && r.retry_after > 0);
    ck_assert_int_lt(tokens_hold(t, 1, 251, 751, 1000, &r), 0);
    ck_assert_int_eq(tokens_hold(t, 1, 250, 750, 1000, &r), 0); /* half of what is left */
    tokens_release(t, 0, 500);
    ck_assert_int_eq(tokens_hold(t, 1, 250, 500, 1000, &r), 0);
    ck_assert_int_lt(tokens_hold(t, 0, 1, 1001, 1000, &r), 0);
    tokens_close(t);
    t = tokens_open(NULL, -1, &none, &e);
    ck_assert_int_eq(tokens_hold(t, 0, 1000, 1000, 1000, &r), 0); /* there is nobody else */
    tokens_close(t);
}
END_TEST

START_TEST(tokens_are_known_by_their_digest)
{
    const struct token_limits none = {0};
    struct refusal r = {0};
    struct error e = {0};
    char *token, *line, name[65];

    ck_assert(tokens_make("bob", &token, &line, &e) == 0);
    ck_assert(!strstr(line, token + 7));
    cleanup_free char *text = text_format("# all\n\n%s rate=5 concurrent=1 # him\n", line);
    cleanup_free char *header = text_format("Bearer %s", token), *cut = text_format("Bearer %.20s", token);
    write_file(text);
    struct tokens *t = open_file(&none, &e);
    ck_assert_msg(t, "%s", e.text);
    int client = tokens_check(t, header, &r);
    ck_assert_int_ge(client, 0);
    tokens_name(t, client, name);
    ck_assert_str_eq(name, "bob");
    ck_assert(tokens_check(t, cut, &r) < 0 && r.kind == REFUSAL_BAD_TOKEN);
    ck_assert(tokens_check(t, "Basic x", &r) < 0 && r.kind == REFUSAL_BAD_TOKEN);
    ck_assert(tokens_check(t, NULL, &r) < 0 && r.kind == REFUSAL_NO_TOKEN);
    ck_assert(tokens_begin_work(t, client, &r) == 0 && tokens_begin_work(t, client, &r) < 0);
    ck_assert(r.kind == REFUSAL_LIMIT && r.retry_after > 0);
    tokens_end_work(t, client);
    ck_assert(tokens_begin_work(t, client, &r) == 0);
    write_file("eve 0000000000000000000000000000000000000000000000000000000000000000\n");
    ck_assert(reload_file(t, &e) == 0);
    ck_assert(tokens_check(t, header, &r) < 0);
    write_file("not a token file\n");
    ck_assert(reload_file(t, &e) < 0);
    tokens_end_work(t, client);
    tokens_close(t);
    free(token);
    free(line);
}
END_TEST

START_TEST(a_bucket_runs_empty_and_fills)
{
    const struct token_limits limits = {.rate = 10, .burst = 3};
    const int64_t second = 1000000000;
    struct refusal r = {0};
    struct error e = {0};
    struct tokens *t = tokens_open(NULL, -1, &limits, &e);
    int taken = 0;

    ck_assert_int_eq(tokens_check(t, NULL, &r), 0);
    while (tokens_take_request(t, 0, second, &r) == 0)
        taken++;
    ck_assert_int_eq(taken, 3);
    ck_assert(r.kind == REFUSAL_LIMIT && r.retry_after == 1);
    ck_assert(tokens_take_request(t, 0, second + second / 20, &r) < 0);
    ck_assert(tokens_take_request(t, 0, second + second / 9, &r) == 0);
    for (taken = 0; tokens_take_request(t, 0, 100 * second, &r) == 0; taken++)
        ;
    ck_assert_int_eq(taken, 3); /* it holds no more */
    tokens_close(t);
}
END_TEST

START_TEST(bad_token_files_are_refused)
{
    static const char digest[] = "1b358fe8e9fe63997a9f61b699e4902326935d9ca51d38631f2ed80af634f369";
    const struct token_limits none = {0};
    const char *const bad[] = {
        "", "bob\n", "bob 12\n", "b/b %s\n", "bob %s rate=x\n", "bob %s fast\n", "bob %s\nbob %s\n"};
    struct error e = {0};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct buffer text = {0};
        for (const char *p = bad[i]; *p; p++)
            if (strncmp(p, "%s", 2) == 0)
                buffer_add(&text, digest, 64), p++;
            else
                buffer_add(&text, p, 1);
        write_file(text.data ? text.data : "");
        ck_assert_msg(!open_file(&none, &e), "%s", bad[i]);
        buffer_free(&text);
    }
    cleanup_free char *good = text_format("bob %s\n", digest);
    write_file(good);
    ck_assert(chmod(file, 0666) == 0);
    ck_assert(!open_file(&none, &e));
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("api_parts");

    unit_fixture(&u, make_file, remove_file);
    unit_add(&u, paths_and_methods);
    unit_add(&u, every_refusal_has_a_code_of_its_own);
    unit_add(&u, ids_are_taken_when_they_are_well_formed);
    unit_add(&u, what_one_client_holds_leaves_room_for_another);
    unit_add(&u, tokens_are_known_by_their_digest);
    unit_add(&u, a_bucket_runs_empty_and_fills);
    unit_add(&u, bad_token_files_are_refused);
    return unit_end(&u);
}
