/* capsid benchmark: runs the example programs of languages, and reports how long their guests took to load. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "core/run.h"
#include "core/sources.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RULE "==============================================\n"
#define PROGRAM_MAX (1u << 20)
#define OUTPUT_MAX (1u << 20)

struct benchmark_options {
    const char *languages; /* separated by commas */
    bool all, programs;
};

static const struct cli_option options[] = {
    {"all", 0, NULL, "every language that needs no image from elsewhere",
     CLI_SWITCH(struct benchmark_options, all)},
    {"langs", 0, "A,B,...", "these languages", CLI_TEXT(struct benchmark_options, languages)},
    {"programs", 0, NULL, "run the longer example of each language, too",
     CLI_SWITCH(struct benchmark_options, programs)},
    {0},
};

static const char details[] =
    "Images and snapshots that are missing are made first, which is not part of the load time. A language "
    "passes when\n"
    "its examples print what they should. Exit status: 0 when all passed, 1 otherwise.\n";

struct outcome {
    bool passed;
    int64_t load_ns, exec_ns; /* of the short example; exec with its build */
    int64_t program_ns;       /* of the longer one; 0: it did not run */
    char why[512];            /* when it failed */
};

struct totals {
    unsigned passed, failed;
    int64_t load_ns; /* of those that passed */
};

/* Equal but for newlines at the end, which a definition file does not hold. */
static bool same_text(const struct buffer *got, const char *wanted)
{
    size_t a = got->size, b = strlen(wanted);

    while (a > 0 && got->data[a - 1] == '\n')
        a--;
    while (b > 0 && wanted[b - 1] == '\n')
        b--;
    return a == b && (a == 0 || memcmp(got->data, wanted, a) == 0);
}

static void fail(struct outcome *o, const char *what, const char *text)
{
    snprintf(o->why, sizeof(o->why), "%.64s: %.400s", what, text);
    o->why[strcspn(o->why, "\n")] = '\0';
}

static bool ran_well(const struct run_result *r)
{
    const struct run_phase *last = run_last_phase(r);

    return r->run.end && last->end == RUN_EXITED && last->exit_code == 0;
}

/* The first line of what it said, or how it ended. */
static void fail_phase(struct outcome *o, const char *what, const struct run_result *r,
                       const struct run_output *output)
{
    const struct run_phase *last = run_last_phase(r);

    fail(o, what,
         output->channel[1].size ? output->channel[1].data
         : r->note[0]            ? r->note
                                 : run_end_name(last->end));
}

/* Runs one program and compares. False: o->why says what is wrong, or the user cancelled. */
static bool run_example(struct host *host, const struct cancel *cancel, const struct language *l,
                        const char *what, const char *code, const char *wanted, struct run_result *ret,
                        struct outcome *o, struct error *e)
{
    struct run_output output = {.max = OUTPUT_MAX}, build = {.max = OUTPUT_MAX};
    struct sources sources = {0};
    struct buffer content = {0};
    const struct run_request request = {.language = l->name,
                                        .sources = &sources,
                                        .stdin_fd = -1,
                                        .on_output = run_output_add,
                                        .context = &output,
                                        .on_build_output = run_output_add,
                                        .build_context = &build};
    const struct call call = call_begin(cancel->fd);
    bool good = false;

    buffer_add(&content, code, strlen(code));
    if (sources_add_code(&sources, &content, NULL, e) < 0 || run_program(host, &call, &request, ret, e) < 0)
        fail(o, what, e->text);
    else if (!ran_well(ret))
        fail_phase(o, what, ret, ret->run.end ? &output : &build);
    else if (!same_text(&output.channel[0], wanted))
        fail(o, what, "its output is not what it should be");
    else
        good = true;
    run_output_free(&output);
    run_output_free(&build);
    sources_done(&sources);
    return good;
}

static bool run_longer(struct host *host, const struct cancel *cancel, const struct language *l,
                       struct outcome *o, struct error *e)
{
    cleanup_free char *source = text_format("%s/programs/%s.%s", host->config.data, l->name, l->extension);
    cleanup_free char *result = text_format("%s/programs/%s.out", host->config.data, l->name);
    cleanup_buffer struct buffer code = {0}, wanted = {0};
    struct run_result r = {0};

    if (file_read(source, PROGRAM_MAX, &code, e) < 0 || file_read(result, PROGRAM_MAX, &wanted, e) < 0) {
        fail(o, "program", e->text);
        return false;
    }
    bool good = run_example(host, cancel, l, "program", code.data, wanted.data, &r, o, e);
    o->program_ns = r.build.ns + r.run.ns;
    return good;
}

static int measure_benchmark(struct host *host, const struct cancel *cancel,
                             const struct benchmark_options *wishes, const struct language *l,
                             struct outcome *o, struct error *e)
{
    struct run_result r = {0};

    *o = (struct outcome){0};
    if (!l->hello || !l->expect)
        fail(o, "hello", "the definition has no example");
    else
        o->passed = run_example(host, cancel, l, "hello", l->hello, l->expect, &r, o, e);
    o->load_ns = r.load_ns;
    o->exec_ns = r.build.ns + r.run.ns;
    if (o->passed && wishes->programs)
        o->passed = run_longer(host, cancel, l, o, e);
    return e->kind == ERROR_CANCELLED ? -1 : 0;
}

