/* capsid run, and capsid host: the same job under the name and with the defaults of older documents. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/process.h"
#include "client/ask.h"
#include "client/client.h"
#include "core/command.h"
#include "service/result_json.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRITE_CHUNK 4096 /* PIPE_BUF: what a writable pipe takes without blocking, pipe(7) */
#define FILES_MAX 100    /* --file */

struct run_options {
    struct request request; /* its texts are those of the command line */
    const char *files[FILES_MAX];
    size_t file_count;
    const char *code, *input, *kernel, *api, *token_file;
    bool raw;
};

/* What is read before it is a part of the request. */
static int take_field_verb_run(void *values, const struct schema_field *f, const char *value, struct error *e)
{
    struct run_options *o = values;

    if (f->kind == SCHEMA_BYTES)
        o->code = value;
    else if (f->kind == SCHEMA_STDINS)
        o->input = value;
    else if (o->file_count == FILES_MAX)
        return error_set(e, ERROR_USAGE, "--%s more than %d times; put the files in a directory", f->flag,
                         FILES_MAX);
    else
        o->files[o->file_count++] = value;
    return 0;
}

/* Of capsid host, which boots otherwise. */
static int restore(void *cold, const char *name, const char *value, struct error *e)
{
    (void)name, (void)value, (void)e;
    *(bool *)cold = false;
    return 0;
}

#define RUN_OPTIONS                                                                                          \
    {"raw", 'r', NULL, "stream the program's own output instead of JSON",                                    \
     CLI_SWITCH(struct run_options, raw)},                                                                   \
        {"api", 0, "URL",                                                                                    \
         "run on that server: http://HOST:PORT, https://HOST:PORT, unix:/PATH (CAPSID_API)",                 \
         CLI_TEXT(struct run_options, api)},                                                                 \
        {"api-token-file", 0, "PATH",                                                                        \
         "bearer token for it (CAPSID_API_TOKEN_FILE, or CAPSID_API_TOKEN itself)",                          \
         CLI_TEXT(struct run_options, token_file)},                                                          \
    {                                                                                                        \
        "kernel", 0, "PATH", "guest kernel (CAPSID_KERNEL)", CLI_TEXT(struct run_options, kernel)            \
    }

static const struct cli_option run_options[] = {RUN_OPTIONS, {0}};

static const struct cli_option host_options[] = {
    RUN_OPTIONS,
    {"snapshot", 0, NULL, "restore a snapshot instead of booting",
     CLI_CALL(struct run_options, request.run.cold, restore)},
    {0},
};

static const char details[] =
    "Files: one file, or --code, gets the name that the language wants. Several keep their names, a "
    "directory\n"
    "given alone becomes the program's directory, and the main file is --entry, else the first --file, else "
    "in a\n"
    "directory the one with the language's source name. Without --lang its extension tells the language, or "
    "else its #! line.\n"
    "What comes after -- are the program's arguments.\n"
    "\n"
    "Standard input: with -f - it holds the program, which then has an empty standard input of its own, "
    "unless\n"
    "--stdin names one. Otherwise the program gets capsid's standard input, except when that is a terminal.\n"
    "\n"
    "Result: one JSON object, with the fields below. When compiling fails, it is about the compiler.\n"
    "\n"
    "Exit status: the program's own, or the failed compiler's. 124: it ran into the timeout. 128 + N: signal "
    "N\n"
    "ended it. 127: unknown language. 1: something else went wrong. In the last two cases no JSON is "
    "printed, and\n"
    "standard error says why.\n"
    "\n"
    "With --api a server (capsid api) runs the program, with its images, settings and limits; standard input "
    "is "
    "sent\n"
    "whole, up to 64 MiB. A busy server is asked a few times. Ctrl-C ends the program there too. --api '' "
    "runs "
    "it here.\n";

static bool from_stdin(const struct run_options *o)
{
    return o->file_count == 1 && strcmp(o->files[0], "-") == 0;
}

