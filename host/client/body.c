/* What is sent: addresses, tokens and the JSON of a request. */
#include "client/client.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "service/schema.h"

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

bool client_is_local(const char *base)
{
    const char *host = strstr(base, "//") + 2;

    return strncmp(host, "127.", 4) == 0 || strncmp(host, "[::1]", 5) == 0 ||
           (strncmp(host, "localhost", 9) == 0 && (!host[9] || host[9] == ':' || host[9] == '/'));
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

/* ---- the request ---------------------------------------------------------------------------------- */

#define FIELD(member) schema_find(SCHEMA_OBJECT_RUN, SCHEMA_OF_REQUEST, offsetof(struct request, member))

/* A buffer that is empty, but there. */
static struct buffer present(struct buffer b)
{
    static char empty[] = "";

    return b.data ? b : (struct buffer){.data = empty};
}

static int add_file(json_t *files, const struct source_file *f, struct error *e)
{
    bool regular = !S_ISDIR(f->mode) && !S_ISLNK(f->mode);
    const struct request_source source = {
        .name = f->name,
        .directory = S_ISDIR(f->mode),
        .link = S_ISLNK(f->mode) ? f->content.data : NULL,
        .content = regular ? present(f->content) : (struct buffer){0},
        .executable = regular && (f->mode & 0100),
    };
    json_t *j = json_object();

    json_array_append_new(files, j);
    if (schema_put(j, SCHEMA_OBJECT_FILE, SCHEMA_OF_SOURCE, &source, e) < 0)
        return error_wrap(e, "%s", f->told ? f->told : f->name);
    return 0;
}

static int set_files(json_t *j, const struct sources *s, struct error *e)
{
    json_t *files = json_array();

    json_object_set_new(j, FIELD(sources)->name, files);
    for (size_t i = 0; i < s->count; i++)
        if (add_file(files, &s->files[i], e) < 0)
            return -1;
    return 0;
}

static int read_input(int fd, const struct cancel *cancel, struct buffer *ret, struct error *e)
{
    cleanup_free char *chunk = memory_allocate(READ_CHUNK);

    for (;;) {
        if (deadline_wait_fd(fd, POLLIN, DEADLINE_NEVER, cancel, e) < 0)
            return -1;
        ssize_t n = read(fd, chunk, READ_CHUNK);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return error_errno(e, "cannot read the program's standard input");
        if (n == 0)
            return 0;
        buffer_add(ret, chunk, (size_t)n);
        if (ret->size > REQUEST_STDIN_PART_MAX)
            return error_set(
                e, ERROR_USAGE,
                "the program's standard input is larger than %u MiB, the most that a server takes; "
                "put it in a file of the program, or run without --api",
                REQUEST_STDIN_PART_MAX >> 20);
    }
}

static int set_stdin(json_t *j, int fd, const struct cancel *cancel, struct buffer *ret_input,
                     struct error *e)
{
    cleanup_buffer struct buffer input = {0};

    if (fd < 0)
        return 0;
    if (read_input(fd, cancel, &input, e) < 0)
        return -1;
    if (input.size > REQUEST_STDIN_MAX) {
        *ret_input = input;
        input = (struct buffer){0};
        return 0;
    }
    schema_put_bytes(j, FIELD(stdins), &input);
    return 0;
}

static int set_program(json_t *j, struct request *sent, struct error *e)
{
    const struct sources *s = &sent->sources;
    bool code = s->count > 0 && !s->files[0].name;

    if (s->count == 0)
        return error_set(e, ERROR_USAGE, "there is no file to run");
    if (code && !sent->run.language)
        return error_set(e, ERROR_USAGE,
                         "--lang is required for a program that is not in a file with an extension");
    if (!code)
        return set_files(j, s, e);
    sent->code = present(s->files[0].content);
    return 0;
}

json_t *client_body(const struct client *c, const struct request *r, struct buffer *ret_input,
                    struct error *e)
{
    struct request sent = *r;
    json_t *j = json_object();
    int result = r->run.image ? 0 : set_program(j, &sent, e);

    if (r->shell) /* of which the words were made here */
        sent.run.argv = NULL;
    if (result == 0)
        result = schema_put(j, SCHEMA_OBJECT_RUN, SCHEMA_OF_REQUEST, &sent, e);
    if (result == 0)
        result = set_stdin(j, r->run.stdin_fd, &c->cancel, ret_input, e);
    if (result == 0)
        return j;
    json_decref(j);
    return NULL;
}
