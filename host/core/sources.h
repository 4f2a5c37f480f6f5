/*
 * sources: the files of a program, read on the host and to be written below the job's directory in a guest.
 * What a user names may be large, deep or not a file: all of it is bounded. Symlinks that a directory holds are kept when
 * they stay in it, and are never followed here.
 */
#ifndef CAPSID_SOURCES_H
#define CAPSID_SOURCES_H

#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOURCES_FILES_MAX 1000            /* files and directories */
#define SOURCES_SIZE_MAX (32u << 20)      /* bytes of all files */
#define SOURCES_FILE_SIZE_MAX (16u << 20) /* bytes of one */
#define SOURCES_DEPTH_MAX 16              /* directories within each other */

struct source_file {
    char *name;            /* owned; relative to the job's directory. NULL: as the language says */
    char *told;            /* owned; how the user named it, for messages; NULL: not from a file */
    uint32_t mode;         /* as in stat(2), permissions 0644 or 0755 */
    struct buffer content; /* of a symlink: its target */
};

struct sources {
    struct source_file *files; /* owned; parents before what they hold */
    size_t count;
    size_t size;                 /* bytes of all content */
    bool tree;                   /* the first that was given is a directory */
    const struct cancel *cancel; /* of waiting for a pipe; NULL: nobody can */
};

/* Adds one program without a name; takes content over. */
int sources_add_code(struct sources *s, struct buffer *content, const char *told, struct error *e);

/*
 * Adds a file, or all that a directory holds. A directory that is alone becomes the job's directory; one beside
 * others keeps its name there, as a file always does.
 */
int sources_add_path(struct sources *s, const char *path, bool alone, struct error *e);

/*
 * Adds a file of that relative path, and the directories above it that are not there yet; takes content over. A name
 * that leads elsewhere, has an empty, "." or ".." part, control characters, or is taken, is an error.
 */
int sources_add_named(struct sources *s, const char *name, bool executable, struct buffer *content,
                      struct error *e);

/* Adds a directory in the same way; one that is there already is fine. */
int sources_add_named_directory(struct sources *s, const char *name, struct error *e);

/*
 * Adds a symlink in the same way. target is relative to the link's directory and does not lead out of the job's, where
 * "NAME/.." is taken for nothing; what it names need not be there.
 */
int sources_add_named_link(struct sources *s, const char *name, const char *target, struct error *e);

/* The regular file of that name, or that a symlink of that name leads to; NULL: there is none. */
const struct source_file *sources_find(const struct sources *s, const char *name);

void sources_done(struct sources *s);

#endif
