#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/jsontext.h"
#include "base/log.h"
#include "base/text.h"
#include "core/run.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int set_config(void *config, const char *name, const char *value, struct error *e)
{
    return config_set(config, name, value, "command line", e);
}

static int be_quiet(void *target, const char *name, const char *value, struct error *e)
{
    (void)target, (void)name, (void)value, (void)e;
    log_set_level(LOG_QUIET);
    return 0;
}

static int be_verbose(void *target, const char *name, const char *value, struct error *e)
{
    (void)target, (void)name, (void)value, (void)e;
    log_set_level(LOG_DEBUG);
    return 0;
}

/* What every verb takes. */
static const struct cli_option common[] = {
    {"home", 0, "DIR", "state directory (CAPSID_HOME)", CLI_CALL(struct cli, config, set_config)},
    {"accel", 0, "WHICH", "auto, kvm or tcg (CAPSID_ACCEL)", CLI_CALL(struct cli, config, set_config)},
    {"vmm", 0, "WHICH", "qemu or firecracker (CAPSID_VMM)", CLI_CALL(struct cli, config, set_config)},
    {"json", 0, NULL, "print the result as JSON", CLI_SWITCH(struct cli, json)},
    {"quiet", 'q', NULL, "say nothing about progress", CLI_CALL(struct cli, config, be_quiet)},
    {"verbose", 'v', NULL, "say more: every step with its time", CLI_CALL(struct cli, config, be_verbose)},
    {"help", 'h', NULL, "this text", CLI_SWITCH(struct cli, help)},
    {0},
};

/* Those of the verb's request, made from schema.def; ends with an empty name. */
static struct cli_option request_options[CLI_OPTIONS_MAX + 1];

static enum cli_kind kind_of(const struct schema_field *f)
{
    switch (f->kind) {
    case SCHEMA_TEXT:
        return CLI_KIND_TEXT;
    case SCHEMA_NUMBER:
        return CLI_KIND_NUMBER;
    case SCHEMA_SIZE:
        return CLI_KIND_SIZE;
    case SCHEMA_BOOL:
    case SCHEMA_UNLESS:
        return CLI_KIND_SWITCH;
    case SCHEMA_PAIRS:
        return CLI_KIND_PAIR;
    case SCHEMA_WORDS:
        return CLI_KIND_WORD;
    case SCHEMA_CHOICE:
        return CLI_KIND_CHOICE;
    default:
        return CLI_KIND_FIELD;
    }
}

static const char *help_of(const struct cli_verb *verb, const struct schema_field *f)
{
    cleanup_free char *help = schema_help(f);

    return text_format("%s%s", verb->request_for ? verb->request_for : "", help);
}

static void make_request_options(const struct cli_verb *verb)
{
    struct cli_option *next = request_options;

    schema_each(verb->request, f)
    {
        if (f->flag)
            *next++ = (struct cli_option){.name = f->flag,
                                          .letter = f->letter,
                                          .argument = f->argument,
                                          .help = help_of(verb, f),
                                          .kind = kind_of(f),
                                          .offset = f->offset,
                                          .min = f->min,
                                          .max = f->max,
                                          .field = f};
    }
}

/* "[=VALUE]" */
static bool is_optional(const char *argument)
{
    return argument[0] == '[';
}

static int cancel_write_fd = -1;
static volatile sig_atomic_t cancel_signal;

static void on_signal(int number)
{
    int saved = errno;

    cancel_signal = number;
    if (write(cancel_write_fd, "", 1) < 0)
        cancel_signal = number; /* the pipe is full: the wish is known already */
    errno = saved;
}

/* From here on a signal only asks to stop; whoever waits sees it, undoes its work and returns. */
static int catch_signals(struct error *e)
{
    const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal};
    int channel[2];

    if (pipe2(channel, O_CLOEXEC | O_NONBLOCK) < 0)
        return error_errno(e, "pipe");
    cancel_write_fd = channel[1];
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct sigaction old;
        sigaction(signals[i], NULL, &old);
        if (old.sa_handler != SIG_IGN) /* nohup(1) stays respected */
            sigaction(signals[i], &action, NULL);
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error as a full disk is (setrlimit(2)) */
    signal(SIGCHLD, SIG_DFL); /* when it was ignored, nobody could wait for a child */
    return channel[0];
}

/* Ends by the signal itself, so that a calling shell sees what happened. */
static int end_by_signal(void)
{
    signal(cancel_signal, SIG_DFL);
    raise(cancel_signal);
    return RUN_EXIT_SIGNAL + cancel_signal;
}

