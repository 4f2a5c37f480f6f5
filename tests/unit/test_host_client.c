/* client/: addresses, tokens, and what is sent of a request. The rest is tested against live servers. */
#include "base/file.h"
#include "client/client.h"

#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct error e;
static char path[64];
static const struct client client = {.cancel = {.fd = -1}};

static void setup(void)
{
    e = (struct error){0};
    unsetenv("CAPSID_API_TOKEN");
    strcpy(path, "/tmp/capsid-client-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void teardown(void)
{
    unlink(path);
}

START_TEST(addresses)
{
    const struct {
        const char *url, *base, *socket; /* base NULL: an error */
    } cases[] = {
        {"http://h", "http://h", NULL},
        {"https://h:1//", "https://h:1", NULL},
        {"http://[::1]:80/a/", "http://[::1]:80/a", NULL},
        {"unix:/s", "http://localhost", "/s"},
        {"unix:s", NULL, NULL},
        {"", NULL, NULL},
        {"http://", NULL, NULL},
        {"http:///x", NULL, NULL},
        {"ftp://h", NULL, NULL},
        {"h:80", NULL, NULL},
        {"http://a:b@h", NULL, NULL},
        {"http://h?x", NULL, NULL},
        {"http://h#x", NULL, NULL},
        {"http://h x", NULL, NULL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *socket;
        char *base = NULL;
        int result = client_address(cases[i].url, &base, &socket, &e);
        ck_assert_msg((result == 0) == (cases[i].base != NULL), "%s: %s", cases[i].url, e.text);
        if (result == 0) {
            ck_assert_str_eq(base, cases[i].base);
            ck_assert_pstr_eq(socket, cases[i].socket);
        }
        free(base);
    }
}
END_TEST

START_TEST(a_socket_path_is_bounded)
{
    char url[200] = "unix:/";
    const char *socket;
    char *base = NULL;

    memset(url + 6, 'x', 106); /* 107 bytes with the slash, sun_path without its NUL */
    ck_assert_int_eq(client_address(url, &base, &socket, &e), 0);
    free(base);
    url[6 + 106] = 'x';
    ck_assert_int_eq(client_address(url, &base, &socket, &e), -1);
}
END_TEST

static void expect_token(const char *text, const char *wanted)
{
    struct client c = {.token_file = path, .cancel = {.fd = -1}};
    char *token = NULL;

    e = (struct error){0};
    ck_assert_int_eq(file_replace(path, "/tmp", text, strlen(text), 0600, &e), 0);
    int result = client_token(&c, &token, &e);
    ck_assert_int_eq(result, wanted ? 0 : -1);
    ck_assert_pstr_eq(token, wanted);
    if (!wanted)
        ck_assert_ptr_nonnull(strstr(e.text, path));
    free(token);
}

START_TEST(tokens)
{
    char *token = NULL;

    expect_token("secret\n", "secret");
    expect_token(" \tsecret \n\n", "secret");
    expect_token("", NULL);
    expect_token("\n", NULL);
    expect_token("a b", NULL);
    expect_token("a\nX-Other: header", NULL);
    ck_assert_int_eq(client_token(&client, &token, &e), 0);
    ck_assert_ptr_null(token);
    setenv("CAPSID_API_TOKEN", "other", 1);
    ck_assert_int_eq(client_token(&client, &token, &e), 0);
    ck_assert_str_eq(token, "other");
    free(token);
    expect_token("secret", "secret"); /* the file counts */
    setenv("CAPSID_API_TOKEN", "a\r\nb", 1);
    ck_assert_int_eq(client_token(&client, &token, &e), -1);
}
END_TEST

static size_t sent_apart; /* bytes of standard input that are not in the body */

/* The body of a request for code of size bytes, as text. */
static char *body_of(struct request r, const void *code, size_t size)
{
    struct buffer b = {0};

    buffer_add(&b, code, size);
    ck_assert_int_eq(sources_add_code(&r.sources, &b, NULL, &e), 0);
    struct buffer input = {0};
    json_t *j = client_body(&client, &r, &input, &e);
    ck_assert_uint_eq(input.size, sent_apart);
    buffer_free(&input);
    char *text = j ? json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(j);
    sources_done(&r.sources);
    return text;
}

START_TEST(bodies)
{
    const char *const args[] = {"a", "", NULL}, *const env[] = {"A=b=c", "A=d", NULL},
                      *const bad[] = {"\xff", NULL};
    struct request r = {.run.language = "sh", .run.stdin_fd = -1};
    char *text = body_of(r, "1\n", 2);

    ck_assert_str_eq(text, "{\"code\":\"1\\n\",\"language\":\"sh\"}");
    free(text);
    r.run.args = args;
    r.run.env = env;
    r.run.cwd = "/";
    r.run.timeout = 3;
    r.run.shape.disk_mib = 16;
    r.run.cold = r.run.unprimed = true;
    text = body_of(r, "\xff", 1);
    ck_assert_str_eq(text, "{\"args\":[\"a\",\"\"],\"code\":\"/w==\",\"code_encoding\":\"base64\",\"cwd\":\"/"
                           "\",\"disk_mib\":16,\"env\":{\"A\":\"d\"},\"language\":\"sh\",\"prime\":false,"
                           "\"snapshot\":false,\"timeout\":3}");
    free(text);
    r = (struct request){.run = {.language = "sh", .stdin_fd = -1, .args = bad}};
    ck_assert_ptr_null(body_of(r, "", 0));
    r = (struct request){.run.stdin_fd = -1};
    ck_assert_ptr_null(body_of(r, "", 0));
}
END_TEST

START_TEST(what_escapes_blow_up_is_base64)
{
    char *code = memory_allocate(300000);
    struct request r = {.run.language = "sh", .run.stdin_fd = -1};

    memset(code, 1, 300000);
    char *text = body_of(r, code, 300000);
    ck_assert_ptr_nonnull(strstr(text, "base64"));
    ck_assert_uint_lt(strlen(text), 400200);
    free(text);
    memset(code, '\n', 100);
    memset(code + 100, 'x', 300000 - 100);
    text = body_of(r, code, 300000);
    ck_assert_ptr_null(strstr(text, "base64"));
    free(text);
    memset(code, 0, 10);
    text = body_of(r, code, 10);
    ck_assert_ptr_nonnull(strstr(text, "base64"));
    free(text);
    free(code);
}
END_TEST

START_TEST(files)
{
    struct request r = {.run = {.stdin_fd = -1, .entry = "b"}, .max_output = 7};
    struct sources *s = &r.sources;
    struct buffer content = {0};

    buffer_add(&content, "x", 1);
    ck_assert_int_eq(sources_add_named(s, "a/b", true, &content, &e), 0);
    ck_assert_int_eq(sources_add_named_directory(s, "a", &e), 0); /* is there */
    ck_assert_int_eq(sources_add_named_directory(s, "a/c", &e), 0);
    ck_assert_int_eq(sources_add_named_directory(s, "a/b", &e), -1);
    ck_assert_int_eq(sources_add_named_directory(s, "a/b/c", &e), -1);
    ck_assert_int_eq(sources_add_named_directory(s, "../c", &e), -1);
    ck_assert_int_eq(sources_add_named_link(s, "l", "a/b", &e), 0);
    s->tree = true;
    json_t *j = client_body(&client, &r, NULL, &e);
    char *text = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS);
    ck_assert_str_eq(text, "{\"entry\":\"b\",\"files\":[{\"directory\":true,\"name\":\"a\"},"
                           "{\"content\":\"x\",\"executable\":true,\"name\":\"a/b\"},"
                           "{\"directory\":true,\"name\":\"a/c\"},{\"link\":\"a/b\",\"name\":\"l\"}],"
                           "\"max_output\":7,\"tree\":true}");
    free(text);
    json_decref(j);
    sources_done(s);
}
END_TEST

static int input_of(size_t size)
{
    char *zeros = memory_allocate(size + 1);
    FILE *f = tmpfile();

    ck_assert_uint_eq(fwrite(zeros, 1, size, f), size);
    fflush(f);
    int fd = dup(fileno(f));
    fclose(f);
    lseek(fd, 0, SEEK_SET);
    free(zeros);
    return fd;
}

START_TEST(standard_input_is_bounded)
{
    const size_t sizes[] = {0, REQUEST_STDIN_MAX, REQUEST_STDIN_MAX + 1, REQUEST_STDIN_PART_MAX,
                            REQUEST_STDIN_PART_MAX + 1};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        int fd = input_of(sizes[i]);
        sent_apart = i == 2 || i == 3 ? sizes[i] : 0;
        char *text = body_of((struct request){.run = {.language = "sh", .stdin_fd = fd}}, "", 0);
        ck_assert_int_eq(text != NULL, i < 4);
        ck_assert_int_eq(text && strstr(text, "\"stdin\""), i < 2);
        free(text);
        close(fd);
    }
    ck_assert_ptr_nonnull(strstr(e.text, "larger than 64 MiB"));
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("host_client");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, addresses);
    unit_add(&u, a_socket_path_is_bounded);
    unit_add(&u, tokens);
    unit_add(&u, bodies);
    unit_add(&u, what_escapes_blow_up_is_base64);
    unit_add(&u, files);
    unit_add(&u, standard_input_is_bounded);
    return unit_end(&u);
}
