/* capsid rootfs create|list|show|verify|sbom|lock|rm */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/process.h"
#include "broker/stock.h"
#include "core/provide.h"
#include "image/ensure.h"
#include "language/language.h"
#include "image/image.h"
#include "image/remove.h"
#include "service/answer_view.h"
#include "vmm/disk.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rootfs_options {
    const char *name, *language, *packages, *base, *suite, *method, *post, *lock, *output;
    uint64_t disk_mib; /* 0: not given */
};

static const struct cli_option options[] = {
    {"name", 0, "NAME", "create: the image's name; without --packages also the language, or agent",
     CLI_TEXT(struct rootfs_options, name)},
    {"lang", 'l', "NAME", "create: the image of this language", CLI_TEXT(struct rootfs_options, language)},
    {"packages", 0, "LIST", "create: an image of these Debian packages, separated by commas",
     CLI_TEXT(struct rootfs_options, packages)},
    {"base", 0, "NAME", "with --packages: distribution, only debian", CLI_TEXT(struct rootfs_options, base)},
    {"suite", 0, "NAME", "with --packages: Debian release (bookworm)",
     CLI_TEXT(struct rootfs_options, suite)},
    {"method", 0, "NAME",
     "with --packages: essential, a configured Debian, or extract, the smallest (essential)",
     CLI_TEXT(struct rootfs_options, method)},
    {"post-install", 0, "COMMAND", "with --packages: shell command, run inside the tree at the end",
     CLI_TEXT(struct rootfs_options, post)},
    {"size", 0, "MB", "create: disk for what programs change, in MiB or with M or G (default: memory)",
     CLI_SIZE(struct rootfs_options, disk_mib, DISK_MIB_MIN, DISK_MIB_MAX)},
    {"lock", 0, "FILE", "create: from exactly the packages of this file, which rootfs lock wrote",
     CLI_TEXT(struct rootfs_options, lock)},
    {"output", 'o', "FILE", "create: also copy the image there; sbom, lock: write there",
     CLI_TEXT(struct rootfs_options, output)},
    {0},
};

static json_t *describe_rootfs(const struct image *i, struct error *e)
{
    const struct stock_image row = stock_of_image(i);

    return schema_json(SCHEMA_OBJECT_CLI_IMAGE, SCHEMA_OF_IMAGE, &row, e);
}

/* ---- create --------------------------------------------------------------------------------------- */

static int check_create(const struct rootfs_options *o, struct error *e)
{
    if (!o->name && !o->language)
        return error_set(e, ERROR_USAGE, "--name is required; see: capsid rootfs --help");
    if (o->name && !text_is_name(o->name))
        return error_set(e, ERROR_USAGE, "--name %.64s: must be a plain name of at most 64 characters",
                         o->name);
    if (o->packages && o->language)
        return error_set(e, ERROR_USAGE, "give either --lang or --packages, not both");
    if (!o->packages && (o->base || o->suite || o->method || o->post))
        return error_set(
            e, ERROR_USAGE,
            "--base, --suite, --method and --post-install need --packages; a language has its own");
    if (o->base && strcmp(o->base, "debian") != 0)
        return error_set(e, ERROR_USAGE, "--base %.64s: unknown; there is only debian", o->base);
    return 0;
}

/* A definition made of the options, for an image that no language has. */
static int define(struct language *ret, const struct host *host, const struct rootfs_options *o,
                  struct error *e)
{
    struct error ignored = {0};
    struct language taken;
    struct recipe recipe;

    if (!o->name)
        return error_set(e, ERROR_USAGE, "--packages needs a --name for the image");
    if (recipe_find(&recipe, host->config.data, o->name, &ignored) == 0) {
        recipe_done(&recipe);
        return error_set(e, ERROR_USAGE, "--name %s has a recipe of its own; choose another name", o->name);
    }
    if (language_find(&taken, host->config.data, o->name, &ignored) == 0) {
        language_done(&taken);
        return error_set(e, ERROR_USAGE,
                         "--name %s is a language; choose another name for an image of --packages", o->name);
    }
    *ret = (struct language){.name = text_copy(o->name),
                             .recipe = {.suite = text_copy(o->suite ? o->suite : "bookworm"),
                                        .method = text_copy(o->method ? o->method : "essential"),
                                        .packages = text_copy(o->packages),
                                        .post = text_copy(o->post)}};
    return 0;
}