static void print(FILE *to, const char *format, va_list args)
{
    char *text = NULL;

    if (vasprintf(&text, format, args) >= 0)
        fputs(text_make_plain_lines(text), to);
    free(text);
}

void cli_print(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    print(stdout, format, args);
    va_end(args);
}

void cli_say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    print(stderr, format, args);
    va_end(args);
}

int cli_fail(const struct error *e)
{
    cli_say("Error: %s\n", e->text);
    if (e->kind == ERROR_CANCELLED && cancel_signal)
        return end_by_signal();
    if (e->kind == ERROR_UNKNOWN_LANGUAGE)
        return RUN_EXIT_UNKNOWN_LANGUAGE;
    return RUN_EXIT_ERROR; /* RUN_EXIT_TIMEOUT is a program's, whose result is no error */
}

/* An option, at least two blanks, what it is: the manual is made of this (host/man/page.awk). */
static void print_options(const struct cli_option *options)
{
    for (const struct cli_option *o = options; o && o->name; o++) {
        char left[64];
        char letter[8] = "    ";
        if (o->letter)
            snprintf(letter, sizeof(letter), "-%c, ", o->letter);
        snprintf(left, sizeof(left), "%s--%s%s%s", letter, o->name,
                 o->argument && !is_optional(o->argument) ? " " : "", o->argument ? o->argument : "");
        printf("  %-25s  %s\n", left, o->help);
    }
}

static void print_result_fields(void)
{
    printf("\nFields of the result:\n");
    schema_each(SCHEMA_OBJECT_RESULT, f)
    {
        printf("  %-12s %s\n", f->name, f->words);
    }
}

static int print_help(const struct cli_verb *verb)
{
    printf("capsid %s: %s\n\nUsage: capsid %s [options]%s%s\n\n", verb->name, verb->summary, verb->name,
           verb->arguments[0] ? " " : "", verb->arguments);
    print_options(request_options);
    print_options(verb->options);
    printf("\n");
    print_options(common);
    if (verb->details)
        printf("\n%s", verb->details);
    if (verb->request == SCHEMA_OBJECT_RUN)
        print_result_fields();
    return 0;
}

struct parser {
    struct {
        const struct cli_option *option;
        void *values;
    } found[2 * CLI_OPTIONS_MAX]; /* by the value that getopt returns */
    struct option options[2 * CLI_OPTIONS_MAX + 1];
    char letters[4 * CLI_OPTIONS_MAX];
    int count;
};

#define FIRST_ID 1000

static void add_options(struct parser *p, const struct cli_option *options, void *values)
{
    for (const struct cli_option *o = options; o && o->name; o++) {
        size_t used = strlen(p->letters);
        p->options[p->count] = (struct option){.name = o->name,
                                               .has_arg = !o->argument               ? no_argument
                                                          : is_optional(o->argument) ? optional_argument
                                                                                     : required_argument,
                                               .val = FIRST_ID + p->count};
        p->found[p->count].option = o;
        p->found[p->count++].values = values;
        if (o->letter)
            snprintf(p->letters + used, sizeof(p->letters) - used, "%c%s", o->letter, o->argument ? ":" : "");
    }
}

/* The index in found of what getopt returned, or -1. */
static int find_option(const struct parser *p, int value)
{
    if (value >= FIRST_ID)
        return value - FIRST_ID;
    for (int i = 0; i < p->count; i++)
        if (p->found[i].option->letter == value)
            return i;
    return -1;
}

/* Without a value it is the second: the first is what there is without the option. */
static int store_choice(const struct cli_option *o, const char *value, unsigned *target, struct error *e)
{
    if (schema_choose(o->field, value ? value : o->field->names[1], target))
        return 0;
    return error_set(e, ERROR_USAGE, "--%s=%.64s is none of: %s", o->name, value, o->field->words);
}

/* Puts the value where the option's row says. */
static int store(const struct cli_verb *verb, const struct cli_option *o, void *values, const char *value,
                 struct error *e)
{
    void *target = (char *)values + o->offset;

    switch (o->kind) {
    case CLI_KIND_SWITCH:
        *(bool *)target = true;
        return 0;
    case CLI_KIND_TEXT:
        *(const char **)target = value;
        return 0;
    case CLI_KIND_NUMBER:
        return cli_number(o->name, value, o->min, o->max, target, e);
    case CLI_KIND_SIZE:
        return cli_mebibytes(o->name, value, o->min, o->max, target, e);
    case CLI_KIND_PAIR:
        return schema_add_pair(o->field, target, value, e);
    case CLI_KIND_WORD:
        return schema_add_word(o->field, target, value, e);
    case CLI_KIND_CHOICE:
        return store_choice(o, value, target, e);
    case CLI_KIND_FIELD:
        return verb->take_field(values, o->field, value, e);
    case CLI_KIND_CALL:
        break;
    }
    return o->call(target, o->name, value, e);
}

