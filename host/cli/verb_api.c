/* capsid api: the HTTP server. */
#include "cli/cli.h"

#include "server/server.h"
#include "base/cleanup.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

struct api_values {
    struct server_options api;
    const char *new_token;
    const char *pool, *pool_max, *pool_memory; /* settings too; NULL: not given */
};

static const struct cli_option options[] = {
    {"port", 'p', "N", "TCP port; 0: any that is free (8080)",
     CLI_NUMBER(struct api_values, api.listen.port, 0, 65535)},
    {"bind", 0, "ADDRESS", "address in numbers (127.0.0.1); another one needs --tokens",
     CLI_TEXT(struct api_values, api.listen.address)},
    {"socket", 0, "PATH", "also listen on a Unix socket, for the calling user only",
     CLI_TEXT(struct api_values, api.listen.socket)},
    {"no-tcp", 0, NULL, "listen on the Unix socket only", CLI_SWITCH(struct api_values, api.listen.no_tcp)},
    {"tokens", 0, "FILE", "who may use the API; a line each: NAME SHA256 [rate=N] [burst=N] [concurrent=N]",
     CLI_TEXT(struct api_values, api.tokens)},
    {"new-token", 0, "NAME", "print a new token and its line for that file, and end",
     CLI_TEXT(struct api_values, new_token)},
    {"net-policy", 0, "FILE",
     "where programs may connect to; a line for each token, or *: NAME HOST[:PORT]...",
     CLI_TEXT(struct api_values, api.net_policy)},
    {"anonymous", 0, NULL, "serve everyone who can reach the server, without tokens",
     CLI_SWITCH(struct api_values, api.anonymous)},
    {"cors-origin", 0, "ORIGIN", "origin whose web pages may use the API; *: any",
     CLI_TEXT(struct api_values, api.cors)},
    {"pool", 0, "LANG[=N],...", "keep VMs of these languages ready from the start; off: no pool",
     CLI_TEXT(struct api_values, pool)},
    {"pool-max", 0, "N", "VMs of the pool at a time (8 for each processor, at most 64)",
     CLI_TEXT(struct api_values, pool_max)},
    {"pool-memory", 0, "MIB", "memory that the VMs of the pool may take (what the machine has)",
     CLI_TEXT(struct api_values, pool_memory)},
    {"workers", 0, "N", "programs at a time that need a VM of their own (2 for each processor)",
     CLI_NUMBER(struct api_values, api.workers, 1, 1024)},
    {"queue", 0, "N", "programs that wait for a VM; further ones get 503 (256)",
     CLI_NUMBER(struct api_values, api.queue, 1, 1900)},
    {"queue-seconds", 0, "N", "how long one waits at most, before it gets 503 (60)",
     CLI_NUMBER(struct api_values, api.queue_seconds, 1, 3600)},
    {"receive-seconds", 0, "N", "how long a client may take to send a request (120)",
     CLI_NUMBER(struct api_values, api.receive_seconds, 1, 3600)},
    {"connections", 0, "N", "connections at a time, as far as files may be opened (2000)",
     CLI_NUMBER(struct api_values, api.connections, 1, 100000)},
    {"client-connections", 0, "N", "of one address, or of one client with a token (half of them)",
     CLI_NUMBER(struct api_values, api.client_connections, 1, 100000)},
    {"max-timeout", 0, "SECONDS", "longest timeout that a request may ask for (300)",
     CLI_NUMBER(struct api_values, api.timeout_max, 1, 86400)},
    {"max-memory", 0, "MIB", "most memory that a request may ask for (half of the machine's, at most 4096)",
     CLI_NUMBER(struct api_values, api.memory_max, 64, 1048576)},
    {"max-vcpus", 0, "N", "most processors that a request may ask for (as many as the machine has)",
     CLI_NUMBER(struct api_values, api.vcpus_max, 1, 1024)},
    {"rate", 0, "N", "requests per second of a client; 0: any (0)",
     CLI_NUMBER(struct api_values, api.limits.rate, 0, 1000000)},
    {"burst", 0, "N", "requests of a client at once (as --rate)",
     CLI_NUMBER(struct api_values, api.limits.burst, 0, 1000000)},
    {"concurrent", 0, "N", "requests of a client that are worked on at a time; 0: any (0)",
     CLI_NUMBER(struct api_values, api.limits.concurrent, 0, 1000000)},
    {"sessions", 0, "N", "sessions at a time, each with a VM of its own; further ones get 503 (32)",
     CLI_NUMBER(struct api_values, api.sessions, 0, 1024)},
    {"client-sessions", 0, "N", "sessions of a client at a time; further ones get 429 (16)",
     CLI_NUMBER(struct api_values, api.client_sessions, 0, 1024)},
    {"grace", 0, "SECONDS", "what running programs get at shutdown (10)",
     CLI_NUMBER(struct api_values, api.grace_seconds, 0, 3600)},
    {0},
};

