/*
 * cli: the command line. One verb a file; each verb is a table row with its options, from which its parser
 * and its --help are made. An option's row also says where its value goes:
 *
 *   {"size", 'n', "N", "VMs to keep ready of each (4)", CLI_NUMBER(struct pool_values, size, 1, 1000)},
 */
#ifndef CAPSID_CLI_H
#define CAPSID_CLI_H

#include "base/error.h"
#include "core/call.h"
#include "core/host.h"
#include "service/schema.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define CLI_OPTIONS_MAX 32

enum cli_kind {
    CLI_KIND_SWITCH, /* bool: becomes true */
    CLI_KIND_TEXT,   /* const char *: the argument itself, not a copy */
    CLI_KIND_NUMBER, /* uint64_t: see cli_number() */
    CLI_KIND_SIZE,   /* uint64_t: MiB, see cli_mebibytes() */
    CLI_KIND_CALL,   /* whatever the option's own function makes of it */
    CLI_KIND_PAIR,   /* of a request: schema_add_pair() */
    CLI_KIND_WORD,   /* of a request: schema_add_word() */
    CLI_KIND_CHOICE, /* unsigned, of a request: which of the field's names */
    CLI_KIND_FIELD,  /* of a request: the verb's take_field() */
};

/* Stores an option's value, NULL for a switch, in the target that its row names. */
typedef int cli_call(void *target, const char *name, const char *value, struct error *e);

struct cli_option {
    const char *name;     /* long name */
    char letter;          /* short name, or 0 */
    const char *argument; /* what stands for the value in the help; NULL: no value */
    const char *help;
    /* From here on one of the macros below. */
    enum cli_kind kind;
    size_t offset;                    /* of the target in the verb's values */
    uint64_t min, max;                /* of numbers and sizes */
    cli_call *call;                   /* of CLI_KIND_CALL */
    const struct schema_field *field; /* of a request */
};

/* The end of an option's row: the target is a member of the struct that the verb's values are. */
#define CLI_SWITCH(of, member) CLI_KIND_SWITCH, CLI_OFFSET(bool, of, member), 0, 0, NULL, NULL
#define CLI_TEXT(of, member) CLI_KIND_TEXT, CLI_OFFSET(const char *, of, member), 0, 0, NULL, NULL
#define CLI_NUMBER(of, member, min, max)                                                                     \
    CLI_KIND_NUMBER, CLI_OFFSET(uint64_t, of, member), min, max, NULL, NULL
#define CLI_SIZE(of, member, min, max) CLI_KIND_SIZE, CLI_OFFSET(uint64_t, of, member), min, max, NULL, NULL
#define CLI_CALL(of, member, function) CLI_KIND_CALL, offsetof(of, member), 0, 0, function, NULL

/* A member of another type does not compile. Versions of clang-format want the colon in different places. */
/* clang-format off */
#define CLI_OFFSET(type, of, member) _Generic(((of *)0)->member, type: offsetof(of, member))
/* clang-format on */

/* What every verb is run with. */
struct cli {
    struct config config; /* until a host takes it */
    struct call call;
    bool json, help;
};

struct cli_verb {
    const char *name;
    const char *arguments;            /* for the usage line; "[-- ...": they come after "--" only */
    const char *summary;              /* one line */
    const char *details;              /* further help, or NULL */
    const struct cli_option *options; /* ends with an empty name */
    /* Its values begin with a struct request, for which it has the options of that object of schema.def; those that are no plain
     * members go to take_field. */
    enum schema_object request;
    const char *request_for; /* before the help of these options, NULL: nothing */
    int (*take_field)(void *values, const struct schema_field *f, const char *value, struct error *e);
    bool no_empty_values; /* an option's empty value is an error */
    /* Runs the verb with the arguments that are not options; returns the exit status, or -1 with an error. */
    int (*run)(struct cli *cli, void *values, int argc, char **argv, struct error *e);
    void *values; /* the verb's own, static; NULL: it has no options */
};

extern const struct cli_verb verb_run, verb_host, verb_snapshot, verb_rootfs, verb_languages, verb_benchmark,
    verb_doctor, verb_setup, verb_pool, verb_status, verb_images, verb_operations, verb_files, verb_sync,
    verb_api;
extern const struct cli_verb verb_from_docker; /* rootfs from-docker */

/* Parses and runs one verb; argv[0] is the verb. Returns the exit status of the program. */
int cli_run_verb(const struct cli_verb *verb, int argc, char **argv);

/* As printf() on standard output, or on standard error, with others' words made fit for a terminal (text_make_plain_lines()). */
void cli_print(const char *format, ...) __attribute__((format(printf, 1, 2)));
void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints "Error: ..." and gives the exit status for it. */
int cli_fail(const struct error *e);

/* Writes what is left of the output; when any of it was lost, says so. Returns the exit status for that. */
int cli_end_output(void);

/* Parses a whole number in [min, max] for an option. */
int cli_number(const char *option, const char *value, uint64_t min, uint64_t max, uint64_t *ret,
               struct error *e);

/* Parses a size in MiB, or with a suffix M or G, in [min, max] MiB. */
int cli_mebibytes(const char *option, const char *value, uint64_t min, uint64_t max, uint64_t *ret,
                  struct error *e);

/* Prints the object on standard output and takes its reference; NULL: e says already why there is none. */
int cli_print_json(json_t *object, struct error *e);

/* "2026-11-21 07:30" in local time. */
const char *cli_time(int64_t seconds, char out[static 24]);

#endif
