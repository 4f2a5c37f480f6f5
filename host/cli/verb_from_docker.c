/* capsid rootfs from-docker */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "broker/stock.h"
#include "core/provide.h"
#include "image/catalog.h"
#include "image/import.h"
#include "image/tags.h"
#include "vmm/disk.h"

#include <stdio.h>
#include <string.h>

/* Given in MiB. */
static int set_max_bytes(void *target, const char *name, const char *value, struct error *e)
{
    uint64_t *bytes = target, mib;

    if (cli_number(name, value, 1, 1u << 20, &mib, e) < 0)
        return -1;
    *bytes = mib << 20;
    return 0;
}

struct from_docker {
    struct import_request request;
    const char *tag;
};

static const struct cli_option options[] = {
    {"name", 0, "NAME", "what the image is called here; or give a tag",
     CLI_TEXT(struct from_docker, request.name)},
    {"tag", 0, "TAG", "a tag that the image gets, with or without a name", CLI_TEXT(struct from_docker, tag)},
    {"image", 0, "REFERENCE", "which image: docker://NAME, oci:DIRECTORY:TAG, docker-archive:FILE (required)",
     CLI_TEXT(struct from_docker, request.reference)},
    {"size", 0, "MB", "disk for what programs change, in MiB or with M or G (default: memory)",
     CLI_SIZE(struct from_docker, request.disk_mib, DISK_MIB_MIN, DISK_MIB_MAX)},
    {"cmd", 0, "WORDS", "kept in place of the image's CMD", CLI_TEXT(struct from_docker, request.cmd)},
    {"max-size", 0, "MIB", "refuse images that unpack to more (default: 8192)",
     CLI_CALL(struct from_docker, request.max_bytes, set_max_bytes)},
    {"max-entries", 0, "N", "refuse images of more files (default: 1000000)",
     CLI_NUMBER(struct from_docker, request.max_entries, 1, 1u << 30)},
    {"max-ratio", 0, "N",
     "refuse layers of more than 64 MiB that are compressed better than N:1 (default: 250)",
     CLI_NUMBER(struct from_docker, request.max_ratio, 1, 1u << 20)},
    {0},
};

static const char details[] =
    "A name without docker:// is looked up as docker does. Of an index the image for linux/amd64 is taken.\n"
    "Layers are gzip, zstd or not compressed. Refused are: names with .., directories behind symbolic links "
    "that\n"
    "leave the image, devices and FIFOs, blobs of another SHA-256, and more than the limits above. Extended\n"
    "attributes are dropped, file capabilities among them.\n"
    "\n"
    "Under the name of a language it takes the place of the language's own image, until it is removed "
    "(capsid "
    "rootfs\n"
    "rm NAME): the interpreter is looked up in the image's PATH. ENV of the image applies where the "
    "definition "
    "says\n"
    "nothing; WORKDIR, USER, ENTRYPOINT and CMD are kept with the image.\n";

static int print_image(struct cli *cli, const struct image *i, const char *tag, struct error *e)
{
    char size[24];

    if (cli->json) {
        const struct stock_image row = stock_of_image(i);
        json_t *j = schema_json(SCHEMA_OBJECT_CLI_IMAGE, SCHEMA_OF_IMAGE, &row, e);
        json_object_set_new(j, "oci", json_loads(i->oci, 0, NULL));
        if (tag)
            json_object_set_new(j, "tag", json_string(tag));
        return cli_print_json(j, e);
    }
    cli_print("Image %s is ready: %s, sha256 %s\n", image_label(i), text_bytes(i->size, size), i->digest);
    if (tag)
        cli_print("It has the tag %s\n", tag);
    return 0;
}

/* The language that the image takes the place of, by name or alias; {0}: none. */
static struct language find_replaced(const struct host *host, const char *name)
{
    struct language l = {0};
    struct error ignored = {0};

    if (name)
        language_find(&l, host->config.data, name, &ignored);
    return l;
}

static int check_options(const struct from_docker *o, struct error *e)
{
    if (!o->request.reference || (!o->request.name && !o->tag))
        return error_set(e, ERROR_USAGE, "--%s is required; see: capsid rootfs from-docker --help",
                         o->request.reference ? "name, or --tag," : "image");
    return o->tag ? image_check_tag(o->tag, e) : 0;
}

static int import_image(struct image *ret, struct cli *cli, struct host *host, const struct from_docker *o,
                        struct error *e)
{
    if (image_import(ret, &host->config, &host->home, &o->request, &cli->call.cancel, e) < 0)
        return -1;
    if (ret->name && provide_tag(ret, host, &cli->call, e) < 0)
        return -1;
    if (o->tag && image_tag(ret, &host->home, o->tag, NULL, &cli->call.cancel, e) < 0)
        return -1;
    if (o->tag)
        catalog_follow_tag(&host->home, o->tag);
    return 0;
}

static int run_verb_from_docker(struct cli *cli, void *values, int argc, char **argv, struct error *e)
{
    struct from_docker *o = values;
    struct image image = {0};
    struct host host;

    if (argc > 0)
        return error_set(e, ERROR_USAGE,
                         "unexpected argument \"%.64s\"; see: capsid rootfs from-docker --help", argv[0]);
    if (check_options(o, e) < 0 || host_open(&host, &cli->config, e) < 0)
        return -1;
    struct language l = find_replaced(&host, o->request.name);
    if (l.name)
        o->request.name = l.name;
    int result = import_image(&image, cli, &host, o, e);
    if (result == 0)
        result = print_image(cli, &image, o->tag, e);
    if (result == 0 && l.name && !cli->json)
        cli_print("Programs in %s run in it, until: capsid rootfs rm %s\n", l.name, l.name);
    language_done(&l);
    image_done(&image);
    host_close(&host);
    return result;
}

static struct from_docker values;

const struct cli_verb verb_from_docker = {
    .name = "rootfs from-docker",
    .arguments = "",
    .summary = "make an image of an OCI or Docker image",
    .details = details,
    .options = options,
    .run = run_verb_from_docker,
    .values = &values,
};