/* 0 parsed, 1 help was asked for, -1 error. */
static int parse(const struct cli_verb *verb, struct cli *cli, int argc, char **argv, struct error *e)
{
    struct parser p = {0};

    /* A dash in front makes getopt return an argument before "--" as option 1. */
    strcpy(p.letters, strncmp(verb->arguments, "[--", 3) == 0 ? "-:" : ":");
    add_options(&p, common, cli);
    add_options(&p, request_options, verb->values);
    add_options(&p, verb->options, verb->values);
    opterr = 0;
    while (!cli->help) {
        int c = getopt_long(argc, argv, p.letters, p.options, NULL);
        if (c == -1)
            return 0;
        if (c == 1)
            return error_set(e, ERROR_USAGE,
                             "unexpected argument \"%.64s\"; the program's own come after --; "
                             "see: capsid %s --help",
                             optarg, verb->name);
        if (c == ':')
            return error_set(e, ERROR_USAGE, "%s needs a value; see: capsid %s --help", argv[optind - 1],
                             verb->name);
        int i = find_option(&p, c);
        if (i < 0)
            return error_set(e, ERROR_USAGE, "unknown option %s; see: capsid %s --help", argv[optind - 1],
                             verb->name);
        const struct cli_option *o = p.found[i].option;
        if (verb->no_empty_values && p.found[i].values == verb->values && optarg && !optarg[0])
            return error_set(e, ERROR_USAGE, "--%s is empty", o->name);
        if (store(verb, o, p.found[i].values, optarg, e) < 0)
            return -1;
    }
    return 1;
}

int cli_end_output(void)
{
    /* An error before this one left no errno. */
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    fprintf(stderr, "Error: cannot write standard output%s%s\n", errno ? ": " : "",
            errno ? strerror(errno) : "");
    return RUN_EXIT_ERROR;
}

int cli_run_verb(const struct cli_verb *verb, int argc, char **argv)
{
    struct cli cli = {0};
    struct error e = {0};
    int parsed = -1, status = -1;

    log_set_level(LOG_PROGRESS);
    make_request_options(verb);
    if (config_load(&cli.config, &e) == 0)
        parsed = parse(verb, &cli, argc, argv, &e);
    if (parsed == 1)
        status = print_help(verb);
    else if (parsed == 0 && (cli.call = call_begin(catch_signals(&e))).cancel.fd >= 0)
        status = verb->run(&cli, verb->values, argc - optind, argv + optind, &e);
    config_done(&cli.config);
    if (status < 0)
        return cli_fail(&e);
    int written = cli_end_output();
    return written ? written : status;
}

int cli_number(const char *option, const char *value, uint64_t min, uint64_t max, uint64_t *ret,
               struct error *e)
{
    if (text_to_u64(value, min, max, ret))
        return 0;
    return error_set(e, ERROR_USAGE, "--%s is \"%.64s\", but must be a whole number from %llu to %llu",
                     option, value, (unsigned long long)min, (unsigned long long)max);
}

int cli_mebibytes(const char *option, const char *value, uint64_t min, uint64_t max, uint64_t *ret,
                  struct error *e)
{
    cleanup_free char *digits = text_copy(value);
    size_t size = strlen(digits);
    uint64_t scale = 1, number;

    if (size > 0 && strchr("MG", digits[size - 1])) {
        scale = digits[size - 1] == 'G' ? 1024 : 1;
        digits[size - 1] = '\0';
    }
    if (text_to_u64(digits, 0, max, &number) && number * scale >= min && number * scale <= max) {
        *ret = number * scale;
        return 0;
    }
    return error_set(e, ERROR_USAGE,
                     "--%s is \"%.64s\", but must be a size from %lluM to %lluM, such as 512M or 2G", option,
                     value, (unsigned long long)min, (unsigned long long)max);
}

int cli_print_json(json_t *object, struct error *e)
{
    cleanup_free char *text = object ? jsontext_format(object, JSON_INDENT(2)) : NULL;

    if (!object)
        return -1;
    json_decref(object);
    if (!text)
        return error_set(e, ERROR_GENERAL, "the result cannot be written as JSON");
    if (printf("%s\n", text) < 0 || fflush(stdout) != 0)
        return error_errno(e, "cannot write standard output");
    return 0;
}

const char *cli_time(int64_t seconds, char out[static 24])
{
    time_t t = (time_t)seconds;
    struct tm tm;

    localtime_r(&t, &tm);
    strftime(out, 24, "%Y-%m-%d %H:%M", &tm);
    return out;
}
