/* capsid api: the HTTP server. */
#include "cli/cli.h"

#include "api/api.h"
#include "base/cleanup.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

struct verb_options {
    struct api_options api;
    const char *new_token;
};

static const struct cli_option options[] = {
    {"port", 'p', "N", "TCP port; 0: any that is free (8080)"},
    {"bind", 0, "ADDRESS", "address in numbers (127.0.0.1); another one needs --tokens"},
    {"socket", 0, "PATH", "also listen on a Unix socket, for the calling user only"},
    {"no-tcp", 0, NULL, "listen on the Unix socket only"},
    {"tokens", 0, "FILE", "who may use the API; a line each: NAME SHA256 [rate=N] [burst=N] [concurrent=N]"},
    {"new-token", 0, "NAME", "print a new token and its line for that file, and end"},
    {"anonymous", 0, NULL, "serve everyone who can reach the server, without tokens"},
    {"cors-origin", 0, "ORIGIN", "origin whose web pages may use the API; *: any"},
    {"pool", 0, "LANG[=N],...", "keep VMs of these languages ready from the start; off: no pool"},
    {"pool-max", 0, "N", "VMs of the pool at a time (8 for each processor, at most 64)"},
    {"pool-memory", 0, "MIB", "memory that the VMs of the pool may take (what the machine has)"},
    {"workers", 0, "N", "programs at a time that need a VM of their own (2 for each processor)"},
    {"queue", 0, "N", "programs that wait for a VM; further ones get 503 (256)"},
    {"queue-seconds", 0, "N", "how long one waits at most, before it gets 503 (60)"},
    {"receive-seconds", 0, "N", "how long a client may take to send a request (120)"},
    {"max-timeout", 0, "SECONDS", "longest timeout that a request may ask for (300)"},
    {"max-memory", 0, "MIB", "most memory that a request may ask for (half of the machine's, at most 4096)"},
    {"max-vcpus", 0, "N", "most processors that a request may ask for (as many as the machine has)"},
    {"rate", 0, "N", "requests per second of a client; 0: any (0)"},
    {"burst", 0, "N", "requests of a client at once (as --rate)"},
    {"concurrent", 0, "N", "requests of a client that are worked on at a time; 0: any (0)"},
    {"sessions", 0, "N", "sessions at a time, each with a VM of its own; further ones get 503 (32)"},
    {"client-sessions", 0, "N", "sessions of a client at a time; further ones get 429 (16)"},
    {"grace", 0, "SECONDS", "what running programs get at shutdown (10)"},
    {0},
};

/* Flags that are settings too; NULL: not given. */
static struct {
    const char *name, *key, *value;
} settings[] = {{"pool", "pool", NULL}, {"pool-max", "pool_max", NULL}, {"pool-memory", "pool_memory", NULL}};

static int set_settings(struct config *c, struct error *e)
{
    int result = 0;

    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]) && result == 0; i++)
        if (settings[i].value)
            result = config_set(c, settings[i].key, settings[i].value, "command line", e);
    return result;
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
    if (result == 0)
        result = set_settings(ret, e);
    if (result < 0)
        config_done(ret);
    return result;
}

static struct verb_options values = {.api = {.address = "127.0.0.1",
                                             .port = 8080,
                                             .queue = 256,
                                             .queue_seconds = 60,
                                             .receive_seconds = 120,
                                             .timeout_max = 300,
                                             .sessions = 32,
                                             .client_sessions = 16,
                                             .grace_seconds = 10,
                                             .reload = reload}};

static int set_number(struct api_options *o, const char *name, const char *value, struct error *e)
{
    const struct {
        const char *name;
        uint64_t *target, min, max;
    } numbers[] = {
        {"port", &o->port, 0, 65535},
        {"workers", &o->workers, 1, 1024},
        {"queue", &o->queue, 1, 1900},
        {"queue-seconds", &o->queue_seconds, 1, 3600},
        {"receive-seconds", &o->receive_seconds, 1, 3600},
        {"max-timeout", &o->timeout_max, 1, 86400},
        {"max-memory", &o->memory_max, 64, 1048576},
        {"max-vcpus", &o->vcpus_max, 1, 1024},
        {"rate", &o->limits.rate, 0, 1000000},
        {"burst", &o->limits.burst, 0, 1000000},
        {"concurrent", &o->limits.concurrent, 0, 1000000},
        {"sessions", &o->sessions, 0, 1024},
        {"client-sessions", &o->client_sessions, 0, 1024},
        {"grace", &o->grace_seconds, 0, 3600},
    };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (strcmp(name, numbers[i].name) == 0)
            return cli_number(name, value, numbers[i].min, numbers[i].max, numbers[i].target, e);
    return error_set(e, ERROR_USAGE, "unknown option --%s", name);
}

static int set_option(void *context, const char *name, const char *value, struct error *e)
{
    struct verb_options *v = context;
    const struct {
        const char *name;
        const char **text;
        bool *flag;
    } fields[] = {
        {"bind", &v->api.address, NULL},        {"socket", &v->api.socket, NULL},
        {"tokens", &v->api.tokens, NULL},       {"cors-origin", &v->api.cors, NULL},
        {"new-token", &v->new_token, NULL},     {"no-tcp", NULL, &v->api.no_tcp},
        {"anonymous", NULL, &v->api.anonymous},
    };

    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        if (strcmp(settings[i].name, name) == 0) {
            settings[i].value = value;
            return 0;
        }
    }
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (strcmp(fields[i].name, name) != 0)
            continue;
        if (fields[i].text)
            *fields[i].text = value;
        else
            *fields[i].flag = true;
        return 0;
    }
    return set_number(&v->api, name, value, e);
}

static int print_token(const char *name, struct error *e)
{
    cleanup_free char *token = NULL, *line = NULL;

    if (tokens_make(name, &token, &line, e) < 0)
        return -1;
    printf("token: %s\nline:  %s\n", token, line);
    return fflush(stdout) == 0 ? 0 : error_errno(e, "cannot write standard output");
}

static int run(struct cli *cli, void *context, int argc, char **argv, struct error *e)
{
    struct verb_options *v = context;

    if (argc > 0)
        return error_set(e, ERROR_USAGE, "unexpected argument \"%.64s\"; see: capsid api --help", argv[0]);
    if (v->new_token)
        return print_token(v->new_token, e);
    if (v->api.no_tcp && !v->api.socket)
        return error_set(e, ERROR_USAGE, "--no-tcp needs --socket; see: capsid api --help");
    if (set_settings(&cli->config, e) < 0 || config_load(&started_with, e) < 0)
        return -1;
    given = cli->config;
    int result = api_serve(&v->api, &cli->config, e);
    config_done(&started_with);
    return result;
}

static const char details[] =
    "Paths: /health, /metrics, /api/v1/languages, /execute, /run, /rootfs, /snapshots, /operations and "
    "/sessions below /api/v1;\n"
    "/api/v1/openapi.json describes them all, and / is a page to try them.\n"
    "\n"
    "SIGTERM and SIGINT: running programs get --grace seconds, new requests 503. SIGHUP reads settings and "
    "tokens anew.\n"
    "systemd: sockets are taken from LISTEN_FDS, and NOTIFY_SOCKET is told when the server is ready.\n";

const struct cli_verb verb_api = {"api", "",     "serve the HTTP API", details, options, set_option,
                                  run,   &values};
