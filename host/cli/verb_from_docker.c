/* capsid rootfs from-docker */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "broker/stock.h"
#include "image/import.h"
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

static const struct cli_option options[] = {
    {"name", 0, "NAME", "what the image is called here (required)", CLI_TEXT(struct import_request, name)},
    {"image", 0, "REFERENCE", "which image: docker://NAME, oci:DIRECTORY:TAG, docker-archive:FILE (required)",
     CLI_TEXT(struct import_request, reference)},
    {"size", 0, "MB", "disk for what programs change, in MiB or with M or G (default: memory)",
     CLI_SIZE(struct import_request, disk_mib, DISK_MIB_MIN, DISK_MIB_MAX)},
    {"cmd", 0, "WORDS", "kept in place of the image's CMD", CLI_TEXT(struct import_request, cmd)},
    {"max-size", 0, "MIB", "refuse images that unpack to more (default: 8192)",
     CLI_CALL(struct import_request, max_bytes, set_max_bytes)},
    {"max-entries", 0, "N", "refuse images of more files (default: 1000000)",
     CLI_NUMBER(struct import_request, max_entries, 1, 1u << 30)},
    {"max-ratio", 0, "N",
     "refuse layers of more than 64 MiB that are compressed better than N:1 (default: 250)",
     CLI_NUMBER(struct import_request, max_ratio, 1, 1u << 20)},
    {0},
};

static const char details[] =
    "A name without docker:// is looked up as docker does. Of an index the image for linux/amd64 is taken.\n"
    "Layers are gzip, zstd or not compressed. Refused are: names with .., directories behind symbolic links "
    "that\n"
    "leave the image, devices and FIFOs, blobs of another SHA-256, and more than the limits above. Extended\n"
    "attributes are dropped, file capabilities among them.\n"
    "\n"
    "A language whose definition has oci = REFERENCE runs in the imported image of its name. ENV of the "
    "image\n"
    "applies where the definition says nothing; WORKDIR, USER, ENTRYPOINT and CMD are kept with the image.\n";

static int print_image(struct cli *cli, const struct image *i, struct error *e)
{
    char size[24];

    if (cli->json) {
        const struct stock_image row = stock_of_image(i);
        json_t *j = schema_json(SCHEMA_OBJECT_CLI_IMAGE, SCHEMA_OF_IMAGE, &row, e);
        json_object_set_new(j, "oci", json_loads(i->oci, 0, NULL));
        return cli_print_json(j, e);
    }
    cli_print("Image %s is ready: %s, sha256 %s\n", i->name, text_bytes(i->size, size), i->digest);
    return 0;
}

static int run_verb_from_docker(struct cli *cli, void *values, int argc, char **argv, struct error *e)
{
    const struct import_request *r = values;
    struct image image = {0};
    struct host host;

    if (argc > 0)
        return error_set(e, ERROR_USAGE,
                         "unexpected argument \"%.64s\"; see: capsid rootfs from-docker --help", argv[0]);
    if (!r->name || !r->reference)
        return error_set(e, ERROR_USAGE, "--%s is required; see: capsid rootfs from-docker --help",
                         r->name ? "image" : "name");
    if (host_open(&host, &cli->config, e) < 0)
        return -1;
    int result = image_import(&image, &host.config, &host.home, r, &cli->call.cancel, e);
    if (result == 0)
        result = print_image(cli, &image, e);
    image_done(&image);
    host_close(&host);
    return result;
}

static struct import_request values;

const struct cli_verb verb_from_docker = {
    .name = "rootfs from-docker",
    .arguments = "",
    .summary = "make an image of an OCI or Docker image",
    .details = details,
    .options = options,
    .run = run_verb_from_docker,
    .values = &values,
};
