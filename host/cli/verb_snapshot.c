/* capsid snapshot create|list|show|verify|rm|gc */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "broker/stock.h"
#include "core/gc.h"
#include "core/target.h"
#include "core/snapshot.h"
#include "service/request.h"

#include <stdio.h>
#include <string.h>

struct snapshot_options {
    struct request request; /* its texts are those of the command line */
    uint64_t keep_days;
    bool dry_run;
};

static const struct cli_option options[] = {
    {"dry-run", 0, NULL, "gc: only say what would be removed", CLI_SWITCH(struct snapshot_options, dry_run)},
    {"keep-days", 0, "N", "gc: keep those made in the last N days",
     CLI_NUMBER(struct snapshot_options, keep_days, 1, 36500)},
    {0},
};

static json_t *describe_snapshot(const struct snapshot *s)
{
    const struct stock_snapshot row = stock_of_snapshot(s, false);

    return schema_json(SCHEMA_OBJECT_CLI_SNAPSHOT, SCHEMA_OF_SNAPSHOT, &row, NULL);
}

/* ---- create ------------------------------------------------------------------------------------- */

static int create_snapshot(struct cli *cli, struct host *host, const struct snapshot_options *o, char **keys,
                           struct error *e)
{
    const struct request *q = &o->request;
    cleanup_free char *with_packages = NULL;
    struct target_wish wish = {.language = q->run.language,
                               .shape = q->run.shape,
                               .start = q->force ? TARGET_RESTORE_ANEW : TARGET_RESTORE};
    struct run_target target;

    (void)keys;
    if (!q->run.language)
        return error_set(e, ERROR_USAGE, "--lang is required; see: capsid snapshot --help");
    if (q->run.packages) {
        wish.language = with_packages = language_variant(q->run.language, q->run.packages, e);
        if (!with_packages)
            return -1;
    }
    int result = target_open(&target, host, &cli->call, &wish, e);
    if (result == 0 && cli->json)
        result = cli_print_json(describe_snapshot(&target.snapshot), e);
    else if (result == 0)
        cli_print("Snapshot %.16s of %s %s\n", target.snapshot.key, target.language.name,
                  target.made ? "is ready" : "was there already");
    target_done(&target);
    return result;
}

/* ---- list --------------------------------------------------------------------------------------- */

static int print_row(const struct snapshot *s, void *context)
{
    char size[24], when[24];

    (void)context;
    text_bytes(s->allocated, size);
    cli_time(s->created, when);
    if (s->problem)
        cli_print("%.16s  %-12s %10s %3s  %-6s %9s  %s\n", s->key, "(unusable)", "", "", "", size, when);
    else
        cli_print("%.16s  %-12s %6llu MiB %3llu  %-6s %9s  %s\n", s->key, s->language,
                  (unsigned long long)s->shape.memory_mib, (unsigned long long)s->shape.vcpus,
                  s->primed_job ? "yes" : "no", size, when);
    return 0;
}

static int collect(const struct snapshot *s, void *context)
{
    return json_array_append_new(context, describe_snapshot(s));
}

static int list(struct cli *cli, struct host *host, const struct snapshot_options *o, char **keys,
                struct error *e)
{
    (void)o, (void)keys;
    if (!cli->json) {
        cli_print("%-16s  %-12s %10s %3s  %-6s %9s  %s\n", "KEY", "LANGUAGE", "MEMORY", "CPU", "PRIMED",
                  "ON DISK", "CREATED");
        return snapshot_each(host, print_row, NULL, e);
    }
    json_t *all = json_array();
    int result = snapshot_each(host, collect, all, e);
    if (result == 0)
        return cli_print_json(schema_list(SCHEMA_OBJECT_SNAPSHOTS, all), e);
    json_decref(all);
    return -1;
}

/* ---- show --------------------------------------------------------------------------------------- */

static void print_inputs(const json_t *inputs)
{
    /* Sorted, as in the text that the key is the digest of. */
    cleanup_free char *text = json_dumps(inputs, JSON_INDENT(2) | JSON_SORT_KEYS);
    json_t *sorted = json_loads(text ? text : "{}", 0, NULL), *value;
    const char *name;

    json_object_foreach(sorted, name, value)
    {
        if (json_is_string(value))
            cli_print("  %-17s %s\n", name, json_string_value(value));
        else
            cli_print("  %-17s %lld\n", name, (long long)json_integer_value(value));
    }
    json_decref(sorted);
}