/* A command in an image: the words after --, or a line for the shell. */
static int read_command(const struct run_options *o, struct request *q, const char *const *words,
                        struct error *e)
{
    static const char *shell[] = {"/bin/sh", "-c", NULL, NULL};

    if (q->run.language || o->code || o->file_count || q->run.entry)
        return error_set(e, ERROR_USAGE,
                         "--image is for commands: it goes with none of --lang, --code, --file and --entry");
    if (!q->shell == !words[0])
        return error_set(e, ERROR_USAGE, "--image needs either a command after -- or --shell LINE");
    if (q->run.packages)
        return error_set(e, ERROR_USAGE,
                         "--packages is for programs of a language, not for a command in an image");
    shell[2] = q->shell;
    q->run.argv = q->shell ? shell : words;
    return 0;
}

static int read_sources(const struct run_options *o, struct sources *ret, struct error *e)
{
    cleanup_buffer struct buffer code = {0};
    const char *entry = o->request.run.entry;

    if (o->request.shell || o->request.run.user || o->request.run.keep || o->request.run.max_layer)
        return error_set(
            e, ERROR_USAGE,
            "--shell, --user, --keep and --max-layer are for commands in an image: name it with --image");
    if (!o->code == !o->file_count)
        return error_set(e, ERROR_USAGE, "give either --code or --file%s; see: capsid run --help",
                         o->code ? ", not both" : "");
    if (entry && (o->code || from_stdin(o)))
        return error_set(e, ERROR_USAGE, "--entry is for programs in files; see: capsid run --help");
    if (o->code) {
        buffer_add(&code, o->code, strlen(o->code));
        return sources_add_code(ret, &code, NULL, e);
    }
    if (from_stdin(o)) {
        if (file_read_input(STDIN_FILENO, "standard input", SOURCES_FILE_SIZE_MAX, ret->cancel, &code, e) < 0)
            return -1;
        return sources_add_code(ret, &code, NULL, e);
    }
    for (size_t i = 0; i < o->file_count; i++) {
        if (strcmp(o->files[i], "-") == 0)
            return error_set(e, ERROR_USAGE, "-f -, standard input, cannot be one of several files");
        if (sources_add_path(ret, o->files[i], o->file_count == 1, e) < 0)
            return -1;
    }
    return 0;
}

/* The fd of the program's standard input, -1 for none; the caller closes it. */
static int open_input(const struct run_options *o, int *ret, struct error *e)
{
    *ret = -1;
    if (o->input && strcmp(o->input, "-") != 0) {
        *ret = open(o->input, O_RDONLY | O_CLOEXEC);
        return *ret < 0 ? error_errno(e, "cannot open %s", o->input) : 0;
    }
    if (from_stdin(o))
        return o->input ? error_set(e, ERROR_USAGE, "standard input cannot be both the program and its input")
                        : 0;
    if (o->input && !process_can_read(STDIN_FILENO))
        return error_set(e, ERROR_USAGE, "--stdin -: the standard input of capsid is closed");
    if (process_can_read(STDIN_FILENO) && (o->input || !isatty(STDIN_FILENO)))
        *ret = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    return 0;
}

