/* capsid rootfs create|list */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "image/image.h"

#include <stdio.h>
#include <string.h>

struct rootfs_options {
    const char *language;
};

static const struct cli_option options[] = {
    {"name", 0, "NAME", "create: language whose image to build (required)"},
    {"lang", 'l', "NAME", "create: the same"},
    {0},
};

static int set_option(void *values, const char *name, const char *value, struct error *e)
{
    (void)name, (void)e;
    ((struct rootfs_options *)values)->language = value;
    return 0;
}

static json_t *describe(const struct image *i)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:I}", "name", i->name, "digest", i->digest, "path", i->path,
                     "size_bytes", (json_int_t)i->size, "created", (json_int_t)i->created);
}

static int create(struct cli *cli, struct supervisor *s, const struct rootfs_options *o, struct error *e)
{
    struct image image = {0};
    struct language l;
    char size[24];

    if (!o->language)
        return error_set(e, ERROR_USAGE, "--name is required; see: capsid rootfs --help");
    if (language_find(&l, s->config.data, o->language, e) < 0)
        return -1;
    int result = image_ensure(&image, &s->config, &s->home, &l, true, &s->cancel, e);
    if (result == 0 && cli->json)
        result = cli_print_json(describe(&image), e);
    else if (result == 0)
        printf("Image %s is ready: %s, sha256 %s\n", image.name, text_bytes(image.size, size), image.digest);
    image_done(&image);
    language_done(&l);
    return result;
}

static int print_row(const struct image *i, void *context)
{
    char size[24], when[24];

    (void)context;
    printf("%-16s %9s  %.16s  %s\n", i->name, text_bytes(i->size, size), i->digest,
           cli_time(i->created, when));
    return 0;
}

static int collect(const struct image *i, void *context)
{
    return json_array_append_new(context, describe(i));
}

static int list(struct cli *cli, struct supervisor *s, struct error *e)
{
    if (!cli->json) {
        printf("%-16s %9s  %-16s  %s\n", "NAME", "SIZE", "SHA-256", "CREATED");
        return image_each(&s->home, print_row, NULL, e);
    }
    json_t *all = json_array();
    int result = image_each(&s->home, collect, all, e);
    if (result == 0)
        return cli_print_json(json_pack("{s:o}", "images", all), e);
    json_decref(all);
    return -1;
}

static int run(struct cli *cli, void *values, int argc, char **argv, struct error *e)
{
    struct supervisor s;

    if (argc != 1 || (strcmp(argv[0], "create") != 0 && strcmp(argv[0], "list") != 0))
        return error_set(e, ERROR_USAGE, "say what to do: capsid rootfs create, from-docker or list");
    if (supervisor_open(&s, &cli->config, cli->cancel_fd, e) < 0)
        return -1;
    int status = strcmp(argv[0], "create") == 0 ? create(cli, &s, values, e) : list(cli, &s, e);
    supervisor_close(&s);
    return status;
}

static struct rootfs_options values;

const struct cli_verb verb_rootfs = {"rootfs",
                                     "create|from-docker|list",
                                     "build and list root filesystem images",
                                     NULL,
                                     options,
                                     set_option,
                                     run,
                                     &values};
