/*
 * cli: the command line. One verb a file; each verb is a table row with its options, from which its parser
 * and its --help are made.
 */
#ifndef CAPSID_CLI_H
#define CAPSID_CLI_H

#include "base/error.h"
#include "core/supervisor.h"

#include <jansson.h>
#include <stdbool.h>

#define CLI_OPTIONS_MAX 32

struct cli_option {
    const char *name;     /* long name */
    char letter;          /* short name, or 0 */
    const char *argument; /* what stands for the value in the help; NULL: a switch */
    const char *help;
};

/* What every verb is run with. */
struct cli {
    struct config config; /* until a supervisor takes it */
    int cancel_fd;
    bool json;
};

struct cli_verb {
    const char *name;
    const char *arguments;            /* for the usage line; "[-- ...": they come after "--" only */
    const char *summary;              /* one line */
    const char *details;              /* further help, or NULL */
    const struct cli_option *options; /* ends with an empty name */
    /* Takes one option. */
    int (*set)(void *values, const char *name, const char *value, struct error *e);
    /* Runs the verb with the arguments that are not options; returns the exit status, or -1 with an error. */
    int (*run)(struct cli *cli, void *values, int argc, char **argv, struct error *e);
    void *values; /* the verb's own, static */
};

extern const struct cli_verb verb_run, verb_host, verb_snapshot, verb_rootfs, verb_languages, verb_benchmark,
    verb_doctor, verb_api;
extern const struct cli_verb verb_from_docker; /* rootfs from-docker */

/* Parses and runs one verb; argv[0] is the verb. Returns the exit status of the program. */
int cli_run_verb(const struct cli_verb *verb, int argc, char **argv);

/* Prints "Error: ..." and gives the exit status for it. */
int cli_fail(const struct error *e);

/* Parses a whole number in [min, max] for an option. */
int cli_number(const char *option, const char *value, uint64_t min, uint64_t max, uint64_t *ret,
               struct error *e);

/* Parses a size in MiB, or with a suffix M or G, in [min, max] MiB. */
int cli_mebibytes(const char *option, const char *value, uint64_t min, uint64_t max, uint64_t *ret,
                  struct error *e);

/* Prints the object on standard output and takes its reference. */
int cli_print_json(json_t *object, struct error *e);

/* "2026-11-21 07:30" in local time. */
const char *cli_time(int64_t seconds, char out[static 24]);

#endif
