/* capsid run, and capsid host: the same job under the name and with the defaults of older documents. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "core/run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CODE_MAX (16u << 20)
#define WRITE_CHUNK 4096 /* PIPE_BUF: what a writable pipe takes without blocking, pipe(7) */

struct run_options {
    const char *language, *code, *file, *input, *kernel;
    uint64_t timeout, memory, vcpus, max_output;
    bool raw, cold, unprimed, host_verb, snapshot;
};

#define RUN_OPTIONS                                                                                          \
    {"lang", 'l', "NAME", "language, or an alias of it (required)"}, {"code", 'c', "TEXT", "the program"},   \
        {"file", 'f', "PATH", "file that holds the program; -: standard input"},                             \
        {"timeout", 't', "SECONDS", "how long the program may run"},                                         \
        {"stdin", 0, "PATH", "the program's standard input"},                                                \
        {"mem", 0, "MB", "memory of the VM in MiB (default: as the language says)"},                         \
        {"vcpus", 0, "N", "processors of the VM"},                                                           \
        {"max-output", 0, "BYTES", "how much of each output the JSON holds"},                                \
        {"raw", 'r', NULL, "stream the program's own output instead of JSON"},                               \
        {"no-prime", 0, NULL, "start the interpreter anew instead of using the waiting one"},                \
    {                                                                                                        \
        "kernel", 0, "PATH", "guest kernel (CAPSID_KERNEL)"                                                  \
    }

static const struct cli_option run_options[] = {
    RUN_OPTIONS,
    {"no-snapshot", 0, NULL, "boot a new VM instead of restoring a snapshot"},
    {0},
};

static const struct cli_option host_options[] = {
    RUN_OPTIONS,
    {"snapshot", 0, NULL, "restore a snapshot instead of booting"},
    {0},
};

static const char details[] =
    "Standard input: with -f - it holds the program, which then has an empty standard input of its own, "
    "unless\n"
    "--stdin names one. Otherwise the program gets capsid's standard input, except when that is a terminal.\n"
    "\n"
    "Result: one JSON object with stdout, stderr, exit_code, load_time, exec_time, end, trace_id and "
    "truncated. Output\n"
    "that is not UTF-8 is given as base64, and then stdout_encoding or stderr_encoding is \"base64\".\n"
    "\n"
    "Exit status: the program's own. 124: it ran into the timeout. 128 + N: signal N ended it. 127: unknown "
    "language.\n"
    "1: something else went wrong. In the last two cases no JSON is printed, and standard error says why.\n";

static int set_number(struct run_options *o, const char *name, const char *value, struct error *e)
{
    if (strcmp(name, "timeout") == 0)
        return cli_number(name, value, 1, 86400, &o->timeout, e);
    if (strcmp(name, "mem") == 0)
        return cli_number(name, value, 32, 1 << 20, &o->memory, e);
    if (strcmp(name, "vcpus") == 0)
        return cli_number(name, value, 1, 32, &o->vcpus, e);
    return cli_number(name, value, 1, 1 << 30, &o->max_output, e);
}

static int set_option(void *values, const char *name, const char *value, struct error *e)
{
    struct run_options *o = values;
    const struct {
        const char *name;
        const char **text;
        bool *flag;
    } fields[] = {
        {"lang", &o->language, NULL},     {"code", &o->code, NULL},        {"file", &o->file, NULL},
        {"stdin", &o->input, NULL},       {"kernel", &o->kernel, NULL},    {"raw", NULL, &o->raw},
        {"no-prime", NULL, &o->unprimed}, {"no-snapshot", NULL, &o->cold}, {"snapshot", NULL, &o->snapshot},
    };

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (strcmp(fields[i].name, name) != 0)
            continue;
        if (fields[i].text)
            *fields[i].text = value;
        else
            *fields[i].flag = true;
        return 0;
    }
    return set_number(o, name, value, e);
}

static int read_code(const struct run_options *o, struct buffer *ret, struct error *e)
{
    struct stat st;

    if (!o->code == !o->file)
        return error_set(e, ERROR_USAGE, "give either --code or --file%s; see: capsid run --help",
                         o->code ? ", not both" : "");
    if (o->code) {
        buffer_add(ret, o->code, strlen(o->code));
        return 0;
    }
    if (strcmp(o->file, "-") == 0)
        return file_read_fd(STDIN_FILENO, "standard input", CODE_MAX, ret, e);
    if (stat(o->file, &st) == 0 && S_ISDIR(st.st_mode))
        return error_set(e, ERROR_USAGE, "%s is a directory, not a program", o->file);
    return file_read(o->file, CODE_MAX, ret, e);
}