/* An image that is no language's, of DATA/images; 0 with no name: there is none. */
static int find_own_recipe(struct language *ret, const struct host *host, const struct rootfs_options *o,
                           struct error *e)
{
    struct error why = {0};

    *ret = (struct language){0};
    if (o->language)
        return 0;
    if (recipe_find(&ret->recipe, host->config.data, o->name, &why) == 0)
        ret->name = text_copy(o->name);
    else if (why.kind != ERROR_NOT_FOUND)
        return error_set(e, why.kind, "%s", why.text);
    return 0;
}

/* The definition to build, and the name for the image: the language's own, or another that no language has. */
static int choose_rootfs(struct language *ret, const struct host *host, const struct rootfs_options *o,
                         struct error *e)
{
    struct language other;
    struct error ignored = {0};

    if (o->packages)
        return define(ret, host, o, e);
    if (find_own_recipe(ret, host, o, e) < 0 || ret->name)
        return ret->name ? 0 : -1;
    if (language_find(ret, host->config.data, o->language ? o->language : o->name, e) < 0)
        return -1;
    if (!o->name || language_find(&other, host->config.data, o->name, &ignored) < 0)
        return 0;
    int same = strcmp(other.name, ret->name) == 0;
    language_done(&other);
    if (same)
        return 0;
    error_set(e, ERROR_USAGE, "--name %s is another language than %s", o->name, ret->name);
    language_done(ret);
    return -1;
}

/* Copies a finished image; appears by one rename. */
static int copy_out(const struct image *i, const char *output, const struct cancel *cancel, struct error *e)
{
    enum { COPY_DEADLINE_MS = 10 * 60 * 1000 };
    cleanup_free char *unfinished = text_format("%s.new", output);
    const char *argv[] = {"cp", "--", i->path, unfinished, NULL};
    cleanup_buffer struct buffer none = {0};

    if (child_capture(argv, 0, deadline_in_ms(COPY_DEADLINE_MS), cancel, &none, e) < 0) {
        unlink(unfinished);
        return error_wrap(e, "--output %s cannot be written", output);
    }
    if (rename(unfinished, output) < 0) {
        error_errno(e, "--output %s cannot be written", output);
        unlink(unfinished);
        return -1;
    }
    return 0;
}

static int create_image(struct image *ret, struct cli *cli, struct host *host, const struct rootfs_options *o,
                        const struct language *l, struct error *e)
{
    struct error ignored = {0};
    struct language own;
    const char *name = o->name ? o->name : l->name;

    /* An alias stands for its language's own image. */
    if (!o->packages && language_find(&own, host->config.data, name, &ignored) == 0) {
        name = l->name;
        language_done(&own);
    }
    if (image_create(ret, &host->config, &host->home, name, &l->recipe, o->lock, &cli->call.cancel, e) < 0)
        return -1;
    if (provide_tag(ret, host, &cli->call, e) < 0)
        return -1;
    if (o->disk_mib && image_set_disk(ret, &host->home, o->disk_mib, &cli->call.cancel, e) < 0)
        return -1;
    return o->output ? copy_out(ret, o->output, &cli->call.cancel, e) : 0;
}

static int create_rootfs(struct cli *cli, struct host *host, const struct rootfs_options *o, const char *name,
                         struct error *e)
{
    struct image image = {0};
    struct language l;
    char size[24];

    (void)name;
    if (check_create(o, e) < 0 || choose_rootfs(&l, host, o, e) < 0)
        return -1;
    int result = create_image(&image, cli, host, o, &l, e);
    if (result == 0 && cli->json)
        result = cli_print_json(describe_rootfs(&image, e), e);
    else if (result == 0)
        cli_print("Image %s is ready: %s, sha256 %s\n", image.name, text_bytes(image.size, size),
                  image.digest);
    image_done(&image);
    language_done(&l);
    return result;
}

