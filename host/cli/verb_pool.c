/* capsid pool: keeps a pool of VMs and shows what becomes of it. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/jsontext.h"
#include "core/pool.h"
#include "core/usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIZE 4
#define PIDS_MAX 1024
#define SECOND 1000000000

struct pool_values {
    const char *languages; /* separated by commas */
    uint64_t size, max, memory, memory_max, seconds, interval;
};

static const struct cli_option options[] = {
    {"lang", 'l', "A,B,...", "languages to keep VMs of", CLI_TEXT(struct pool_values, languages)},
    {"size", 'n', "N", "VMs to keep ready of each (4)", CLI_NUMBER(struct pool_values, size, 1, 1000)},
    {"max", 0, "N", "VMs of all together, also those at work (twice what is kept ready)",
     CLI_NUMBER(struct pool_values, max, 1, PIDS_MAX)},
    {"memory", 'm', "MIB", "memory of each VM (as the language says)",
     CLI_NUMBER(struct pool_values, memory, 32, 65536)},
    {"memory-max", 0, "MIB", "memory that all VMs may have for themselves (no bound)",
     CLI_NUMBER(struct pool_values, memory_max, 32, 1u << 20)},
    {"for", 0, "SECONDS", "end after that time (at Ctrl-C)",
     CLI_NUMBER(struct pool_values, seconds, 1, 86400 * 365)},
    {"interval", 0, "SECONDS", "time between two looks (1)",
     CLI_NUMBER(struct pool_values, interval, 1, 3600)},
    {0},
};

static const char details[] = "Nothing uses these VMs: the verb shows how a pool fills, what it costs, and "
                              "that what dies is replaced.\n"
                              "UNIQUE is the memory that one idle VM has for itself; what it shares with the "
                              "others is counted once, as "
                              "TEMPLATE.\n"
                              "CPU is the time of the VMMs of idle VMs, in percent of one processor. With "
                              "--json: one object a line and look.\n";

/* ---- one look ------------------------------------------------------------------------------------ */

/* Processor time of a VMM at the look before. */
struct seen {
    pid_t pid;
    int64_t cpu_ns;
};

struct watch {
    struct cli *cli;
    struct pool *pool;
    struct seen *seen; /* owned */
    size_t seen_count;
    struct seen *now; /* owned; of this look */
    size_t now_count;
    int64_t looked, elapsed; /* ns */
};

struct cost {
    uint64_t unique; /* median bytes of an idle VM; 0: there is none */
    double cpu;      /* percent of one processor, all idle VMs */
};

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static int64_t cpu_since(struct watch *w, pid_t pid)
{
    int64_t now = usage_cpu_ns(pid), before = now;

    for (size_t i = 0; i < w->seen_count; i++)
        if (w->seen[i].pid == pid)
            before = w->seen[i].cpu_ns;
    if (w->now_count < PIDS_MAX)
        w->now[w->now_count++] = (struct seen){pid, now};
    return now - before;
}

static struct cost measure_pool(struct watch *w, const struct pool_target *t)
{
    pid_t *pids = memory_allocate(PIDS_MAX * sizeof(*pids));
    uint64_t *unique = memory_allocate(PIDS_MAX * sizeof(*unique));
    size_t count = pool_pids(w->pool, t, true, pids, PIDS_MAX), known = 0;
    struct cost c = {0};
    int64_t cpu = 0;

    for (size_t i = 0; i < count; i++) {
        unique[known] = usage_unique(pids[i]);
        known += unique[known] > 0;
        cpu += cpu_since(w, pids[i]);
    }
    qsort(unique, known, sizeof(*unique), compare);
    c.unique = known ? unique[known / 2] : 0;
    c.cpu = w->elapsed > 0 ? 100.0 * (double)cpu / (double)w->elapsed : 0;
    free(pids);
    free(unique);
    return c;
}

static json_t *describe_pool(const struct pool_target *t, const struct pool_stats *s, const struct cost *c)
{
    json_t *j = json_pack(
        "{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}",
        "language", pool_run_target(t)->language.name, "snapshot", pool_run_target(t)->snapshot.key, "size",
        (int)s->size, "ready", (int)s->ready, "warming", (int)s->warming, "taken", (int)s->taken, "ending",
        (int)s->ending, "waiting", (int)s->waiting, "restored", (json_int_t)s->restored, "destroyed",
        (json_int_t)s->destroyed, "served", (json_int_t)s->served, "failures", (json_int_t)s->failures,
        "lost", (json_int_t)s->lost, "unanswered", (json_int_t)s->unanswered, "memory_bytes",
        (json_int_t)s->memory, "unique_bytes", (json_int_t)c->unique, "template_bytes",
        (json_int_t)s->template_size, "retry_ms", (json_int_t)s->retry_ms, "memory_bound", s->memory_bound);

    json_object_set_new(j, "cpu_percent", json_real(c->cpu));
    if (s->failure.kind)
        json_object_set_new(j, "failure", json_string(s->failure.text));
    return j;
}

