/* capsid snapshot create|list|rm */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "core/snapshot.h"
#include "vmm/disk.h"

#include <stdio.h>
#include <string.h>

struct snapshot_options {
    const char *language;
    uint64_t memory, vcpus, disk_mib;
    bool force;
};

static const struct cli_option options[] = {
    {"lang", 'l', "NAME", "create: language (required)"},
    {"mem", 0, "MB", "create: memory of the VM in MiB"},
    {"vcpus", 0, "N", "create: processors of the VM"},
    {"disk", 0, "MB", "create: scratch disk, in MiB or with M or G (default: as the image says)"},
    {"force", 0, NULL, "create: make it anew, also when it is there"},
    {0},
};

static int set_option(void *values, const char *name, const char *value, struct error *e)
{
    struct snapshot_options *o = values;

    if (strcmp(name, "mem") == 0)
        return cli_number(name, value, 32, 1 << 20, &o->memory, e);
    if (strcmp(name, "vcpus") == 0)
        return cli_number(name, value, 1, 32, &o->vcpus, e);
    if (strcmp(name, "disk") == 0)
        return cli_mebibytes(name, value, DISK_MIB_MIN, DISK_MIB_MAX, &o->disk_mib, e);
    if (strcmp(name, "force") == 0)
        o->force = true;
    else
        o->language = value;
    return 0;
}

static json_t *describe(const struct snapshot *s)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:b, s:I, s:I}", "key", s->key, "language", s->language,
                     "memory_mib", (json_int_t)s->memory_mib, "vcpus", (json_int_t)s->vcpus, "primed",
                     s->primed_job != 0, "allocated_bytes", (json_int_t)s->allocated, "created",
                     (json_int_t)s->created);
}

static int create(struct cli *cli, struct supervisor *s, const struct snapshot_options *o, struct error *e)
{
    struct snapshot snapshot = {0};
    struct image image = {0};
    struct language l;
    bool made = false;

    if (!o->language)
        return error_set(e, ERROR_USAGE, "--lang is required; see: capsid snapshot --help");
    if (language_find(&l, s->config.data, o->language, e) < 0)
        return -1;
    int result = image_ensure(&image, &s->config, &s->home, &l, false, &s->cancel, e);
    struct machine_spec spec = {.kernel = s->config.kernel,
                                .image = image.path,
                                .memory_mib = o->memory ? o->memory : l.memory,
                                .vcpus = o->vcpus ? o->vcpus : l.vcpus,
                                .disk_mib = o->disk_mib ? o->disk_mib : image.disk_mib};
    if (result == 0)
        result = snapshot_ensure(&snapshot, s, &l, &image, &spec, o->force, &made, e);
    if (result == 0 && cli->json)
        result = cli_print_json(describe(&snapshot), e);
    else if (result == 0)
        printf("Snapshot %.16s of %s %s\n", snapshot.key, l.name, made ? "is ready" : "was there already");
    snapshot_done(&snapshot);
    image_done(&image);
    language_done(&l);
    return result;
}

static int print_row(const struct snapshot *s, void *context)
{
    char size[24], when[24];

    (void)context;
    printf("%.16s  %-12s %6llu MiB %3llu  %-6s %9s  %s\n", s->key, s->language,
           (unsigned long long)s->memory_mib, (unsigned long long)s->vcpus, s->primed_job ? "yes" : "no",
           text_bytes(s->allocated, size), cli_time(s->created, when));
    return 0;
}

static int collect(const struct snapshot *s, void *context)
{
    return json_array_append_new(context, describe(s));
}

static int list(struct cli *cli, struct supervisor *s, struct error *e)
{
    if (!cli->json) {
        printf("%-16s  %-12s %10s %3s  %-6s %9s  %s\n", "KEY", "LANGUAGE", "MEMORY", "CPU", "PRIMED",
               "ON DISK", "CREATED");
        return snapshot_each(s, print_row, NULL, e);
    }
    json_t *all = json_array();
    int result = snapshot_each(s, collect, all, e);
    if (result == 0)
        return cli_print_json(json_pack("{s:o}", "snapshots", all), e);
    json_decref(all);
    return -1;
}

static int run(struct cli *cli, void *values, int argc, char **argv, struct error *e)
{
    const char *action = argc > 0 ? argv[0] : "";
    struct supervisor s;
    int wanted = strcmp(action, "rm") == 0 ? 2 : 1;

    if (strcmp(action, "create") != 0 && strcmp(action, "list") != 0 && strcmp(action, "rm") != 0)
        return error_set(e, ERROR_USAGE, "say what to do: capsid snapshot create, list or rm");
    if (argc != wanted)
        return error_set(e, ERROR_USAGE,
                         wanted == 2 ? "say which: capsid snapshot rm KEY" : "unexpected argument \"%.64s\"",
                         argc > 1 ? argv[1] : "");
    if (supervisor_open(&s, &cli->config, cli->cancel_fd, e) < 0)
        return -1;
    int status = strcmp(action, "create") == 0 ? create(cli, &s, values, e)
                 : strcmp(action, "list") == 0 ? list(cli, &s, e)
                                               : snapshot_remove(&s, argv[1], e);
    supervisor_close(&s);
    return status;
}

static struct snapshot_options values;

const struct cli_verb verb_snapshot = {
    "snapshot", "create|list|rm KEY", "make, list and remove snapshots", NULL, options, set_option, run,
    &values};
