/* look: the actions of capsid images that tell of files in an image: ls, cat, cp, grep, tar. */
#ifndef CAPSID_CLI_LOOK_H
#define CAPSID_CLI_LOOK_H

#include "cli/cli.h"

struct look_options {
    bool recursive, ignore_case;
    const char *after, *glob;
    uint64_t limit, max_count, max_total, max_size, timeout;
};

/* Rows of a table of options, for a member of a verb's values. */
#define LOOK_OPTIONS(of, look)                                                                               \
    {"after", 0, "NAME", "ls: only what comes after that name", CLI_TEXT(of, look.after)},                   \
        {"limit", 0, "N", "ls: at most so many names (10000)", CLI_NUMBER(of, look.limit, 1, 65536)},        \
        {"recursive", 'r', NULL, "cp: a directory with all below it", CLI_SWITCH(of, look.recursive)},       \
        {"glob", 0, "PATTERN", "grep: only in files whose names match", CLI_TEXT(of, look.glob)},            \
        {"ignore-case", 'i', NULL, "grep: upper and lower case are the same",                                \
         CLI_SWITCH(of, look.ignore_case)},                                                                  \
        {"max-count", 0, "N", "grep: at most so many lines of one file",                                     \
         CLI_NUMBER(of, look.max_count, 1, 65536)},                                                          \
        {"max-total", 0, "N", "grep: at most so many lines (1000)",                                          \
         CLI_NUMBER(of, look.max_total, 1, 65536)},                                                          \
        {"max-size", 0, "SIZE", "cp, tar: at most so much in all (10G)",                                     \
         CLI_SIZE(of, look.max_size, 1, 16777216)},                                                          \
    {                                                                                                        \
        "timeout", 't', "SECONDS", "ls, cat, cp, grep, tar: how long it may take (300)",                     \
            CLI_NUMBER(of, look.timeout, 1, 86400)                                                           \
    }

/* arguments: which of them, the image, and what comes behind it, NULL at the end. */
int cli_look(struct cli *cli, struct host *host, const struct look_options *o, char **arguments,
             struct error *e);

#endif