static void print_outcome(const struct benchmark_options *wishes, const char *name, unsigned at,
                          unsigned count, const struct outcome *o)
{
    cli_print("[%u/%u] %s: LOAD=%lldms", at, count, name, (long long)(o->load_ns / 1000000));
    if (wishes->programs && o->program_ns)
        cli_print(" EXEC=%lldms PROGRAM=%lldms", (long long)(o->exec_ns / 1000000),
                  (long long)(o->program_ns / 1000000));
    cli_print(" [%s]%s%s\n", o->passed ? "OK" : "FAILED", o->passed ? "" : " ", o->why);
    fflush(stdout);
}

static json_t *describe_benchmark(const char *name, const struct outcome *o)
{
    json_t *j = json_pack("{s:s, s:b, s:f, s:f}", "name", name, "passed", o->passed, "load_ms",
                          (double)o->load_ns / 1e6, "exec_ms", (double)o->exec_ns / 1e6);

    if (o->program_ns)
        json_object_set_new(j, "program_ms", json_real((double)o->program_ns / 1e6));
    if (!o->passed)
        json_object_set_new(j, "error", json_string(o->why));
    return j;
}

static void print_report(const struct totals *t)
{
    cli_print("\n" RULE "  BENCHMARK REPORT\n" RULE "\nResults: %u/%u PASSED, %u FAILED\n\n", t->passed,
              t->passed + t->failed, t->failed);
    cli_print("Average Load Time: %lldms\n", t->passed ? (long long)(t->load_ns / t->passed / 1000000) : 0ll);
    cli_print("Total Load Time: %.1fs\n", (double)t->load_ns / 1e9);
}

static int print_json_report(json_t *all, const struct totals *t, struct error *e)
{
    double total = (double)t->load_ns / 1e6;

    return cli_print_json(json_pack("{s:o, s:i, s:i, s:f, s:f}", "languages", all, "passed", (int)t->passed,
                                    "failed", (int)t->failed, "average_load_ms",
                                    t->passed ? total / t->passed : 0.0, "total_load_ms", total),
                          e);
}

struct selected {
    char *name; /* owned; as it was asked for, which may be an alias */
    struct language language;
};

/* Languages to run, each read once. */
struct selection {
    struct selected *list; /* owned */
    unsigned count;
};

static void selection_done(struct selection *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        free(s->list[i].name);
        language_done(&s->list[i].language);
    }
    free(s->list);
}
#define cleanup_selection __attribute__((cleanup(selection_done)))

static unsigned count_words(const char *list)
{
    unsigned n = 1;

    for (; *list; list++)
        n += *list == ',';
    return n;
}

static int say_which(struct error *e)
{
    return error_set(e, ERROR_USAGE, "say which: capsid benchmark --all, or --langs A,B");
}

/* All of them before the first runs: a mistake in the last name should not show after an hour. */
static int choose_benchmark(struct selection *ret, const char *data, const struct benchmark_options *o,
                            struct error *e)
{
    cleanup_free char *words = o->all ? language_names(data) : text_copy(o->languages);
    struct language l;
    char *state = NULL;

    if (o->all && !words[0])
        return language_find(&l, data, words, e); /* fails, and says where it looked */
    ret->list = memory_allocate(count_words(words) * sizeof(*ret->list));
    for (char *word = strtok_r(words, ",", &state); word; word = strtok_r(NULL, ",", &state)) {
        word = text_trim(word);
        if (language_find(&l, data, word, e) < 0)
            return -1;
        if (o->all && l.recipe.oci) /* its image comes from elsewhere */
            language_done(&l);
        else
            ret->list[ret->count++] = (struct selected){text_copy(word), l};
    }
    return o->all || ret->count > 0 ? 0 : say_which(e);
}

static int measure_all(struct cli *cli, struct host *host, const struct benchmark_options *o,
                       const struct selection *chosen, struct totals *t, json_t *all, struct error *e)
{
    if (!cli->json)
        cli_print(RULE "  BENCHMARK: Snapshot Load Time\n" RULE "Testing %u languages...\n\n", chosen->count);
    for (unsigned i = 0; i < chosen->count; i++) {
        const struct selected *one = &chosen->list[i];
        struct outcome outcome;
        if (measure_benchmark(host, &cli->call.cancel, o, &one->language, &outcome, e) < 0)
            return -1;
        t->passed += outcome.passed;
        t->failed += !outcome.passed;
        t->load_ns += outcome.passed ? outcome.load_ns : 0;
        if (cli->json)
            json_array_append_new(all, describe_benchmark(one->name, &outcome));
        else
            print_outcome(o, one->name, i + 1, chosen->count, &outcome);
    }
    return 0;
}

static int run_verb_benchmark(struct cli *cli, void *values, int argc, char **argv, struct error *e)
{
    struct benchmark_options *o = values;
    struct totals totals = {0};
    struct host host;

    if (argc > 0)
        return error_set(e, ERROR_USAGE, "unexpected argument \"%.64s\"; see: capsid benchmark --help",
                         argv[0]);
    if (!o->all == !o->languages)
        return say_which(e);
    if (host_open(&host, &cli->config, e) < 0)
        return -1;
    cleanup_selection struct selection chosen = {0};
    json_t *all = json_array();
    int status = choose_benchmark(&chosen, host.config.data, o, e);
    if (status == 0)
        status = measure_all(cli, &host, o, &chosen, &totals, all, e);
    if (status == 0 && cli->json)
        status = print_json_report(json_incref(all), &totals, e);
    else if (status == 0)
        print_report(&totals);
    json_decref(all);
    host_close(&host);
    return status < 0 ? -1 : totals.failed > 0;
}

static struct benchmark_options values;

const struct cli_verb verb_benchmark = {
    .name = "benchmark",
    .arguments = "",
    .summary = "run the examples of languages, and report load times",
    .details = details,
    .options = options,
    .run = run_verb_benchmark,
    .values = &values,
};
