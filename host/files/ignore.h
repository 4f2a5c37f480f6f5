/*
 * ignore: which paths of a directory are left out, by the pattern rules of gitignore(5).
 *
 * They are here, and not asked of git, because git may be missing, answers only within a repository, and would have to be told
 * every path of a directory whose second look is to read next to nothing. The unit test compares them with git, where that is
 * there, on thousands of made up patterns and paths.
 */
#ifndef CAPSID_FILES_IGNORE_H
#define CAPSID_FILES_IGNORE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct ignore_rule {
    char *pattern; /* owned; without the marks that the others tell of */
    bool negated, directory, anchored;
};

/* The patterns of one place, and then those of places above it. */
struct ignore {
    struct ignore_rule *rules; /* owned */
    size_t count;
    char *base;                 /* owned; the directory that they are for, "" or with a slash at its end */
    const struct ignore *above; /* borrowed; NULL: none */
};

/* Adds a line as it stands in a .gitignore. */
void ignore_add(struct ignore *g, const char *line, size_t size);

/* Adds all of a file's lines. */
void ignore_add_lines(struct ignore *g, const char *text, size_t size);

/* path is relative to the root of all; what holds it is not left out. 1: it is left out; -1: a "!" says that it is not; 0: nobody
 * says anything. g may be NULL. */
int ignore_match(const struct ignore *g, const char *path, bool directory);

void ignore_done(struct ignore *g); /* not those above */

#endif
