/* capsid sync DIRECTORY: makes a directory state. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "client/ask.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sync_values {
    const char *exclude[SYNC_EXCLUDES_MAX + 1]; /* ends with NULL */
    size_t exclude_count;
    bool gitignore;
    const char *api, *token_file;
};

static int exclude(void *target, const char *name, const char *value, struct error *e)
{
    struct sync_values *v = target;

    if (v->exclude_count == SYNC_EXCLUDES_MAX)
        return error_set(e, ERROR_USAGE, "--%s more than %d times; put the patterns in .gitignore", name,
                         SYNC_EXCLUDES_MAX);
    v->exclude[v->exclude_count++] = value;
    return 0;
}

static const struct cli_option options[] = {
    {"exclude", 'x', "PATTERN", "leave out what matches, as a line of .gitignore does; repeatable",
     CLI_CALL(struct sync_values, exclude, exclude)},
    {"gitignore", 0, NULL, "leave out what the .gitignore files in the directory say, and .git",
     CLI_SWITCH(struct sync_values, gitignore)},
    {"api", 0, "URL", "make it on that server, as of capsid run (CAPSID_API)",
     CLI_TEXT(struct sync_values, api)},
    {"api-token-file", 0, "PATH", "bearer token for it (CAPSID_API_TOKEN_FILE, or CAPSID_API_TOKEN itself)",
     CLI_TEXT(struct sync_values, token_file)},
    {0},
};

struct outcome {
    int64_t id;
    struct sync_count count;
    uint64_t sent; /* to a server */
};

static int report(const struct cli *cli, const struct outcome *o, struct error *e)
{
    const struct sync_count *c = &o->count;
    char size[24];

    if (cli->json)
        return cli_print_json(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "id", (json_int_t)o->id, "files",
                                        (json_int_t)c->files, "bytes", (json_int_t)c->bytes, "read",
                                        (json_int_t)c->read, "left_out", (json_int_t)c->left_out, "sent",
                                        (json_int_t)o->sent),
                              e);
    log_progress("%llu files, %s: %llu read, %llu sent", (unsigned long long)c->files,
                 text_bytes(c->bytes, size), (unsigned long long)c->read, (unsigned long long)o->sent);
    if (c->left_out)
        log_warning("%llu sockets, pipes and devices are left out", (unsigned long long)c->left_out);
    cli_print("%lld\n", (long long)o->id);
    return 0;
}

static int make_here(struct files *f, struct state_list *list, struct outcome *ret, struct error *e)
{
    struct state state;

    if (states_make(f, "", list, &state, e) < 0)
        return -1;
    ret->id = state.number;
    return 0;
}

static int make_there(const struct cli *cli, const struct config *config, const char *path,
                      const struct state_list *list, struct outcome *ret, struct error *e)
{
    const struct client client = {.url = config->api,
                                  .token_file = config->api_token_file,
                                  .patience = config->api_patience,
                                  .cancel = cli->call.cancel};
    cleanup_fd int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct client_link *link = root < 0 ? NULL : client_open(&client, e);

    if (root < 0)
        return error_errno(e, "cannot open %s", path);
    int result = link ? client_make_state(link, root, list, &ret->id, &ret->sent, e) : -1;
    client_close(link);
    return result;
}

static int sync_directory_of(const struct cli *cli, struct host *host, const char *path,
                             const struct sync_options *o, struct error *e)
{
    struct state_list list = {0};
    struct outcome outcome = {0};
    struct files files;

    if (files_open_home(&files, &host->home, host->config.files_max, e) < 0)
        return -1;
    int result = sync_directory(&files, "", path, o, &list, &outcome.count, e);
    if (result == 0)
        result = o->keep ? make_here(&files, &list, &outcome, e)
                         : make_there(cli, &host->config, path, &list, &outcome, e);
    state_list_done(&list);
    files_close(&files);
    return result == 0 ? report(cli, &outcome, e) : -1;
}

static int run_cli_verb_sync(struct cli *cli, void *values, int argc, char **argv, struct error *e)
{
    const struct sync_values *v = values;
    struct sync_options o = {.exclude = v->exclude, .gitignore = v->gitignore, .cancel = &cli->call.cancel};
    struct host host;

    if (argc != 1)
        return error_set(e, ERROR_USAGE, "which directory? See: capsid sync --help");
    if ((v->api && config_set(&cli->config, "api", v->api, "command line", e) < 0) ||
        (v->token_file && config_set(&cli->config, "api_token_file", v->token_file, "command line", e) < 0) ||
        host_open(&host, &cli->config, e) < 0)
        return -1;
    o.keep = !host.config.api[0];
    int result = sync_directory_of(cli, &host, argv[0], &o, e);
    host_close(&host);
    return result;
}

static struct sync_values sync_values;

static const char details[] = "Prints the number of a directory state, which holds the directory as it is: "
                              "files, modes, symbolic links, "
                              "and\n"
                              "empty directories. A run has it with --state NUMBER. An equal directory has "
                              "the number that it had before, "
                              "and\n"
                              "files whose size, times and inode are as they were are not read again. To a "
                              "server (--api) goes what it lacks.\n";

const struct cli_verb verb_sync = {
    .name = "sync",
    .arguments = "DIRECTORY",
    .summary = "keep a directory as a state for runs",
    .details = details,
    .options = options,
    .run = run_cli_verb_sync,
    .values = &sync_values,
};
