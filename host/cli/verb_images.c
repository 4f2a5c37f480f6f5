/* capsid images list|show|tag|untag|rm|gc|lineage|du; cli/look.h has ls|cat|cp|grep|tar */
#include "cli/look.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/moment.h"
#include "broker/stock.h"
#include "core/gc.h"
#include "image/catalog.h"
#include "image/inventory.h"
#include "image/remove.h"
#include "image/tags.h"
#include "service/answer_view.h"

#include <stdio.h>
#include <string.h>

struct images_options {
    struct inventory_wish wish;
    uint64_t keep_days;
    bool dry_run;
    struct look_options look;
};

static int set_moment(void *target, const char *name, const char *value, struct error *e)
{
    if (moment_parse(value, clock_realtime_ns() / 1000000000, target))
        return 0;
    return error_set(
        e, ERROR_USAGE,
        "--%s is \"%.64s\", but must be a time: 2026-12-01T10:30, 90m, 24h, 7d, or seconds since 1970", name,
        value);
}

static const struct cli_option options[] = {
    {"tagged", 0, NULL, "list: those that have a tag", CLI_SWITCH(struct images_options, wish.tagged)},
    {"prefix", 0, "TEXT", "list: those with a tag that begins so",
     CLI_TEXT(struct images_options, wish.prefix)},
    {"since", 0, "TIME", "list: made then or later: a date, or 90m, 24h, 7d ago",
     CLI_CALL(struct images_options, wish.since, set_moment)},
    {"until", 0, "TIME", "list: made before then", CLI_CALL(struct images_options, wish.until, set_moment)},
    {"dry-run", 0, NULL, "gc: only say what would be removed", CLI_SWITCH(struct images_options, dry_run)},
    {"keep-days", 0, "N", "gc: keep those made in the last N days",
     CLI_NUMBER(struct images_options, keep_days, 1, 36500)},
    LOOK_OPTIONS(struct images_options, look),
    {0},
};

struct job {
    struct cli *cli;
    struct host *host;
    const struct images_options *options;
    char **arguments; /* behind the action */
    struct error *error;
};

static json_t *describe_record(const struct image_entry *entry, struct error *e)
{
    const struct stock_record row = stock_of_record(entry);

    return schema_json(SCHEMA_OBJECT_CLI_RECORD, SCHEMA_OF_RECORD, &row, e);
}

/* What a user can call it: lang/NAME and tags. */
static int print_name(const char *name, void *first)
{
    cli_print("%slang/%s", *(bool *)first ? "" : " ", name);
    *(bool *)first = false;
    return 0;
}

static int print_tag(const char *tag, void *first)
{
    cli_print("%s%s", *(bool *)first ? "" : " ", tag);
    *(bool *)first = false;
    return 0;
}

static void print_names(const struct image_entry *entry)
{
    bool first = true;

    inventory_each_word(&entry->names, print_name, &first);
    inventory_each_word(&entry->tags, print_tag, &first);
}

/* ---- list, du ------------------------------------------------------------------------------------ */

struct listing {
    const struct job *job;
    bool all_bytes;  /* a column for what it takes together with those below */
    json_t *images;  /* array, or NULL to print rows */
    json_t *digests; /* whose files are counted already */
    uint64_t bytes;
};

static void count_file(struct listing *l, const char *digest, const char *path)
{
    if (json_object_get(l->digests, digest))
        return;
    json_object_set_new(l->digests, digest, json_true());
    l->bytes += file_allocated(path);
}

static int list_entry(const struct image_entry *entry, void *context)
{
    struct listing *l = context;
    const struct image *i = &entry->image;
    char own[24], all[24], when[24];

    count_file(l, i->digest, i->path);
    for (unsigned n = 0; n < i->layer_count; n++)
        count_file(l, i->layers[n].digest, i->layers[n].path);
    if (l->images)
        return json_array_append_new(l->images, describe_record(entry, l->job->error));
    text_bytes(image_own_bytes(i), own);
    if (l->all_bytes)
        cli_print("%-36s  %9s  %9s  ", i->uuid, own, text_bytes(image_all_bytes(i), all));
    else
        cli_print("%-36s  %-16s  %9s  %-8s  ", i->uuid, cli_time(i->created, when), own,
                  image_origin_name(i->origin));
    print_names(entry);
    cli_print("\n");
    return 0;
}

static int end_listing(struct listing *l, int result)
{
    const struct listing_view all = {
        .items = l->images, .count = json_array_size(l->images), .allocated = l->bytes};
    char size[24];

    if (result == 0 && l->images)
        result = cli_print_json(
            schema_json(SCHEMA_OBJECT_CLI_RECORDS, SCHEMA_OF_LISTING, &all, l->job->error), l->job->error);
    else if (result == 0)
        cli_print("%-36s  %*s\n", "all together, each file once", l->all_bytes ? 20 : 27,
                  text_bytes(l->bytes, size));
    json_decref(l->images);
    json_decref(l->digests);
    return result;
}

