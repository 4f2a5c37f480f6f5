/* capsid files: what was uploaded, and directory states. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "files/states.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct cli_option options[] = {{0}};

static json_t *describe_item(const struct file_item *i)
{
    return json_pack("{s:s, s:s, s:I, s:I}", "uuid", i->uuid, "sha256", i->digest, "size",
                     (json_int_t)i->size, "created", (json_int_t)i->created);
}

/* ---- add ------------------------------------------------------------------------------------------- */

static int add_one(struct files *f, const char *path, struct file_item *ret, struct error *e)
{
    cleanup_fd int fd =
        strcmp(path, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : file_open(path, O_RDONLY, e);
    struct file_staged staged = {0};

    if (fd < 0)
        return strcmp(path, "-") == 0 ? error_errno(e, "cannot read standard input") : -1;
    int result = files_stage(f, fd, path, &staged, e);
    if (result == 0)
        result = files_keep(f, "", &staged, 1, e);
    *ret = staged.item;
    file_staged_done(&staged);
    return result;
}

static int add_all(struct cli *cli, struct files *f, int count, char **paths, struct error *e)
{
    json_t *list = json_array();
    int result = count ? 0 : error_set(e, ERROR_USAGE, "which files? See: capsid files --help");

    for (int i = 0; result == 0 && i < count; i++) {
        struct file_item item;
        result = add_one(f, paths[i], &item, e);
        if (result == 0 && cli->json)
            json_array_append_new(list, describe_item(&item));
        else if (result == 0)
            cli_print("%s  %s\n", item.uuid, paths[i]);
    }
    if (result == 0 && cli->json)
        return cli_print_json(json_pack("{s:o}", "files", list), e);
    json_decref(list);
    return result;
}

/* ---- list ------------------------------------------------------------------------------------------ */

static bool list_item(const struct file_item *i, void *context)
{
    char size[24], when[24];

    if (context)
        json_array_append_new(context, describe_item(i));
    else
        cli_print("%-36s  %10s  %s\n", i->uuid, text_bytes(i->size, size), cli_time(i->created, when));
    return true;
}

static void list_state(const struct state *s, void *context)
{
    char size[24], when[24];

    if (context)
        json_array_append_new(context, json_pack("{s:I, s:I, s:I, s:I}", "id", (json_int_t)s->number, "files",
                                                 (json_int_t)s->files, "bytes", (json_int_t)s->bytes,
                                                 "created", (json_int_t)s->created));
    else
        cli_print("%-36lld  %10s  %s  %llu files\n", (long long)s->number, text_bytes(s->bytes, size),
                  cli_time(s->created, when), (unsigned long long)s->files);
}

static int list_all(struct cli *cli, struct files *f, struct error *e)
{
    json_t *files = cli->json ? json_array() : NULL, *states = cli->json ? json_array() : NULL;
    uint64_t used = 0;

    if (!cli->json)
        cli_print("%-36s  %10s  %s\n", "FILE OR STATE", "SIZE", "CREATED");
    int result = states_each(f, "", list_state, states, e) < 0 ||
                         files_each(f, "", list_item, files, e) < 0 || files_used(f, "", &used, e) < 0
                     ? -1
                     : 0;
    if (result == 0 && cli->json)
        return cli_print_json(
            json_pack("{s:o, s:o, s:I}", "files", files, "states", states, "used", (json_int_t)used), e);
    json_decref(files);
    json_decref(states);
    return result;
}

/* ---- rm -------------------------------------------------------------------------------------------- */

static int remove_all(struct files *f, int count, char **names, struct error *e)
{
    int result = count ? 0 : error_set(e, ERROR_USAGE, "which files or states? See: capsid files --help");
    uint64_t number;

    for (int i = 0; result == 0 && i < count; i++)
        result = text_to_u64(names[i], 1, INT64_MAX, &number) ? states_remove(f, "", (int64_t)number, e)
                                                              : files_remove(f, "", names[i], e);
    return result == 0 ? files_sweep(f, e) : -1;
}

static int run_cli_verb_files(struct cli *cli, void *values, int argc, char **argv, struct error *e)
{
    const char *action = argc > 0 ? argv[0] : "";
    struct files files;
    struct host host;
    int result;

    (void)values;
    if (host_open(&host, &cli->config, e) < 0)
        return -1;
    result = files_open_home(&files, &host.home, host.config.files_max, e);
    if (result == 0 && strcmp(action, "add") == 0)
        result = add_all(cli, &files, argc - 1, argv + 1, e);
    else if (result == 0 && strcmp(action, "list") == 0 && argc == 1)
        result = list_all(cli, &files, e);
    else if (result == 0 && strcmp(action, "rm") == 0)
        result = remove_all(&files, argc - 1, argv + 1, e);
    else if (result == 0)
        result = error_set(e, ERROR_USAGE, "say add, list or rm; see: capsid files --help");
    files_close(&files);
    host_close(&host);
    return result;
}

static const char details[] =
    "add: keeps files, - for standard input, and prints their UUIDs; equal content has one UUID, and is kept "
    "once.\n"
    "list: files and directory states (capsid sync). rm: removes files by UUID or SHA-256, and states by "
    "their "
    "number;\n"
    "a file that a state holds stays until that is gone.\n"
    "A run has them with --put UUID:PATH and --state NUMBER.\n";

const struct cli_verb verb_files = {
    .name = "files",
    .arguments = "add PATH... | list | rm UUID-OR-STATE...",
    .summary = "upload files for runs, list and remove them",
    .details = details,
    .options = options,
    .run = run_cli_verb_files,
};
