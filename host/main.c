/* The table of verbs. */
#include "cli/cli.h"
#include "base/cleanup.h"
#include "base/process.h"
#include "base/text.h"
#include "core/run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct cli_verb *const verbs[] = {
    &verb_run,   &verb_host, &verb_snapshot, &verb_rootfs, &verb_languages,  &verb_benchmark, &verb_doctor,
    &verb_setup, &verb_pool, &verb_status,   &verb_images, &verb_operations, &verb_files,     &verb_sync};
#define VERB_COUNT (sizeof(verbs) / sizeof(verbs[0]))

static int print_help(void)
{
    printf(
        "capsid: runs untrusted programs, each in a microVM of its own\n\nUsage: capsid VERB [options]\n\n");
    for (size_t i = 0; i < VERB_COUNT; i++)
        printf("  %-12s %s\n", verbs[i]->name, verbs[i]->summary);
    printf("  %-12s %s\n", "api", "serve the HTTP API");
    printf("\ncapsid VERB --help tells more, and so does the manual: man capsid, man capsid-VERB.\n\n"
           "Example: capsid run --lang python --code \"print('Hello')\"\n");
    return cli_end_output();
}

/* Becomes the program capsid-api, see there. It must not look for the data directory beside itself. */
static int become_api(char **argv)
{
    struct error e = {0};
    struct config c;

    if (config_load(&c, &e) < 0)
        return cli_fail(&e);
    cleanup_free char *path = text_format("%s/capsid-api", c.data);
    setenv("CAPSID_DATA", c.data, 1);
    config_done(&c);
    execv(path, argv);
    error_errno(&e, "cannot run %s (is it installed? make builds it)", path);
    return cli_fail(&e);
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";

    process_begin();
    if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0 || strcmp(verb, "help") == 0)
        return print_help();
    if (strcmp(verb, "--version") == 0) {
        printf("capsid %s\n", CAPSID_VERSION);
        return cli_end_output();
    }
    if (strcmp(verb, "rootfs") == 0 && argc > 2 && strcmp(argv[2], "from-docker") == 0)
        return cli_run_verb(&verb_from_docker, argc - 2, argv + 2);
    if (strcmp(verb, "api") == 0)
        return become_api(argv + 1);
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (strcmp(verbs[i]->name, verb) == 0)
            return cli_run_verb(verbs[i], argc - 1, argv + 1);
    cli_say("Error: %s%s; see: capsid --help\n", verb[0] ? "unknown verb " : "no verb given", verb);
    return RUN_EXIT_ERROR;
}