/* The fd of the program's standard input, -1 for none; the caller closes it. */
static int open_input(const struct run_options *o, int *ret, struct error *e)
{
    struct stat st;
    bool taken = o->file && strcmp(o->file, "-") == 0;

    *ret = -1;
    if (o->input && strcmp(o->input, "-") != 0) {
        *ret = open(o->input, O_RDONLY | O_CLOEXEC);
        return *ret < 0 ? error_errno(e, "cannot open %s", o->input) : 0;
    }
    if (taken)
        return o->input ? error_set(e, ERROR_USAGE, "standard input cannot be both the program and its input")
                        : 0;
    if (fstat(STDIN_FILENO, &st) == 0 && (o->input || !isatty(STDIN_FILENO)))
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

/* "209ms", and "0.8ms" where whole milliseconds would say little. */
static json_t *duration(int64_t ns)
{
    char text[32];
    double ms = (double)ns / 1e6;

    snprintf(text, sizeof(text), ms < 10 ? "%.1fms" : "%.0fms", ms);
    return json_string(text);
}

/* Text as it is, anything else in base64; a cut may have split the last character, which is then left out. */
static void set_text(json_t *j, const char *key, struct buffer *b, bool truncated)
{
    size_t valid = text_utf8_prefix(b->data, b->size);

    if (truncated && b->size - valid < 4)
        b->size = valid;
    if (valid == b->size) {
        json_object_set_new(j, key, json_stringn(b->data ? b->data : "", b->size));
        return;
    }
    cleanup_free char *encoded = text_base64(b->data, b->size);
    cleanup_free char *encoding_key = text_format("%s_encoding", key);
    json_object_set_new(j, key, json_string(encoded));
    json_object_set_new(j, encoding_key, json_string("base64"));
}

static void add_timeout_message(struct buffer *b, uint64_t seconds)
{
    buffer_add_text(b, "%sExecution timeout exceeded (%llus)",
                    b->size && b->data[b->size - 1] != '\n' ? "\n" : "", (unsigned long long)seconds);
}

static int print_result(const struct run_result *r, struct run_output *o, uint64_t timeout, struct error *e)
{
    json_t *j = json_object();

    if (strcmp(r->end, "timed_out") == 0)
        add_timeout_message(&o->channel[1], timeout);
    set_text(j, "stdout", &o->channel[0], o->truncated[0]);
    set_text(j, "stderr", &o->channel[1], o->truncated[1]);
    json_object_set_new(j, "exit_code", json_integer(r->exit_code));
    json_object_set_new(j, "load_time", duration(r->load_ns));
    json_object_set_new(j, "exec_time", duration(r->exec_ns));
    json_object_set_new(j, "end", json_string(r->end));
    if (r->signal)
        json_object_set_new(j, "signal",
                            json_sprintf("SIG%s", sigabbrev_np(r->signal) ? sigabbrev_np(r->signal) : "?"));
    json_object_set_new(j, "truncated", json_boolean(o->truncated[0] || o->truncated[1]));
    json_object_set_new(j, "output_held", json_boolean(r->output_held));
    json_object_set_new(j, "primed", json_boolean(r->primed));
    if (r->memory_peak)
        json_object_set_new(j, "memory_peak", json_integer((json_int_t)r->memory_peak));
    if (r->note[0])
        json_object_set_new(j, "note", json_string(r->note));
    json_object_set_new(j, "trace_id", json_string(r->trace_id));
    return cli_print_json(j, e);
}

static int report_raw(const struct run_result *r, uint64_t timeout)
{
    if (strcmp(r->end, "timed_out") == 0)
        fprintf(stderr, "Execution timeout exceeded (%llus)\n", (unsigned long long)timeout);
    else if (strcmp(r->end, "out_of_memory") == 0)
        fprintf(stderr, "Out of memory\n");
    else if (r->note[0])
        fprintf(stderr, "Error: %s\n", r->note);
    return 0;
}

static int run_with(struct supervisor *s, const struct run_options *o, const struct buffer *code,
                    int stdin_fd, struct error *e)
{
    struct run_output output = {.max = o->max_output ? o->max_output : s->config.max_output};
    struct run_result result;
    struct run_request request = {
        .language = o->language,
        .code = code->data,
        .code_size = code->size,
        .stdin_fd = stdin_fd,
        .timeout = o->timeout ? o->timeout : s->config.timeout,
        .memory_mib = o->memory,
        .vcpus = o->vcpus,
        .cold = o->host_verb ? !o->snapshot : o->cold,
        .unprimed = o->unprimed,
        .on_output = o->raw ? write_raw : run_output_add,
        .context = o->raw ? (void *)&s->cancel : (void *)&output,
    };
    int status = run_program(s, &request, &result, e);

    if (status == 0)
        status = o->raw ? report_raw(&result, request.timeout)
                        : print_result(&result, &output, request.timeout, e);
    run_output_free(&output);
    return status < 0 ? -1 : result.exit_code;
}

static int run(struct cli *cli, void *values, int argc, char **argv, struct error *e)
{
    struct run_options *o = values;
    cleanup_buffer struct buffer code = {0};
    cleanup_fd int stdin_fd = -1;
    struct supervisor s;

    if (argc > 0)
        return error_set(e, ERROR_USAGE, "unexpected argument \"%.64s\"; see: capsid run --help", argv[0]);
    if (!o->language)
        return error_set(e, ERROR_USAGE, "--lang is required; see: capsid run --help");
    if (o->kernel && config_set(&cli->config, "kernel", o->kernel, "command line", e) < 0)
        return -1;
    if (read_code(o, &code, e) < 0 || open_input(o, &stdin_fd, e) < 0 ||
        supervisor_open(&s, &cli->config, cli->cancel_fd, e) < 0)
        return -1;
    int status = run_with(&s, o, &code, stdin_fd, e);
    supervisor_close(&s);
    return status;
}

static struct run_options run_values, host_values = {.host_verb = true};

const struct cli_verb verb_run = {
    "run", "", "run a program in a microVM of its own", details, run_options, set_option, run, &run_values};

const struct cli_verb verb_host = {
    "host",  "",           "as run, but boots a new VM unless --snapshot is given",
    details, host_options, set_option,
    run,     &host_values};