/* ---- list and show -------------------------------------------------------------------------------- */

struct listing {
    json_t *images;  /* array, or NULL to print rows */
    json_t *digests; /* set: images with several names are counted once */
    uint64_t allocated;
    struct error *error;
};

static int list_image(const struct image *i, void *context)
{
    struct listing *l = context;
    char size[24], disk[24], when[24];
    uint64_t allocated = file_allocated(i->path);

    if (!json_object_get(l->digests, i->digest)) {
        json_object_set_new(l->digests, i->digest, json_true());
        l->allocated += allocated;
    }
    if (l->images)
        return json_array_append_new(l->images, describe_rootfs(i, l->error));
    cli_print("%-20s %9s %9s  %.16s  %s\n", i->name, text_bytes(i->size, size), text_bytes(allocated, disk),
              i->digest, cli_time(i->created, when));
    return 0;
}

static int list_rootfs(struct cli *cli, struct host *host, const struct rootfs_options *o, const char *name,
                       struct error *e)
{
    struct listing l = {.images = cli->json ? json_array() : NULL, .digests = json_object(), .error = e};
    char size[24];

    (void)o, (void)name;
    if (!cli->json)
        cli_print("%-20s %9s %9s  %-16s  %s\n", "NAME", "SIZE", "ON DISK", "SHA-256", "CREATED");
    int result = image_each(&host->home, list_image, &l, e);
    json_decref(l.digests);
    const struct listing_view all = {
        .items = l.images, .count = json_array_size(l.images), .allocated = l.allocated};
    if (result == 0 && cli->json)
        result = cli_print_json(schema_json(SCHEMA_OBJECT_CLI_IMAGES, SCHEMA_OF_LISTING, &all, e), e);
    else if (result == 0)
        cli_print("%-20s %9s %9s\n", "all together", "", text_bytes(l.allocated, size));
    json_decref(l.images);
    return result;
}

static json_t *describe_packages(const struct packages *p)
{
    json_t *all = json_array();

    for (size_t i = 0; i < p->count; i++)
        json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:s}", "kind", p->list[i].kind, "name",
                                             p->list[i].name, "version", p->list[i].version, "sha256",
                                             p->list[i].sha256));
    return all;
}

/* What an image says of itself may hold newlines, too. */
static void print_foreign(const char *title, const char *text)
{
    cleanup_free char *plain = text_copy(text ? text : "");

    cli_print("%s %s", title, text_make_plain(plain));
}

static void print_list(const char *title, const json_t *list)
{
    size_t i;
    json_t *word;

    json_array_foreach(list, i, word) print_foreign(i == 0 ? title : "", json_string_value(word));
    if (json_array_size(list) > 0)
        cli_print("\n");
}

static void print_origin(const json_t *oci)
{
    static const struct {
        const char *key, *title;
    } texts[] = {{"image", "Imported: "},
                 {"manifest", "Manifest: "},
                 {"workdir", "Workdir:  "},
                 {"user", "User:     "}};
    static const struct {
        const char *key, *title;
    } lists[] = {{"env", "Env:      "}, {"entrypoint", "Entry:    "}, {"cmd", "Command:  "}};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const char *text = json_string_value(json_object_get(oci, texts[i].key));
        if (!text || !*text)
            continue;
        print_foreign(texts[i].title, text);
        cli_print("\n");
    }
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        print_list(lists[i].title, json_object_get(oci, lists[i].key));
    if (json_is_true(json_object_get(oci, "rpm_not_listed")))
        cli_print("Its rpm packages are not listed: their database is not read.\n");
}

