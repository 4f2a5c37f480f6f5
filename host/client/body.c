/* What is sent: addresses, tokens and the JSON of a request. */
#include "client/client.h"

#include "base/cleanup.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#define TOKEN_SIZE_MAX 1024
#define READ_CHUNK 65536

/* ---- where, and who ------------------------------------------------------------------------------ */

int client_address(const char *url, char **base, const char **socket, struct error *e)
{
    size_t size = strlen(url);
    const char *rest = strncmp(url, "http://", 7) == 0    ? url + 7
                       : strncmp(url, "https://", 8) == 0 ? url + 8
                                                          : "";

    *socket = NULL;
    if (strncmp(url, "unix:/", 6) == 0) {
        *socket = url + 5;
        if (strlen(*socket) >= sizeof(((struct sockaddr_un *)0)->sun_path))
            return error_set(e, ERROR_USAGE,
                             "--api %.64s...: the path of a Unix socket has at most %zu bytes", url,
                             sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
        *base = text_copy("http://localhost");
        return 0;
    }
    if (strchr(rest, '@'))
        return error_set(e, ERROR_USAGE,
                         "--api: the URL cannot hold a name or a password; a token comes from "
                         "CAPSID_API_TOKEN or --api-token-file");
    if (!rest[0] || rest[0] == '/' || strpbrk(rest, "?# "))
        return error_set(e, ERROR_USAGE,
                         "--api %.64s: must be http://HOST:PORT, https://HOST:PORT or unix:/PATH", url);
    while (url[size - 1] == '/')
        size--;
    *base = text_format("%.*s", (int)size, url);
    return 0;
}

/* The user may have named a pipe of the shell: <(...) */
static int read_token_file(const char *path, const struct cancel *cancel, struct buffer *ret, struct error *e)
{
    cleanup_fd int fd = open(path, O_RDONLY | O_NOCTTY | O_CLOEXEC);

    if (fd < 0)
        return error_errno(e, "cannot open %s", path);
    return file_read_input(fd, path, TOKEN_SIZE_MAX, cancel, ret, e);
}

int client_token(const struct client *c, char **ret, struct error *e)
{
    cleanup_buffer struct buffer text = {0};
    const char *file = c->token_file && c->token_file[0] ? c->token_file : NULL,
               *variable = getenv("CAPSID_API_TOKEN");

    *ret = NULL;
    if (!file && (!variable || !variable[0]))
        return 0;
    if (!file)
        buffer_add(&text, variable, strlen(variable));
    else if (read_token_file(file, &c->cancel, &text, e) < 0)
        return error_wrap(e, "--api-token-file");
    else if (!text.data || strlen(text.data) != text.size)
        return error_set(e, ERROR_USAGE, "%s holds no token", file);
    const char *token = text_trim(text.data);
    for (const char *p = token; *p; p++)
        if (*p <= ' ' || *p > '~')
            token = "";
    if (!token[0])
        return error_set(e, ERROR_USAGE, "%s holds no token; it is one line of letters and digits",
                         file ? file : "CAPSID_API_TOKEN");
    *ret = text_copy(token);
    return 0;
}

/* ---- bytes --------------------------------------------------------------------------------------- */

/* How long the bytes are as a JSON string; SIZE_MAX: they cannot be one. */
static size_t escaped_size(const struct buffer *b)
{
    size_t size = b->size;

    if (b->size && (text_utf8_prefix(b->data, b->size) != b->size || memchr(b->data, '\0', b->size)))
        return SIZE_MAX;
    for (size_t i = 0; i < b->size; i++) {
        unsigned char c = (unsigned char)b->data[i];
        if (c < ' ')
            size += c == '\n' || c == '\t' || c == '\r' ? 1 : 5;
        else if (c == '"' || c == '\\')
            size += 1;
    }
    return size;
}

/* Any bytes under that key: as text, or in base64 where that is all that works or shorter. */
static void set_bytes(json_t *j, const char *key, const char *encoding_key, const struct buffer *b)
{
    if (escaped_size(b) <= b->size / 3 * 4 + 64) {
        json_object_set_new(j, key, json_stringn(b->data ? b->data : "", b->size));
        return;
    }
    cleanup_free char *encoded = text_base64(b->data, b->size);
    json_object_set_new(j, key, json_string(encoded));
    json_object_set_new(j, encoding_key, json_string("base64"));
}

/* what says what it is, for the message. */
static int set_text(json_t *j, const char *key, const char *text, const char *what, struct error *e)
{
    json_t *value = json_string(text);

    if (!value)
        return error_set(e, ERROR_USAGE, "%s is not UTF-8, and only such can be sent to a server", what);
    if (json_is_array(j))
        json_array_append_new(j, value);
    else
        json_object_set_new(j, key, value);
    return 0;
}

/* ---- parts --------------------------------------------------------------------------------------- */

static int add_file(json_t *files, const struct source_file *f, struct error *e)
{
    json_t *j = json_object();

    json_array_append_new(files, j);
    if (set_text(j, "name", f->name, f->told, e) < 0)
        return -1;
    if (S_ISDIR(f->mode)) {
        json_object_set_new(j, "directory", json_true());
        return 0;
    }
    if (S_ISLNK(f->mode))
        return set_text(j, "link", f->content.data, "the target of a symbolic link", e);
    set_bytes(j, "content", "encoding", &f->content);
    if (f->mode & 0100)
        json_object_set_new(j, "executable", json_true());
    return 0;
}

static int set_sources(json_t *j, const struct run_request *r, struct error *e)
{
    const struct sources *s = r->sources;

    if (s->count == 0)
        return error_set(e, ERROR_USAGE, "there is no file to run");
    if (!s->files[0].name) {
        if (!r->language)
            return error_set(e, ERROR_USAGE,
                             "--lang is required for a program that is not in a file with an extension");
        set_bytes(j, "code", "code_encoding", &s->files[0].content);
        return 0;
    }
    json_t *files = json_array();
    json_object_set_new(j, "files", files);
    for (size_t i = 0; i < s->count; i++)
        if (add_file(files, &s->files[i], e) < 0)
            return -1;
    if (s->tree)
        json_object_set_new(j, "tree", json_true());
    return r->entry ? set_text(j, "entry", r->entry, "--entry", e) : 0;
}

static int set_words(json_t *j, const struct run_request *r, struct error *e)
{
    json_t *args = json_array(), *env = json_object();

    json_object_set_new(j, "args", args);
    json_object_set_new(j, "env", env);
    for (size_t i = 0; r->args && r->args[i]; i++)
        if (set_text(args, NULL, r->args[i], "an argument of the program", e) < 0)
            return -1;
    for (size_t i = 0; r->env && r->env[i]; i++) {
        const char *equals = strchr(r->env[i], '=');
        cleanup_free char *name = text_format("%.*s", (int)(equals - r->env[i]), r->env[i]);
        if (set_text(env, name, equals + 1, name, e) < 0)
            return -1;
    }
    return r->cwd ? set_text(j, "cwd", r->cwd, "--cwd", e) : 0;
}

static int set_stdin(json_t *j, const struct run_request *r, const struct cancel *cancel,
                     struct buffer *ret_input, struct error *e)
{
    cleanup_buffer struct buffer input = {0};
    cleanup_free char *chunk = memory_allocate(READ_CHUNK);

    while (r->stdin_fd >= 0) {
        if (deadline_wait_fd(r->stdin_fd, POLLIN, DEADLINE_NEVER, cancel, e) < 0)
            return -1;
        ssize_t n = read(r->stdin_fd, chunk, READ_CHUNK);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return error_errno(e, "cannot read the program's standard input");
        if (n == 0)
            break;
        buffer_add(&input, chunk, (size_t)n);
        if (input.size > CLIENT_STDIN_MAX)
            return error_set(
                e, ERROR_USAGE,
                "the program's standard input is larger than %u MiB, the most that a server takes; "
                "put it in a file of the program, or run without --api",
                CLIENT_STDIN_MAX >> 20);
    }
    if (input.size > CLIENT_STDIN_JSON_MAX) {
        *ret_input = input;
        input = (struct buffer){0};
    } else if (r->stdin_fd >= 0) {
        set_bytes(j, "stdin", "stdin_encoding", &input);
    }
    return 0;
}

json_t *client_body(const struct client *c, const struct run_request *r, uint64_t max_output,
                    struct buffer *ret_input, struct error *e)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"timeout", r->timeout},   {"build_timeout", r->build_timeout}, {"memory_mib", r->shape.memory_mib},
        {"vcpus", r->shape.vcpus}, {"disk_mib", r->shape.disk_mib},     {"max_output", max_output},
    };
    json_t *j = json_object();

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (numbers[i].value)
            json_object_set_new(j, numbers[i].name, json_integer((json_int_t)numbers[i].value));
    if (r->cold)
        json_object_set_new(j, "snapshot", json_false());
    if (r->unprimed)
        json_object_set_new(j, "prime", json_false());
    if ((!r->language || set_text(j, "language", r->language, "--lang", e) == 0) &&
        set_sources(j, r, e) == 0 && set_words(j, r, e) == 0 &&
        set_stdin(j, r, &c->cancel, ret_input, e) == 0)
        return j;
    json_decref(j);
    return NULL;
}