static struct listing begin_listing(const struct job *j, bool all_bytes)
{
    if (!j->cli->json && all_bytes)
        cli_print("%-36s  %9s  %9s  %s\n", "UUID", "SIZE", "WITH ALL", "CALLED");
    else if (!j->cli->json)
        cli_print("%-36s  %-16s  %9s  %-8s  %s\n", "UUID", "CREATED", "SIZE", "ORIGIN", "CALLED");
    return (struct listing){.job = j,
                            .all_bytes = all_bytes,
                            .images = j->cli->json ? json_array() : NULL,
                            .digests = json_object()};
}

static int list_images(const struct job *j, const struct inventory *all)
{
    struct listing l = begin_listing(j, false);

    return end_listing(&l, inventory_select(all, &j->options->wish, list_entry, &l));
}

/* The entry of an image that the user named; NULL with an error. */
static const struct image_entry *find_entry(const struct job *j, const struct inventory *all,
                                            const char *reference)
{
    struct image i = {0};

    if (image_resolve(&i, &j->host->home, reference, j->error) < 0)
        return NULL;
    const struct image_entry *entry = inventory_find(all, i.uuid);
    if (!entry)
        error_set(j->error, ERROR_NOT_FOUND, "the image %s was removed meanwhile", i.uuid);
    image_done(&i);
    return entry;
}

static int measure_images(const struct job *j, const struct inventory *all)
{
    struct listing l = begin_listing(j, true);
    int result = 0;

    if (!j->arguments[0])
        result = inventory_select(all, &(struct inventory_wish){0}, list_entry, &l);
    for (char **a = j->arguments; *a && result == 0; a++) {
        const struct image_entry *entry = find_entry(j, all, *a);
        result = entry ? list_entry(entry, &l) : -1;
    }
    return end_listing(&l, result);
}

/* ---- show, lineage ------------------------------------------------------------------------------- */

static void print_if_any(const char *title, const char *text)
{
    if (text && *text)
        cli_print("%-10s %s\n", title, text);
}

static void print_record(const struct image_entry *entry)
{
    const struct image *i = &entry->image;
    char own[24], all[24], when[24];

    cli_print("UUID       %s\n", i->uuid);
    if (entry->names.size + entry->tags.size > 0) {
        cli_print("Called     ");
        print_names(entry);
        cli_print("\n");
    }
    print_if_any("Parent", i->parent);
    cli_print("Origin     %s%s%s\nCreated    %s\n", image_origin_name(i->origin),
              !i->origin_of               ? ""
              : i->origin == IMAGE_BRANCH ? " by "
                                          : " from ",
              i->origin_of ? i->origin_of : "", cli_time(i->created, when));
    cli_print("Size       %s, %s with all that it stands on\nBranches   %zu\n",
              text_bytes(image_own_bytes(i), own), text_bytes(image_all_bytes(i), all), entry->children);
    print_if_any("Workdir", i->defaults.workdir);
    print_if_any("User", i->defaults.user);
    for (char **v = i->defaults.env; v && *v; v++)
        print_if_any(v == i->defaults.env ? "Env" : "", *v);
    cli_print("Files      %s\n", i->path);
    for (unsigned n = 0; n < i->layer_count; n++)
        cli_print("           %s\n", i->layers[n].path);
}

static json_t *describe_files(const struct image *i)
{
    json_t *files = json_array();

    json_array_append_new(files, json_pack("{s:s, s:s, s:I}", "path", i->path, "digest", i->digest,
                                           "allocated_bytes", (json_int_t)file_allocated(i->path)));
    for (unsigned n = 0; n < i->layer_count; n++)
        json_array_append_new(files, json_pack("{s:s, s:s, s:I}", "path", i->layers[n].path, "digest",
                                               i->layers[n].digest, "allocated_bytes",
                                               (json_int_t)file_allocated(i->layers[n].path)));
    return files;
}

static int show_image(const struct job *j, const struct inventory *all)
{
    const struct image_entry *entry = find_entry(j, all, j->arguments[0]);

    if (!entry)
        return -1;
    if (!j->cli->json) {
        print_record(entry);
        return 0;
    }
    json_t *record = describe_record(entry, j->error), *env = json_array();
    for (char **v = entry->image.defaults.env; v && *v; v++)
        json_array_append_new(env, json_string(*v));
    json_object_set_new(record, "env", env);
    json_object_set_new(record, "files", describe_files(&entry->image));
    return cli_print_json(record, j->error);
}