static void print_image(const struct image *i, const struct packages *p)
{
    json_t *oci = i->oci ? json_loads(i->oci, 0, NULL) : NULL;
    char size[24], disk[24], when[24];

    cli_print("Name:      %s\nFile:      %s\nSHA-256:   %s\n", i->name, i->path, i->digest);
    cli_print("Size:      %s (%s on disk)\n", text_bytes(i->size, size),
              text_bytes(file_allocated(i->path), disk));
    if (i->disk_mib)
        cli_print("Disk:      %llu MiB for each VM's changes\n", (unsigned long long)i->disk_mib);
    cli_print("Created:   %s\ninitd:     %s\n", cli_time(i->created, when), i->initd);
    if (oci)
        print_origin(oci);
    json_decref(oci);
    cli_print("Made of:   %zu\n", p->count);
    for (size_t n = 0; n < p->count; n++)
        cli_print("  %-5s %-32s %s\n", p->list[n].kind, p->list[n].name, p->list[n].version);
}

static int show_rootfs(struct cli *cli, struct host *host, const struct rootfs_options *o, const char *name,
                       struct error *e)
{
    struct image i = {0};
    struct packages p = {0};

    (void)o;
    int result = image_find(&i, &host->home, name, e);
    if (result == 0)
        result = image_packages(&p, &host->home, &i, e);
    if (result == 0 && cli->json) {
        json_t *j = describe_rootfs(&i, e);
        json_object_set_new(j, "packages", describe_packages(&p));
        if (i.oci)
            json_object_set_new(j, "oci", json_loads(i.oci, 0, NULL));
        result = cli_print_json(j, e);
    } else if (result == 0) {
        print_image(&i, &p);
    }
    packages_done(&p);
    image_done(&i);
    return result;
}

/* ---- verify, sbom, lock, rm ----------------------------------------------------------------------- */

struct verification {
    json_t *images; /* array, or NULL to print */
    unsigned bad;
    const struct cancel *cancel;
    struct error *error; /* when the user wants no more */
};

static int verify_image(const struct image *i, void *context)
{
    struct verification *v = context;
    struct error why = {0};
    bool good = image_check(i, v->cancel, &why) == 0;

    if (why.kind == ERROR_CANCELLED) {
        *v->error = why;
        return -1;
    }

    v->bad += !good;
    if (v->images)
        return json_array_append_new(
            v->images, json_pack("{s:s, s:b, s:s}", "name", i->name, "ok", good, "problem", why.text));
    if (good)
        cli_print("ok    %s  %s\n", i->name, i->digest);
    else
        cli_say("Error: %s\n", why.text);
    return 0;
}

static int verify_rootfs(struct cli *cli, struct host *host, const struct rootfs_options *o, const char *name,
                         struct error *e)
{
    struct verification v = {
        .images = cli->json ? json_array() : NULL, .cancel = &cli->call.cancel, .error = e};
    struct image i = {0};
    int result;

    (void)o;
    if (name) {
        result = image_find(&i, &host->home, name, e);
        if (result == 0)
            result = verify_image(&i, &v);
        image_done(&i);
    } else {
        result = image_each(&host->home, verify_image, &v, e);
    }
    if (result == 0 && v.images)
        result = cli_print_json(json_pack("{s:o}", "images", v.images), e);
    else
        json_decref(v.images);
    return result < 0 ? -1 : v.bad > 0;
}

/* Prints a record, or copies it to --output. */
static int put_record(struct host *host, const struct rootfs_options *o, const char *path,
                      const struct image *i, struct error *e)
{
    cleanup_buffer struct buffer text = {0};

    (void)host;
    if (!file_exists(path))
        return error_set(e, ERROR_NOT_FOUND,
                         "the image %s has no %s; make it anew with: capsid rootfs create --name %s", i->name,
                         path, i->name);
    if (file_read(path, 4 * PACKAGES_TEXT_MAX, &text, e) < 0)
        return -1;
    if (!o->output)
        return fwrite(text.data, 1, text.size, stdout) == text.size
                   ? 0
                   : error_errno(e, "cannot write standard output");
    cleanup_fd int fd = open(o->output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, process_user_mode());
    if (fd < 0)
        return error_errno(e, "cannot create %s", o->output);
    return file_write_fd(fd, text.data, text.size) < 0 ? error_errno(e, "cannot write %s", o->output) : 0;
}

static int put_sbom(struct cli *cli, struct host *host, const struct rootfs_options *o, const char *name,
                    struct error *e)
{
    struct image i = {0};

