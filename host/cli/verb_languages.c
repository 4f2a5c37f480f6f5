/* capsid languages [NAME] */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "image/ensure.h"
#include "language/language.h"

#include <stdio.h>
#include <string.h>

static const struct cli_option options[] = {{0}};

struct listing {
    struct host *host;
    json_t *array; /* NULL: rows of a table instead */
};

/* "bookworm + bookworm-backports, npm"; the caller frees it. */
static char *packages_from(const struct language *l)
{
    if (l->recipe.oci)
        return text_format("oci %s", l->recipe.oci);
    return text_format("%s%s%s%s", l->recipe.suite, l->recipe.extra ? " + " : "",
                       l->recipe.extra ? l->recipe.extra : "", l->recipe.npm ? ", npm" : "");
}

/* The words of a list that may be NULL. */
static json_t *words(const char *list)
{
    cleanup_free char *copy = text_copy(list ? list : "");
    char *state = NULL;
    json_t *a = json_array();

    for (char *word = strtok_r(copy, ",", &state); word; word = strtok_r(NULL, ",", &state))
        json_array_append_new(a, json_string(text_trim(word)));
    return a;
}

static json_t *extensions(const struct language *l)
{
    json_t *all = json_array(), *further = words(l->extensions);

    json_array_append_new(all, json_string(l->extension));
    json_array_extend(all, further);
    json_decref(further);
    return all;
}

static json_t *describe_languages(const struct language *l, bool installed)
{
    return json_pack("{s:s, s:s, s:o, s:s, s:o, s:s, s:b, s:b, s:s?, s:o, s:o, s:s?, s:I, s:I, s:b}", "name",
                     l->name, "title", l->title, "aliases", words(l->aliases), "extension", l->extension,
                     "extensions", extensions(l), "source", l->source, "compiled", l->build != NULL, "primed",
                     (int)l->prime, "suite", l->recipe.suite, "packages", words(l->recipe.packages), "npm",
                     words(l->recipe.npm), "oci", l->recipe.oci, "memory_mib",
                     (json_int_t)l->shape.memory_mib, "vcpus", (json_int_t)l->shape.vcpus, "installed",
                     (int)installed);
}

static int visit(const struct language *l, void *context, struct error *e)
{
    struct listing *list = context;
    struct host *host = list->host;
    int installed = image_is_current(&host->config, &host->home, l->name, &l->recipe, e);

    if (installed < 0)
        return -1;
    if (list->array)
        return json_array_append_new(list->array, describe_languages(l, installed));
    cleanup_free char *from = packages_from(l);
    cli_print("%-16s .%-9s %6llu MiB  %-9s  %-24.24s  %-28s  %s\n", l->name, l->extension,
              (unsigned long long)l->shape.memory_mib, installed ? "yes" : "no", l->title, from,
              l->aliases ? l->aliases : "");
    return 0;
}

static int show_all(const struct cli *cli, struct host *host, struct error *e)
{
    struct listing list = {.host = host, .array = cli->json ? json_array() : NULL};

    if (!cli->json)
        cli_print("%-16s %-10s %10s  %-9s  %-24s  %-28s  %s\n", "NAME", "EXTENSION", "MEMORY", "INSTALLED",
                  "TITLE", "PACKAGES FROM", "ALIASES");
    if (language_each(host->config.data, visit, &list, e) == 0)
        return cli->json ? cli_print_json(json_pack("{s:o}", "languages", list.array), e) : 0;
    json_decref(list.array);
    return -1;
}

static void print_line(const char *key, const char *value)
{
    if (value && value[0])
        cli_print("%-12s %s\n", key, value);
}

static void print_one(const struct language *l, bool installed)
{
    cleanup_free char *from = packages_from(l);
    cleanup_free char *memory = text_format("%llu MiB", (unsigned long long)l->shape.memory_mib);
    cleanup_free char *vcpus = text_format("%llu", (unsigned long long)l->shape.vcpus);
    cleanup_free char *all =
        text_format("%s%s%s", l->extension, l->extensions ? ", " : "", l->extensions ? l->extensions : "");

    print_line("name", l->name);
    print_line("title", l->title);
    print_line("aliases", l->aliases);
    print_line("extensions", all);
    print_line("source", l->source);
    print_line("build", l->build);
    print_line("run", l->run);
    print_line("primed", l->prime ? "yes" : "no");
    print_line("memory", memory);
    print_line("vcpus", vcpus);
    print_line("from", from);
    print_line("packages", l->recipe.packages);
    print_line("npm", l->recipe.npm);
    print_line("warm-up", l->warm);
    print_line("hello", l->hello);
    print_line("installed", installed ? "yes" : "no");
}

static int show_one(const struct cli *cli, struct host *host, const char *name, struct error *e)
{
    struct language l;

    if (language_find(&l, host->config.data, name, e) < 0)
        return -1;
    int installed = image_is_current(&host->config, &host->home, l.name, &l.recipe, e),
        result = installed < 0 ? -1 : 0;
    if (result == 0 && cli->json)
        result = cli_print_json(describe_languages(&l, installed), e);
    else if (result == 0)
        print_one(&l, installed);
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

static const char details[] =
    "INSTALLED says whether the image of this very definition is built; a first run builds it.\n";

const struct cli_verb verb_languages = {
    .name = "languages",
    .arguments = "[NAME]",
    .summary = "list the languages, or show one",
    .details = details,
    .options = options,
    .run = run_verb_languages,
};
