/* capsid languages [NAME] */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "broker/stock.h"
#include "language/language.h"

#include <stdio.h>
#include <string.h>

static const struct cli_option options[] = {{0}};

struct listing {
    struct host *host;
    json_t *array; /* NULL: rows of a table instead */
};

/* "bookworm + bookworm-backports, npm, pip"; the caller frees it. */
static char *packages_from(const struct language *l, const struct stock_language *row)
{
    if (row->imported)
        return text_format("imported %s", row->imported);
    if (l->recipe.oci)
        return text_format("oci %s", l->recipe.oci);
    return text_format("%s%s%s%s%s", l->recipe.suite, l->recipe.extra ? " + " : "",
                       l->recipe.extra ? l->recipe.extra : "", l->recipe.npm ? ", npm" : "",
                       l->recipe.pip ? ", pip" : "");
}

static json_t *describe_language(const struct stock_language *row, struct error *e)
{
    return schema_json(SCHEMA_OBJECT_CLI_LANGUAGE, SCHEMA_OF_LANGUAGE, row, e);
}

static int list_language(const struct listing *list, const struct language *l,
                         const struct stock_language *row, struct error *e)
{
    if (list->array)
        return json_array_append_new(list->array, describe_language(row, e));
    cleanup_free char *from = packages_from(l, row);
    cli_print("%-16s .%-9s %6llu MiB  %-9s  %-24.24s  %-28s  %s\n", l->name, l->extension,
              (unsigned long long)l->shape.memory_mib, row->installed ? "yes" : "no", l->title, from,
              l->aliases ? l->aliases : "");
    return 0;
}

static int visit(const struct language *l, void *context, struct error *e)
{
    const struct listing *list = context;
    struct stock_language row;
    struct image image;

    if (stock_of_language(&row, &image, list->host, l, e) < 0)
        return -1;
    int result = list_language(list, l, &row, e);
    image_done(&image);
    return result;
}

static int show_all(const struct cli *cli, struct host *host, struct error *e)
{
    struct listing list = {.host = host, .array = cli->json ? json_array() : NULL};

    if (!cli->json)
        cli_print("%-16s %-10s %10s  %-9s  %-24s  %-28s  %s\n", "NAME", "EXTENSION", "MEMORY", "INSTALLED",
                  "TITLE", "PACKAGES FROM", "ALIASES");
    if (language_each(host->config.data, visit, &list, e) == 0)
        return cli->json ? cli_print_json(schema_list(SCHEMA_OBJECT_LANGUAGES, list.array), e) : 0;
    json_decref(list.array);
    return -1;
}

static void print_line(const char *key, const char *value)
{
    if (value && value[0])
        cli_print("%-12s %s\n", key, value);
}

static void print_one(const struct language *l, const struct stock_language *row)
{
    cleanup_free char *from = packages_from(l, row);
    cleanup_free char *memory = text_format("%llu MiB", (unsigned long long)l->shape.memory_mib);
    cleanup_free char *vcpus = text_format("%llu", (unsigned long long)l->shape.vcpus);

    print_line("name", l->name);
    print_line("title", l->title);
    print_line("aliases", l->aliases);
    print_line("extensions", l->extensions);
    print_line("source", l->source);
    print_line("build", l->build);
    print_line("run", l->run);
    print_line("primed", row->primed ? "yes" : "no");
    print_line("memory", memory);
    print_line("vcpus", vcpus);
    print_line("from", from);
    print_line("packages", l->recipe.packages);
    print_line("npm", l->recipe.npm);
    print_line("pip", l->recipe.pip);
    print_line("warm-up", l->warm);
    print_line("hello", l->hello);
    print_line("installed", row->installed ? "yes" : "no");
}

static int show_one(const struct cli *cli, struct host *host, const char *name, struct error *e)
{
    struct language l;

    if (language_find(&l, host->config.data, name, e) < 0)
        return -1;
    struct stock_language row;
    struct image image;
    int result = stock_of_language(&row, &image, host, &l, e);
    if (result == 0 && row.imported)
        language_move(&l);
    if (result == 0 && cli->json)
        result = cli_print_json(describe_language(&row, e), e);
    else if (result == 0)
        print_one(&l, &row);
    image_done(&image);
    language_done(&l);
    return result;
}

static int run_verb_languages(struct cli *cli, void *values, int argc, char **argv, struct error *e)
{
    struct host host;

    (void)values;
    if (argc > 1)
        return error_set(e, ERROR_USAGE, "unexpected argument \"%.64s\"; see: capsid languages --help",
                         argv[1]);
    if (host_open(&host, &cli->config, e) < 0)
        return -1;
    int status = argc == 1 ? show_one(cli, &host, argv[0], e) : show_all(cli, &host, e);
    host_close(&host);
    return status;
}

static const char details[] = "INSTALLED says whether the image of this very definition is built; a first "
                              "run builds it. An image that was\n"
                              "imported under the language's name (capsid rootfs from-docker) is used in its "
                              "place until it is removed\n"
                              "(capsid rootfs rm NAME); its interpreter is looked up in the image's PATH.\n";

const struct cli_verb verb_languages = {
    .name = "languages",
    .arguments = "[NAME]",
    .summary = "list the languages, or show one",
    .details = details,
    .options = options,
    .run = run_verb_languages,
};