static int write_raw(void *context, int channel, const void *data, size_t size, struct error *e)
{
    const struct cancel *cancel = context;
    const char *p = data;

    while (size > 0) {
        if (deadline_wait_fd(channel, POLLOUT, DEADLINE_NEVER, cancel, e) < 0)
            return -1;
        ssize_t n = write(channel, p, size < WRITE_CHUNK ? size : WRITE_CHUNK);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return error_errno(e, "cannot write the program's output");
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

/* Beside the output of a command, which may be all that is asked for. */
static void tell_kept(enum run_kept kept, const char *image, const char *note)
{
    if (kept == RUN_KEPT_KEPT)
        cli_say("Kept as the image %s\n", image);
    else if (kept == RUN_KEPT_UNCHANGED)
        cli_say("Nothing was changed in the image %s\n", image);
    else if (kept == RUN_KEPT_FAILED_RUN)
        cli_say("Nothing was kept, as the command failed; --keep=always keeps it\n");
    else if (note && note[0])
        cli_say("Nothing was kept: %s\n", note);
}

/* A failed compiler speaks for itself; one that succeeds is silent. */
static int report_raw(const struct run_result *r, const struct run_output *build, struct cancel *cancel,
                      struct error *e)
{
    const struct run_phase *last = run_last_phase(r);

    for (int i = 0; last == &r->build && i < 2; i++)
        if (write_raw(cancel, i + 1, build->channel[i].data, build->channel[i].size, e) < 0)
            return -1;
    if (last->end == RUN_TIMED_OUT) {
        cleanup_free char *message = result_timeout_message(r);
        cli_say("%s\n", message);
    } else if (last->end == RUN_OUT_OF_MEMORY) {
        cli_say("Out of memory\n");
    } else if (r->note[0]) {
        cli_say("Error: %s\n", r->note);
    }
    tell_kept(r->kept, r->kept_image, r->kept_note);
    return 0;
}

/* With the files that it wants to be there. */
static int run_with_files(struct host *host, const struct cli *cli, const struct request *q,
                          struct run_request *request, struct run_result *ret, struct error *e)
{
    struct files files = {0};
    struct place place = {0};

    int (*run)(struct host *, const struct call *, const struct run_request *, struct run_result *,
               struct error *) = request->image ? command_run : run_program;

    if (!q->state && !q->puts)
        return run(host, &cli->call, request, ret, e);
    int status = files_open_home(&files, &host->home, host->config.files_max, e);
    if (status == 0)
        status = place_open(&place, &files, "", q->state, q->puts, e);
    request->trees = place.trees;
    request->tree_count = place.count;
    if (status == 0)
        status = run(host, &cli->call, request, ret, e);
    place_done(&place);
    files_close(&files);
    return status;
}

static int run_here(struct cli *cli, const struct run_options *o, struct request *q, struct error *e)
{
    struct run_request *request = &q->run;
    struct run_result result;
    struct network_log network = {0};
    struct host host;

    if (q->detached)
        return error_set(e, ERROR_USAGE, "--detach needs a server, which goes on: name it with --api URL");
    if (host_open(&host, &cli->config, e) < 0)
        return -1;
    size_t max = q->max_output ? q->max_output : host.config.max_output;
    struct run_output outputs[2] = {{.max = max}, {.max = max}};
    request->on_output = o->raw ? write_raw : run_output_add;
    request->context = o->raw ? (void *)&cli->call.cancel : (void *)&outputs[0];
    request->on_build_output = run_output_add;
    request->build_context = &outputs[1];
    request->network = &network;
    int status = run_with_files(&host, cli, q, request, &result, e);
    if (status == 0)
        status = o->raw ? report_raw(&result, &outputs[1], &cli->call.cancel, e)
                        : cli_print_json(
                              result_json(SCHEMA_OBJECT_RESULT, q, &result, cli->call.trace_id, outputs), e);
    run_output_free(&outputs[0]);
    run_output_free(&outputs[1]);
    network_log_free(&network);
    host_close(&host);
    return status < 0 ? -1 : run_last_phase(&result)->exit_code;
}

/* As report_raw(), of a server's result. */
static void report_there(const struct result *r)
{
    if (r->last.end == RUN_TIMED_OUT && r->problem)
        cli_say("%s\n", r->problem);
    else if (r->last.end == RUN_OUT_OF_MEMORY)
        cli_say("Out of memory\n");
    else if (r->problem)
        cli_say("Error: %s\n", r->problem);
    tell_kept(r->kept, r->kept_image, r->kept_note);
}

/* The operation, as the server tells of it. */
static int detach_there(const struct client *client, struct request *q, struct error *e)
{
    cleanup_buffer struct buffer input = {0};
    json_t *body = client_body(client, q, &input, e), *j = NULL;
    cleanup_free char *text = body && !input.size ? json_dumps(body, JSON_COMPACT) : NULL;

    if (!body)
        return -1;
    json_decref(body);
    if (!text)
        return error_set(e, ERROR_USAGE, "--detach takes a standard input of at most 1 MiB");
    struct client_link *l = client_open(client, e);
    int result = l ? client_post(l, "/api/v1/run", "application/json", text, strlen(text), 1000, &j, e) : -1;
    client_close(l);
    return result < 0 ? -1 : cli_print_json(j, e);
}

static int run_there(struct cli *cli, const struct run_options *o, struct request *q, struct error *e)
{
    struct client client = {.url = cli->config.api,
                            .token_file = cli->config.api_token_file,
                            .patience = cli->config.api_patience,
                            .cancel = cli->call.cancel};
    struct result result;
    json_t *j;

    if (o->kernel)
        return error_set(e, ERROR_USAGE, "--kernel is for runs on this machine; the server has its own");
    q->run.on_output = o->raw ? write_raw : NULL;
    q->run.context = &client.cancel;
    if (q->detached)
        return detach_there(&client, q, e);
    if (client_run(&client, q, &j, e) < 0)
        return -1;
    result_read(o->raw ? SCHEMA_OBJECT_STREAM_END : SCHEMA_OBJECT_RESULT, j, &result);
    if (!o->raw)
        return cli_print_json(j, e) < 0 ? -1 : result.last.exit_code;
    report_there(&result);
    json_decref(j);
    return result.last.exit_code;
}

static int take_settings(struct cli *cli, const struct run_options *o, struct error *e)
{
    const char *const flags[][2] = {
        {"kernel", o->kernel}, {"api", o->api}, {"api_token_file", o->token_file}};

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (flags[i][1] && config_set(&cli->config, flags[i][0], flags[i][1], "command line", e) < 0)
            return -1;
    return 0;
}

static int run_cli_verb_run(struct cli *cli, void *values, int argc, char **argv, struct error *e)
{
    struct run_options *o = values;
    struct request *q = &o->request;
    const struct cancel cancel = cli->call.cancel;
    cleanup_fd int stdin_fd = -1;

    (void)argc;
    q->sources.cancel = &cancel;
    int status = take_settings(cli, o, e);
    if (status == 0)
        status =
            q->run.image ? read_command(o, q, (const char *const *)argv, e) : read_sources(o, &q->sources, e);
    if (status == 0)
        status = open_input(o, &stdin_fd, e);
    if (status == 0) {
        q->run.sources = &q->sources;
        q->run.args = q->run.image ? NULL : (const char *const *)argv;
        q->run.stdin_fd = stdin_fd;
        status = (cli->config.api[0] ? run_there : run_here)(cli, o, q, e);
    }
    sources_done(&q->sources);
    return status;
}

static struct run_options run_values, host_values = {.request.run.cold = true};

const struct cli_verb verb_run = {
    .name = "run",
    .arguments = "[-- ARGUMENT...]",
    .summary = "run a program in a microVM of its own",
    .details = details,
    .options = run_options,
    .request = SCHEMA_OBJECT_RUN,
    .take_field = take_field_verb_run,
    .run = run_cli_verb_run,
    .values = &run_values,
};

const struct cli_verb verb_host = {
    .name = "host",
    .arguments = "[-- ARGUMENT...]",
    .summary = "as run, but boots a new VM unless --snapshot is given",
    .details = details,
    .options = host_options,
    .request = SCHEMA_OBJECT_RUN,
    .take_field = take_field_verb_run,
    .run = run_cli_verb_run,
    .values = &host_values,
};
