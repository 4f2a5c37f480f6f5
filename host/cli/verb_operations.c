/* capsid operations: what a server does for nobody who waits: lists, output, ends. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/jsontext.h"
#include "client/ask.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH "/api/v1/operations"
#define VALUES_MAX 100000
#define LOOK_MS 500 /* between looks at several operations */

struct operations_values {
    const char *api, *token_file, *status;
    bool follow, any, cancel_others;
    uint64_t timeout;
};

static struct operations_values values;

static const struct cli_option options[] = {
    {"follow", 'f', NULL, "logs: go on until it ends", CLI_SWITCH(struct operations_values, follow)},
    {"any", 0, NULL, "wait: for one of them, not for all", CLI_SWITCH(struct operations_values, any)},
    {"cancel-others", 0, NULL, "wait --any: cancel the others then",
     CLI_SWITCH(struct operations_values, cancel_others)},
    {"timeout", 't', "SECONDS", "wait: no longer than that",
     CLI_NUMBER(struct operations_values, timeout, 1, 604800)},
    {"status", 0, "STATUS", "list: those that are pending, running, succeeded, failed or cancelled",
     CLI_TEXT(struct operations_values, status)},
    {"api", 0, "URL", "the server (CAPSID_API)", CLI_TEXT(struct operations_values, api)},
    {"api-token-file", 0, "PATH", "bearer token for it (CAPSID_API_TOKEN_FILE, or CAPSID_API_TOKEN itself)",
     CLI_TEXT(struct operations_values, token_file)},
    {0},
};

static const char details[] =
    "list    shows those that the server remembers, the newest first\n"
    "show    shows one, with its result when it has ended\n"
    "logs    prints its output as the program did: what there is, or with -f until it ends\n"
    "wait    waits until all have ended, or one with --any; exits with 1 unless they succeeded, with 124 "
    "when the time was over\n"
    "cancel  ends them, and shows how they are\n"
    "\n"
    "capsid run --detach, with --api, begins one. A server keeps them for an hour after their end.\n";

/* ---- the server ------------------------------------------------------------------------------------ */

static json_t *ask_operation(struct client_link *l, const char *method, const char *id, struct error *e)
{
    cleanup_free char *path = text_format(PATH "%s%s", id ? "/" : "", id ? id : "");
    const struct client_question q = {.method = method, .path = path, .values = VALUES_MAX};
    json_t *j = NULL;

    for (const char *p = id; p && *p; p++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-", *p)) {
            error_set(e, ERROR_USAGE, "\"%.64s\" is no operation; see: capsid operations list", id);
            return NULL;
        }
    return client_ask(l, &q, &j, e) == 0 ? j : NULL;
}

static const char *text_of_operation(const json_t *operation, const char *name)
{
    const char *text = json_string_value(json_object_get(operation, name));

    return text ? text : "";
}

static bool has_ended(const json_t *operation)
{
    const char *status = text_of_operation(operation, "status");

    return strcmp(status, "pending") != 0 && strcmp(status, "running") != 0;
}

/* ---- list, show, cancel ----------------------------------------------------------------------------- */

static void print_operation(const json_t *o)
{
    char when[24];
    double created = json_number_value(json_object_get(o, "created"));
    const char *why = text_of_operation(json_object_get(o, "error"), "message");

    cli_print("%-36s %-9s %-10s %-17s %s\n", text_of_operation(o, "id"), text_of_operation(o, "kind"),
              text_of_operation(o, "status"), cli_time((int64_t)created, when), why);
}

static int print_operations(struct cli *cli, json_t *list, struct error *e)
{
    json_t *one;
    size_t i;

    if (cli->json)
        return cli_print_json(json_pack("{s:o}", "operations", list), e);
    cli_print("%-36s %-9s %-10s %-17s %s\n", "ID", "KIND", "STATUS", "CREATED", "");
    json_array_foreach(list, i, one) print_operation(one);
    json_decref(list);
    return 0;
}

static int list_all_operations(struct cli *cli, struct client_link *l, struct error *e)
{
    json_t *all = ask_operation(l, "GET", NULL, e), *list = json_array(), *one;
    size_t i;

    json_array_foreach(json_object_get(all, "operations"), i, one)
    {
        if (!values.status || strcmp(text_of_operation(one, "status"), values.status) == 0)
            json_array_append(list, one);
    }
    int result = all ? print_operations(cli, list, e) : -1;
    if (!all)
        json_decref(list);
    json_decref(all);
    return result;
}

static int show_one_operation(struct client_link *l, const char *id, struct error *e)
{
    json_t *j = ask_operation(l, "GET", id, e);

    return j ? cli_print_json(j, e) : -1;
}

static int cancel_all_operations(struct cli *cli, struct client_link *l, char **ids, struct error *e)
{
    json_t *list = json_array();

    for (; *ids; ids++) {
        json_t *j = ask_operation(l, "DELETE", *ids, e);
        if (!j) {
            json_decref(list);
            return -1;
        }
        json_array_append_new(list, j);
    }
    return print_operations(cli, list, e);
}

/* ---- logs ------------------------------------------------------------------------------------------- */