static int reload(struct config *ret, struct error *e);

static struct api_values values = {.api = {.listen = {.address = "127.0.0.1", .port = 8080},
                                           .queue = 256,
                                           .queue_seconds = 60,
                                           .receive_seconds = 120,
                                           .connections = 2000,
                                           .timeout_max = 300,
                                           .sessions = 32,
                                           .client_sessions = 16,
                                           .grace_seconds = 10,
                                           .reload = reload}};

static int set_settings(struct config *c, struct error *e)
{
    const char *const flags[][2] = {
        {"pool", values.pool}, {"pool_max", values.pool_max}, {"pool_memory", values.pool_memory}};

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (flags[i][1] && config_set(c, flags[i][0], flags[i][1], "command line", e) < 0)
            return -1;
    return 0;
}

static struct config started_with; /* by files and environment alone */
static struct config given;        /* with the flags */

/* Files and environment anew, and over them the flags that were given at the start. */
static int reload(struct config *ret, struct error *e)
{
    if (config_load(ret, e) < 0)
        return -1;
    int result = config_set(ret, "home", given.home, "command line", e);
    if (result == 0 && given.accel != started_with.accel)
        result = config_set(ret, "accel", config_accel_name(given.accel), "command line", e);
    if (result == 0 && strcmp(given.vmm, started_with.vmm) != 0)
        result = config_set(ret, "vmm", given.vmm, "command line", e);
    if (result == 0)
        result = set_settings(ret, e);
    if (result < 0)
        config_done(ret);
    return result;
}

static int print_token(const char *name, struct error *e)
{
    cleanup_free char *token = NULL, *line = NULL;

    if (tokens_make(name, &token, &line, e) < 0)
        return -1;
    cli_print("token: %s\nline:  %s\n", token, line);
    return fflush(stdout) == 0 ? 0 : error_errno(e, "cannot write standard output");
}

static int run_verb_api(struct cli *cli, void *context, int argc, char **argv, struct error *e)
{
    struct api_values *v = context;

    if (argc > 0)
        return error_set(e, ERROR_USAGE, "unexpected argument \"%.64s\"; see: capsid api --help", argv[0]);
    if (v->new_token)
        return print_token(v->new_token, e);
    if (v->api.listen.no_tcp && !v->api.listen.socket)
        return error_set(e, ERROR_USAGE, "--no-tcp needs --socket; see: capsid api --help");
    if (set_settings(&cli->config, e) < 0 || config_load(&started_with, e) < 0)
        return -1;
    given = cli->config;
    v->api.cancel_fd = cli->call.cancel.fd;
    int result = server_run(&v->api, &cli->config, e);
    config_done(&started_with);
    return result;
}

static const char details[] =
    "Paths: /health, /metrics, and below /api/v1 /languages, /execute, /run, /rootfs, /images, /snapshots, "
    "/files,\n"
    "/states, /operations and /sessions; /api/v1/openapi.json describes them all, and / is a page to try "
    "them.\n"
    "\n"
    "SIGTERM and SIGINT: running programs get --grace seconds, new requests 503. SIGHUP reads settings and "
    "tokens anew.\n"
    "systemd: sockets are taken from LISTEN_FDS, and NOTIFY_SOCKET is told when the server is ready.\n";

const struct cli_verb verb_api = {
    .name = "api",
    .arguments = "",
    .summary = "serve the HTTP API",
    .details = details,
    .options = options,
    .run = run_verb_api,
    .values = &values,
};