static void show(const struct pool_target *t, const struct pool_stats *s, void *context)
{
    struct watch *w = context;
    struct cost c = measure_pool(w, t);
    char unique[24], template[24];

    if (w->cli->json) {
        json_t *j = describe_pool(t, s, &c);
        cleanup_free char *line = jsontext_format(j, JSON_COMPACT);
        json_decref(j);
        cli_print("%s\n", line);
        return;
    }
    cli_print("%-12s %5u %7u %5u %6u %8llu %6llu %9s %9s %6.1f  %s%.80s\n", pool_run_target(t)->language.name,
              s->ready, s->warming, s->taken, s->ending, (unsigned long long)s->restored,
              (unsigned long long)(s->failures + s->lost + s->unanswered),
              c.unique ? text_bytes(c.unique, unique) : "-", text_bytes(s->template_size, template), c.cpu,
              s->memory_bound ? "memory is at its bound " : "", s->retry_ms ? s->failure.text : "");
}

static int look(struct watch *w, struct error *e)
{
    int64_t now = clock_monotonic_ns();
    struct seen *kept = w->seen;

    w->elapsed = w->looked ? now - w->looked : 0;
    w->now_count = 0;
    if (!w->cli->json && isatty(STDOUT_FILENO))
        printf("\033[H\033[2J");
    if (!w->cli->json)
        cli_print("%-12s %5s %7s %5s %6s %8s %6s %9s %9s %6s\n", "LANGUAGE", "READY", "WARMING", "TAKEN",
                  "ENDING", "RESTORED", "FAILED", "UNIQUE", "TEMPLATE", "CPU %");
    pool_each(w->pool, show, w);
    w->looked = now;
    w->seen = w->now;
    w->seen_count = w->now_count;
    w->now = kept;
    return fflush(stdout) == 0 ? 0 : error_errno(e, "cannot write standard output");
}

/* Until the time is over, which is no error, or the user's signal. */
static int watch_pool(struct cli *cli, struct pool *pool, const struct cancel *cancel,
                      const struct pool_values *v, struct error *e)
{
    struct watch w = {.cli = cli,
                      .pool = pool,
                      .seen = memory_allocate(PIDS_MAX * sizeof(struct seen)),
                      .now = memory_allocate(PIDS_MAX * sizeof(struct seen))};
    int64_t interval = (int64_t)(v->interval ? v->interval : 1) * SECOND, next = clock_monotonic_ns();
    int64_t end = v->seconds ? next + (int64_t)v->seconds * SECOND : DEADLINE_NEVER;
    int result = 0;

    while (result == 0 && next <= end) {
        result = look(&w, e);
        next += interval;
        if (result == 0)
            result = deadline_poll(NULL, 0, next < end ? next : end, cancel, e);
    }
    free(w.seen);
    free(w.now);
    return result;
}

/* ---- the verb ------------------------------------------------------------------------------------ */

static int add_language(struct cli *cli, struct host *host, struct pool *p, const char *name,
                        const struct pool_values *v, struct error *e)
{
    const struct target_wish wish = {
        .language = name, .shape = {.memory_mib = v->memory}, .start = TARGET_RESTORE};
    struct pool_target *added;
    struct run_target target;

    if (target_open(&target, host, &cli->call, &wish, e) < 0)
        return -1;
    return pool_add(p, &cli->call, &target, (unsigned)(v->size ? v->size : SIZE), &added, e);
}

static unsigned count_words(const char *list)
{
    unsigned count = 1;

    for (; *list; list++)
        count += *list == ',';
    return count;
}

static int run_pool(struct cli *cli, struct host *host, const struct pool_values *v, struct error *e)
{
    uint64_t kept = (v->size ? v->size : SIZE) * count_words(v->languages);
    const struct pool_options pool_options = {.max_vms = (unsigned)(v->max ? v->max : 2 * kept),
                                              .memory_max = v->memory_max << 20};
    cleanup_free char *names = text_copy(v->languages);
    struct pool *p = NULL;
    char *state = NULL;
    int result = pool_open(&p, host, &pool_options, e);

    for (char *name = strtok_r(names, ",", &state); name && result == 0; name = strtok_r(NULL, ",", &state))
        result = add_language(cli, host, p, name, v, e);
    if (result == 0)
        result = watch_pool(cli, p, &cli->call.cancel, v, e);
    pool_close(p);
    return result;
}

static int run_verb_pool(struct cli *cli, void *values, int argc, char **argv, struct error *e)
{
    const struct pool_values *v = values;
    struct host host;

    if (argc > 0)
        return error_set(e, ERROR_USAGE, "unexpected argument \"%.64s\"", argv[0]);
    if (!v->languages)
        return error_set(e, ERROR_USAGE, "--lang is required; see: capsid pool --help");
    if (host_open(&host, &cli->config, e) < 0)
        return -1;
    int result = run_pool(cli, &host, v, e);
    host_close(&host);
    return result;
}

static struct pool_values values;

const struct cli_verb verb_pool = {
    .name = "pool",
    .arguments = "",
    .summary = "keep VMs ready, and watch them",
    .details = details,
    .options = options,
    .run = run_verb_pool,
    .values = &values,
};