static int print_output(json_t *line, void *context, struct error *e)
{
    const char *event = text_of_operation(line, "event"), *data = text_of_operation(line, "data");
    cleanup_buffer struct buffer decoded = {0};
    int fd = strcmp(event, "stdout") == 0 ? STDOUT_FILENO : strcmp(event, "stderr") == 0 ? STDERR_FILENO : -1;

    (void)context;
    if (fd < 0)
        return 0;
    if (strcmp(text_of_operation(line, "encoding"), "base64") != 0)
        buffer_add(&decoded, data, strlen(data));
    else if (!text_base64_decode(data, strlen(data), &decoded))
        return error_set(e, ERROR_GENERAL, "the server sent output that is no base64");
    return file_write_fd(fd, decoded.data ? decoded.data : "", decoded.size) < 0
               ? error_errno(e, "cannot write the output")
               : 0;
}

static int print_logs(struct client_link *l, const char *id, struct error *e)
{
    cleanup_free char *path = text_format(PATH "/%s/events?follow=%s", id, values.follow ? "true" : "false");
    const struct client_question q = {
        .method = "GET", .path = path, .values = VALUES_MAX, .on_line = print_output};
    json_t *shown = ask_operation(l, "GET", id, e), *none = NULL; /* also says whether the name is one */

    json_decref(shown);
    return shown ? client_ask(l, &q, &none, e) : -1;
}

/* ---- wait ------------------------------------------------------------------------------------------- */

/* How all are now, in a new list; *ret_ended of them have ended. */
static json_t *look_at_operations(struct client_link *l, char **ids, size_t *ret_count, size_t *ret_ended,
                                  struct error *e)
{
    json_t *list = json_array();

    for (*ret_count = *ret_ended = 0; ids[*ret_count]; ++*ret_count) {
        json_t *j = ask_operation(l, "GET", ids[*ret_count], e);
        if (!j) {
            json_decref(list);
            return NULL;
        }
        *ret_ended += has_ended(j);
        json_array_append_new(list, j);
    }
    return list;
}

static int cancel_others(struct client_link *l, const json_t *list, struct error *e)
{
    json_t *one;
    size_t i;

    json_array_foreach((json_t *)list, i, one)
    {
        json_t *j =
            has_ended(one) ? json_incref(one) : ask_operation(l, "DELETE", text_of_operation(one, "id"), e);
        if (!j)
            return -1;
        json_decref(j);
    }
    return 0;
}

/* 0 when what has ended has succeeded; 124 when not enough has. */
static int status_of_wait(const json_t *list, bool in_time)
{
    json_t *one;
    size_t i;

    if (!in_time)
        return RUN_EXIT_TIMEOUT;
    json_array_foreach((json_t *)list, i, one)
    {
        if (has_ended(one) && strcmp(text_of_operation(one, "status"), "succeeded") != 0)
            return RUN_EXIT_ERROR;
    }
    return 0;
}

static int wait_for_operations(struct cli *cli, struct client_link *l, char **ids, struct error *e)
{
    int64_t deadline = values.timeout ? deadline_in_ms((int64_t)values.timeout * 1000) : DEADLINE_NEVER;
    size_t count, ended;

    for (;;) {
        json_t *list = look_at_operations(l, ids, &count, &ended, e);
        if (!list)
            return -1;
        bool enough = values.any ? ended > 0 : ended == count, late = deadline_passed(deadline);
        if (enough || late) {
            int status = status_of_wait(list, enough);
            if (enough && values.any && values.cancel_others && cancel_others(l, list, e) < 0) {
                json_decref(list);
                return -1;
            }
            return print_operations(cli, list, e) < 0 ? -1 : status;
        }
        json_decref(list);
        if (deadline_poll(NULL, 0, deadline_in_ms(LOOK_MS), &cli->call.cancel, e) < 0)
            return -1;
    }
}

/* ---- the verb --------------------------------------------------------------------------------------- */

static int run_action(struct cli *cli, struct client_link *l, int argc, char **argv, struct error *e)
{
    const char *action = argc > 0 ? argv[0] : "list";

    if (strcmp(action, "list") == 0 && argc <= 1)
        return list_all_operations(cli, l, e);
    if (strcmp(action, "show") == 0 && argc == 2)
        return show_one_operation(l, argv[1], e);
    if (strcmp(action, "logs") == 0 && argc == 2)
        return print_logs(l, argv[1], e);
    if (strcmp(action, "wait") == 0 && argc >= 2)
        return wait_for_operations(cli, l, argv + 1, e);
    if (strcmp(action, "cancel") == 0 && argc >= 2)
        return cancel_all_operations(cli, l, argv + 1, e);
    return error_set(e, ERROR_USAGE, "what to do with which operations? See: capsid operations --help");
}

static int run_verb_operations(struct cli *cli, void *context, int argc, char **argv, struct error *e)
{
    (void)context;
    if ((values.api && config_set(&cli->config, "api", values.api, "command line", e) < 0) ||
        (values.token_file &&
         config_set(&cli->config, "api_token_file", values.token_file, "command line", e) < 0))
        return -1;
    if (!cli->config.api[0])
        return error_set(e, ERROR_USAGE, "operations are a server's: name it with --api URL, or CAPSID_API");
    const struct client client = {.url = cli->config.api,
                                  .token_file = cli->config.api_token_file,
                                  .patience = cli->config.api_patience,
                                  .cancel = cli->call.cancel};
    struct client_link *l = client_open(&client, e);
    int status = l ? run_action(cli, l, argc, argv, e) : -1;
    client_close(l);
    return status;
}

const struct cli_verb verb_operations = {
    .name = "operations",
    .arguments = "list|show ID|logs ID|wait ID...|cancel ID...",
    .summary = "show, await and cancel what a server does for nobody who waits",
    .details = details,
    .options = options,
    .run = run_verb_operations,
    .values = &values,
};