    (void)cli;
    if (image_find(&i, &host->home, name, e) < 0)
        return -1;
    cleanup_free char *path = image_sbom_path(&host->home, &i);
    int result = put_record(host, o, path, &i, e);
    image_done(&i);
    return result;
}

static int put_lock(struct cli *cli, struct host *host, const struct rootfs_options *o, const char *name,
                    struct error *e)
{
    struct image i = {0};

    (void)cli;
    if (image_find(&i, &host->home, name, e) < 0)
        return -1;
    cleanup_free char *path = image_lock_path(&host->home, &i);
    int result =
        i.oci
            ? error_set(e, ERROR_USAGE,
                        "the image %s was imported; to import the same again, give from-docker the digest of "
                        "its manifest, which rootfs show tells",
                        name)
            : put_record(host, o, path, &i, e);
    image_done(&i);
    return result;
}

static int remove_image(struct cli *cli, struct host *host, const struct rootfs_options *o, const char *name,
                        struct error *e)
{
    (void)o;
    if (image_remove(&host->home, name, &cli->call.cancel, e) < 0)
        return -1;
    if (cli->json)
        return cli_print_json(json_pack("{s:s}", "removed", name), e);
    cli_print("Removed the image %s. Its snapshots stay; remove them with: capsid snapshot gc\n", name);
    return 0;
}

/* ---- the verb ------------------------------------------------------------------------------------- */

enum takes_name { NO_NAME, MAY_NAME, MUST_NAME };

static const struct action {
    const char *word;
    enum takes_name name;
    int (*run)(struct cli *cli, struct host *host, const struct rootfs_options *o, const char *name,
               struct error *e);
} actions[] = {
    {"create", NO_NAME, create_rootfs},  {"list", NO_NAME, list_rootfs}, {"show", MUST_NAME, show_rootfs},
    {"verify", MAY_NAME, verify_rootfs}, {"sbom", MUST_NAME, put_sbom},  {"lock", MUST_NAME, put_lock},
    {"rm", MUST_NAME, remove_image},
};

static const struct action *find_action(int argc, char **argv, struct error *e)
{
    for (size_t i = 0; argc > 0 && i < sizeof(actions) / sizeof(actions[0]); i++) {
        const struct action *a = &actions[i];
        if (strcmp(argv[0], a->word) != 0)
            continue;
        if (argc > (a->name == NO_NAME ? 1 : 2) || (a->name == MUST_NAME && argc < 2)) {
            error_set(e, ERROR_USAGE,
                      a->name == NO_NAME ? "usage: capsid rootfs %s [options]"
                                         : "usage: capsid rootfs %s NAME",
                      a->word);
            return NULL;
        }
        return a;
    }
    error_set(e, ERROR_USAGE, "say what to do: capsid rootfs create, list, show, verify, sbom, lock or rm");
    return NULL;
}

static int run_verb_rootfs(struct cli *cli, void *values, int argc, char **argv, struct error *e)
{
    const struct action *a = find_action(argc, argv, e);
    struct host host;

    if (!a || host_open(&host, &cli->config, e) < 0)
        return -1;
    int status = a->run(cli, &host, values, argc > 1 ? argv[1] : NULL, e);
    host_close(&host);
    return status;
}

static struct rootfs_options values;

static const char details[] =
    "The image agent, tag:agent, has what agents' commands expect: a Debian 13 with shell tools, git, "
    "Python, "
    "Node.js\n"
    "and a compiler. Commands run in any image: capsid run --image tag:TAG -- COMMAND. capsid run --lang "
    "uses "
    "images of\n"
    "languages only; to run programs in an image of --packages, write a language file for it "
    "(rootfs/README.md).\n";

const struct cli_verb verb_rootfs = {
    .name = "rootfs",
    .arguments = "create | list | show NAME | verify [NAME] | sbom NAME | lock NAME | rm NAME",
    .summary = "build, list, check and remove root filesystem images",
    .details = details,
    .options = options,
    .run = run_verb_rootfs,
    .values = &values,
    .no_empty_values = true,
};