static int print_lineage(const struct job *j, const struct inventory *all)
{
    const struct image_entry *entry = find_entry(j, all, j->arguments[0]);
    struct listing l;
    int result = 0;

    if (!entry)
        return -1;
    l = begin_listing(j, false);
    for (; entry && result == 0;
         entry = entry->image.parent ? inventory_find(all, entry->image.parent) : NULL)
        result = list_entry(entry, &l);
    return end_listing(&l, result);
}

/* ---- tag, untag, rm ------------------------------------------------------------------------------ */

static int tag_image(const struct job *j, const struct inventory *all)
{
    const char *tag = j->arguments[1];
    struct image i = {0};

    (void)all;
    int result = image_resolve(&i, &j->host->home, j->arguments[0], j->error);
    if (result == 0)
        result = image_tag(&i, &j->host->home, tag, NULL, &j->cli->call.cancel, j->error);
    if (result == 0)
        catalog_follow_tag(&j->host->home, tag);
    if (result == 0 && j->cli->json)
        result = cli_print_json(json_pack("{s:s, s:s}", "tag", tag, "image", i.uuid), j->error);
    else if (result == 0)
        cli_print("The image %s has the tag %s\n", i.uuid, tag);
    image_done(&i);
    return result;
}

static int untag_image(const struct job *j, const struct inventory *all)
{
    const char *tag = j->arguments[0];

    (void)all;
    if (image_untag(&j->host->home, tag, &j->cli->call.cancel, j->error) < 0)
        return -1;
    catalog_follow_tag(&j->host->home, tag);
    if (j->cli->json)
        return cli_print_json(json_pack("{s:s}", "untagged", tag), j->error);
    cli_print("No image has the tag %s any more\n", tag);
    return 0;
}

/* Adds to removed, or prints. */
static int remove_image(const struct job *j, const char *reference, json_t *removed, uint64_t *freed)
{
    struct image i = {0};
    uint64_t bytes = 0;
    char size[24];

    int result = image_resolve(&i, &j->host->home, reference, j->error);
    if (result == 0)
        result = image_delete(&j->host->home, &i, &bytes, &j->cli->call.cancel, j->error);
    if (result == 0 && removed)
        json_array_append_new(removed, json_string(i.uuid));
    else if (result == 0)
        cli_print("Removed the image %s, %s\n", i.uuid, text_bytes(bytes, size));
    *freed += bytes;
    image_done(&i);
    return result;
}

static int remove_images(const struct job *j, const struct inventory *all)
{
    json_t *removed = j->cli->json ? json_array() : NULL;
    uint64_t freed = 0;
    int result = 0;

    (void)all;
    for (char **a = j->arguments; *a && result == 0; a++)
        result = remove_image(j, *a, removed, &freed);
    if (result == 0 && removed)
        return cli_print_json(json_pack("{s:o, s:I}", "removed", removed, "freed_bytes", (json_int_t)freed),
                              j->error);
    json_decref(removed);
    return result;
}

/* ---- gc ------------------------------------------------------------------------------------------ */

struct sweep {
    json_t *removed; /* array, or NULL to print */
    bool dry_run;
};

static void report_image(const struct image *i, uint64_t own, void *context)
{
    struct sweep *w = context;
    char size[24];

    if (w->removed)
        json_array_append_new(w->removed,
                              json_pack("{s:s, s:I}", "uuid", i->uuid, "size_bytes", (json_int_t)own));
    else
        cli_print("%s %s  %s\n", w->dry_run ? "Would remove" : "Removed", i->uuid, text_bytes(own, size));
}

static int print_collected(const struct job *j, json_t *removed, const struct image_collected *c)
{
    char size[24];

    if (removed)
        return cli_print_json(json_pack("{s:O, s:b, s:I, s:I}", "removed", removed, "dry_run",
                                        j->options->dry_run, "files", (json_int_t)c->files, "freed_bytes",
                                        (json_int_t)c->freed),
                              j->error);
    cli_print("%s: %s, images: %llu, files: %llu\n", j->options->dry_run ? "Would be freed" : "Freed",
              text_bytes(c->freed, size), (unsigned long long)c->images, (unsigned long long)c->files);
    return 0;
}

static int collect_images(const struct job *j, const struct inventory *all)
{
    struct sweep w = {.removed = j->cli->json ? json_array() : NULL, .dry_run = j->options->dry_run};
    struct image_gc gc = {.dry_run = j->options->dry_run,
                          .keep_days = j->options->keep_days,
                          .needed = snapshot_image_files(j->host, j->error),
                          .report = report_image,
                          .context = &w};
    struct image_collected c;

    (void)all;
    int result = gc.needed ? image_collect(&j->host->home, &gc, &c, &j->cli->call.cancel, j->error) : -1;
    if (result == 0)
        result = print_collected(j, w.removed, &c);
    json_decref(gc.needed);
    json_decref(w.removed);
    return result;
}