static void print_snapshot(const struct snapshot *s, int current, const char *reason)
{
    char apparent[24], allocated[24], when[24];

    cli_print("Key       %s\nDirectory %s\nMade      %s\nSize      %s, %s on disk\n", s->key, s->directory,
              cli_time(s->created, when), text_bytes(s->apparent, apparent),
              text_bytes(s->allocated, allocated));
    if (s->problem) {
        cli_print("Unusable  %s\n", s->problem);
        return;
    }
    if (s->primed_job)
        cli_print("Primed    yes, job %u\n", (unsigned)s->primed_job);
    else
        cli_print("Primed    no\n");
    cli_print("Current   %s%s%s\n",
              current > 0    ? "yes"
              : current == 0 ? "no"
                             : "unknown",
              reason ? ": " : "", reason ? reason : "");
    for (size_t i = 0; i < manifest_file_count(s->shape); i++)
        cli_print("%-9s %s, SHA-256 %s\n", manifest_files[i], text_bytes(s->files[i].size, apparent),
                  s->files[i].sha256);
    cli_print("Inputs:\n");
    print_inputs(s->inputs);
}

static json_t *describe_all(const struct snapshot *s, int current, const char *reason)
{
    json_t *j = describe_snapshot(s), *files = json_object();

    for (size_t i = 0; i < manifest_file_count(s->shape) && !s->problem; i++)
        json_object_set_new(
            files, manifest_files[i],
            json_pack("{s:I, s:s}", "size", (json_int_t)s->files[i].size, "sha256", s->files[i].sha256));
    json_object_set_new(j, "directory", json_string(s->directory));
    json_object_set_new(j, "primed_job", json_integer(s->primed_job));
    json_object_set_new(j, "files", files);
    json_object_set_new(j, "inputs", s->inputs ? json_incref(s->inputs) : json_object());
    json_object_set_new(j, "current", current < 0 ? json_null() : json_boolean(current));
    json_object_set_new(j, "reason", reason ? json_string(reason) : json_null());
    return j;
}

static int show(struct cli *cli, struct host *host, const struct snapshot_options *o, char **keys,
                struct error *e)
{
    struct snapshot snapshot = {0};
    cleanup_free char *reason = NULL;
    struct error why = {0};
    int result = 0;

    (void)o;
    if (snapshot_find(&snapshot, host, keys[0], e) < 0)
        return -1;
    int current = snapshot_is_current(host, &snapshot, &reason, &why);
    const char *said = current < 0 ? why.text : reason;
    if (cli->json)
        result = cli_print_json(describe_all(&snapshot, current, said), e);
    else
        print_snapshot(&snapshot, current, said);
    snapshot_done(&snapshot);
    return result;
}

/* ---- verify ------------------------------------------------------------------------------------- */

struct verification {
    json_t *all; /* array, or NULL to print */
    unsigned bad;
    const struct cancel *cancel;
    struct error *error; /* when the user wants no more */
};

static int verify_one(const struct snapshot *s, void *context)
{
    struct verification *v = context;
    struct error why = {0};
    bool good = snapshot_check(s, v->cancel, &why) == 0;

    if (why.kind == ERROR_CANCELLED) {
        *v->error = why;
        return -1;
    }

    v->bad += !good;
    if (v->all)
        return json_array_append_new(v->all, json_pack("{s:s, s:s, s:b, s:s}", "key", s->key, "language",
                                                       s->language, "ok", good, "problem", why.text));
    if (good)
        cli_print("ok       %.16s  %s\n", s->key, s->language);
    else
        cli_print("corrupt  %.16s  %s (remove it with: capsid snapshot rm %.16s)\n", s->key, why.text,
                  s->key);
    return 0;
}

static int verify(struct cli *cli, struct host *host, const struct snapshot_options *o, char **keys,
                  struct error *e)
{
    struct verification v = {.all = cli->json ? json_array() : NULL, .cancel = &cli->call.cancel, .error = e};
    int result = keys[0] ? 0 : snapshot_each(host, verify_one, &v, e);

    (void)o;
    for (char **key = keys; *key && result == 0; key++) {
        struct snapshot snapshot = {0};
        result = snapshot_find(&snapshot, host, *key, e);
        if (result == 0)
            result = verify_one(&snapshot, &v);
        snapshot_done(&snapshot);
    }
    if (result == 0 && v.all)
        result = cli_print_json(json_pack("{s:o}", "snapshots", v.all), e);
    else
        json_decref(v.all);
    return result < 0 ? -1 : v.bad > 0;
}

/* ---- rm, gc ------------------------------------------------------------------------------------- */

static int remove_one(struct cli *cli, struct host *host, const struct snapshot_options *o, char **keys,
                      struct error *e)
{
    struct snapshot snapshot = {0};
    uint64_t freed = 0;
    char size[24];