/* ---- what is in one --------------------------------------------------------------------------------- */

static int look_inside(const struct job *j, const struct inventory *all)
{
    (void)all;
    return cli_look(j->cli, j->host, &j->options->look, j->arguments - 1, j->error);
}

/* ---- the verb ------------------------------------------------------------------------------------ */

static const struct action {
    const char *name;
    int (*run)(const struct job *j, const struct inventory *all);
    bool reads; /* what there is */
    int min, max;
    const char *arguments;
} actions[] = {
    {"list", list_images, true, 0, 0, ""},
    {"show", show_image, true, 1, 1, "IMAGE"},
    {"tag", tag_image, false, 2, 2, "IMAGE TAG"},
    {"untag", untag_image, false, 1, 1, "TAG"},
    {"rm", remove_images, false, 1, 1000, "IMAGE"},
    {"gc", collect_images, false, 0, 0, ""},
    {"lineage", print_lineage, true, 1, 1, "IMAGE"},
    {"du", measure_images, true, 0, 1000, "[IMAGE...]"},
    {"ls", look_inside, false, 1, 2, "IMAGE [PATH]"},
    {"cat", look_inside, false, 2, 2, "IMAGE PATH"},
    {"cp", look_inside, false, 3, 3, "IMAGE PATH DESTINATION"},
    {"grep", look_inside, false, 2, 3, "IMAGE PATTERN [PATH]"},
    {"tar", look_inside, false, 1, 2, "IMAGE [PATH]"},
};

static int run_action(const struct action *a, const struct job *j)
{
    struct inventory all = {0};

    if (a->reads && inventory_read(&all, &j->host->home, j->error) < 0)
        return -1;
    int status = a->run(j, &all);
    inventory_done(&all);
    return status;
}

static int run_verb_images(struct cli *cli, void *values, int argc, char **argv, struct error *e)
{
    const struct action *a = NULL;
    struct host host;

    for (size_t i = 0; argc > 0 && i < sizeof(actions) / sizeof(actions[0]); i++)
        if (strcmp(argv[0], actions[i].name) == 0)
            a = &actions[i];
    if (!a)
        return error_set(e, ERROR_USAGE,
                         "say what to do: capsid images list, show, tag, untag, rm, gc, lineage, du, ls, "
                         "cat, cp, grep or tar");
    if (argc - 1 < a->min)
        return error_set(e, ERROR_USAGE, "say which: capsid images %s %s", a->name, a->arguments);
    if (argc - 1 > a->max)
        return error_set(e, ERROR_USAGE, "unexpected argument \"%.64s\"", argv[1 + a->max]);
    if (host_open(&host, &cli->config, e) < 0)
        return -1;
    int status = run_action(
        a, &(struct job){.cli = cli, .host = &host, .options = values, .arguments = argv + 1, .error = e});
    host_close(&host);
    return status;
}

static struct images_options values;

static const char details[] =
    "list     shows all, the newest first, with what each adds to the one it stands on\n"
    "show     shows one: what it stands on, where it comes from, its files, what its programs get\n"
    "tag      gives an image a tag; the image that had it before loses it\n"
    "untag    takes a tag away; the image stays\n"
    "rm       removes images with their tags, unless they have a name, others stand on them, or a VM uses "
    "them\n"
    "gc       removes all that no name, tag, snapshot, VM or other image needs, and files of no image\n"
    "lineage  shows an image and all that it stands on, to the first\n"
    "du       shows what images take on disk, alone and with all that they stand on\n"
    "ls       shows a file, or what a directory has; an image's files are read in a VM\n"
    "cat      writes a file to standard output\n"
    "cp       copies a file to this machine, with -r a directory\n"
    "grep     shows the lines of text files that match PATTERN, an extended regular expression\n"
    "tar      writes a file or a directory to standard output, as an archive\n"
    "\nIMAGE is a UUID, tag:TAG, or tag:lang/NAME for the image of a language.\n";

const struct cli_verb verb_images = {
    .name = "images",
    .arguments =
        "list|show IMAGE|tag IMAGE TAG|untag TAG|rm IMAGE...|gc|lineage IMAGE|du [IMAGE...]|ls IMAGE [PATH]|"
        "cat IMAGE PATH|cp IMAGE PATH DESTINATION|grep IMAGE PATTERN [PATH]|tar IMAGE [PATH]",
    .summary = "list, tag and remove images and branches, and read files in them",
    .details = details,
    .options = options,
    .run = run_verb_images,
    .values = &values,
};