    (void)o;
    int result = snapshot_find(&snapshot, host, keys[0], e);
    if (result == 0)
        result = snapshot_remove(host, &cli->call, &snapshot, &freed, e);
    if (result == 0 && cli->json)
        result = cli_print_json(
            json_pack("{s:s, s:I}", "removed", snapshot.key, "freed_bytes", (json_int_t)freed), e);
    else if (result == 0)
        cli_print("Removed snapshot %.16s, %s\n", snapshot.key, text_bytes(freed, size));
    snapshot_done(&snapshot);
    return result;
}

struct sweep {
    json_t *removed, *kept; /* arrays, or NULL to print */
    bool dry_run;
};

static void report(const struct snapshot *s, const char *reason, bool removed, void *context)
{
    struct sweep *w = context;
    char size[24];

    if (w->removed)
        json_array_append_new(removed ? w->removed : w->kept,
                              json_pack("{s:s, s:s, s:s, s:I}", "key", s->key, "language", s->language,
                                        "reason", reason, "allocated_bytes", (json_int_t)s->allocated));
    else if (removed)
        cli_print("%s %.16s  %s  %s: %s\n", w->dry_run ? "Would remove" : "Removed", s->key,
                  text_bytes(s->allocated, size), s->language[0] ? s->language : "(unusable)", reason);
    else
        cli_print("Kept %.16s: %s\n", s->key, reason);
}

static int gc(struct cli *cli, struct host *host, const struct snapshot_options *o, char **keys,
              struct error *e)
{
    struct sweep w = {.dry_run = o->dry_run};
    struct snapshot_gc request = {
        .dry_run = o->dry_run, .keep_days = o->keep_days, .report = report, .context = &w};
    uint64_t freed = 0;
    char size[24];

    (void)keys;
    if (cli->json) {
        w.removed = json_array();
        w.kept = json_array();
    }
    int result = snapshot_collect(host, &cli->call, &request, &freed, e);
    if (!cli->json) {
        if (result == 0)
            cli_print("%s: %s\n", o->dry_run ? "Would be freed" : "Freed", text_bytes(freed, size));
        return result;
    }
    json_t *j = json_pack("{s:o, s:o, s:b, s:I}", "removed", w.removed, "kept", w.kept, "dry_run", o->dry_run,
                          "freed_bytes", (json_int_t)freed);
    if (result == 0)
        return cli_print_json(j, e);
    json_decref(j);
    return result;
}

/* ---- the verb ----------------------------------------------------------------------------------- */

static const struct action {
    const char *name;
    int (*run)(struct cli *cli, struct host *host, const struct snapshot_options *o, char **keys,
               struct error *e);
    int keys_min, keys_max;
} actions[] = {
    {"create", create_snapshot, 0, 0}, {"list", list, 0, 0},     {"show", show, 1, 1},
    {"verify", verify, 0, 64},         {"rm", remove_one, 1, 1}, {"gc", gc, 0, 0},
};

static int run_verb_snapshot(struct cli *cli, void *values, int argc, char **argv, struct error *e)
{
    const struct action *a = NULL;
    struct host host;

    for (size_t i = 0; argc > 0 && i < sizeof(actions) / sizeof(actions[0]); i++)
        if (strcmp(argv[0], actions[i].name) == 0)
            a = &actions[i];
    if (!a)
        return error_set(e, ERROR_USAGE,
                         "say what to do: capsid snapshot create, list, show, verify, rm or gc");
    if (argc - 1 < a->keys_min)
        return error_set(e, ERROR_USAGE, "say which: capsid snapshot %s KEY", a->name);
    if (argc - 1 > a->keys_max)
        return error_set(e, ERROR_USAGE, "unexpected argument \"%.64s\"", argv[1 + a->keys_max]);
    if (host_open(&host, &cli->config, e) < 0)
        return -1;
    int status = a->run(cli, &host, values, argv + 1, e);
    host_close(&host);
    return status;
}

static struct snapshot_options values;

static const char details[] =
    "create  makes the snapshot of a language, when it is not there\n"
    "list    shows all, with the space they take on disk\n"
    "show    shows what one was made from, and whether a run would use it today\n"
    "verify  reads every byte of all, or of those named; status 1 when one is corrupt\n"
    "rm      removes one that no process uses\n"
    "gc      removes all that no run would use any more: with another kernel, image, QEMU, language "
    "definition\n"
    "        or setting they would be made anew. Those that a process uses stay\n"
    "\nKEY is the beginning of a key.\n";

const struct cli_verb verb_snapshot = {
    .name = "snapshot",
    .arguments = "create|list|show KEY|verify [KEY...]|rm KEY|gc",
    .summary = "make, list, check and remove snapshots",
    .details = details,
    .request = SCHEMA_OBJECT_SNAPSHOT,
    .request_for = "create: ",
    .options = options,
    .run = run_verb_snapshot,
    .values = &values,
};
