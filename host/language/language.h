/*
 * language: the definitions in DATA/languages, one INI file a language. rootfs/README.md describes every key.
 * The program knows no language by itself.
 */
#ifndef CAPSID_LANGUAGE_H
#define CAPSID_LANGUAGE_H

#include "base/error.h"
#include "base/shape.h"
#include "base/text.h"
#include "image/recipe.h"

#include <stdbool.h>
#include <stdint.h>

#define LANGUAGE_NAME_MAX TEXT_LONG_NAME_MAX
#define LANGUAGE_WORDS_MAX 64
#define LANGUAGE_ENV_MAX 32
#define LANGUAGE_INTERPRETER_MAX 64 /* bytes of a name, with its NUL */

struct language {
    char *name; /* owned, as all strings here; those without a comment as in rootfs/README.md */
    char *title;
    char *aliases;      /* comma separated, or NULL */
    char *extension;    /* without the dot */
    char *extensions;   /* all of them, comma separated, that one first */
    char *interpreters; /* names in #! lines, comma separated, or NULL */
    char *source;       /* file name of the program in the guest, when it has none of its own */
    char *build;        /* shell command of the build phase; NULL: there is none */
    char *run;          /* command; {source}, {dir} and {output} stand for paths */
    bool prime;         /* the interpreter can be started before its program is known */
    char *import;       /* comma separated names of what it loads then, or NULL */

    char *imported_run; /* the same where an imported image replaces its own, or NULL */
    bool imported_prime;
    bool imported; /* language_move() */

    struct recipe recipe; /* of its image */
    bool variant;         /* it has packages that its definition does not name */

    struct vm_shape shape; /* disk_mib is 0: the image knows that */

    char *env[LANGUAGE_ENV_MAX]; /* NAME=VALUE */
    unsigned env_count;

    char *warm;     /* shell command that runs before the snapshot, or NULL */
    bool warm_keep; /* what it leaves running is part of the snapshot */

    char *hello;  /* a program, or NULL; its escapes are replaced */
    char *expect; /* what it prints, or NULL */

    char *digest; /* SHA-256 of the definition file, in hex */
};

/* Parses one definition; path is for messages and for reading. */
int language_read(struct language *ret, const char *path, struct error *e);
void language_done(struct language *l);

/*
 * The language as it is in an image that was imported in place of its own: interpreters are looked up in the image's PATH, and what
 * only its own image has, start files, a warm-up command, variables that name places, is left out.
 */
void language_move(struct language *l);

/* A variable, NAME=VALUE, unless there is one of that name. */
int language_add_variable(struct language *l, const char *variable, struct error *e);

/* Variables instead of those it has: size bytes of NAME=VALUE strings with their NULs. */
int language_replace_env(struct language *l, const char *env, size_t size, struct error *e);

/* Finds the language that is called name, or has that alias; behind it there may be packages (language_variant()). ERROR_UNKNOWN_LANGUAGE names those there are. */
int language_find(struct language *ret, const char *data, const char *name, struct error *e);

/*
 * Finds the language of a file by its extension: the one that has the extension as its name or alias, otherwise
 * the only one with such files. Where that tells nothing, its content does, if it begins with #! and an interpreter of one
 * language. Several are an error that names them; ERROR_UNKNOWN_LANGUAGE: there is none.
 */
int language_guess(struct language *ret, const char *data, const char *file, const struct buffer *content,
                   struct error *e);

/* The base name of the interpreter in the #! line that content begins with, that of env(1) being the one that it would start;
 * false: there is no such line, or it is none that Linux would take. */
bool language_interpreter(const char *content, size_t size, char ret[static LANGUAGE_INTERPRETER_MAX]);

/* Is that one of the language's? A version after a dot or a dash does not count. */
bool language_has_interpreter(const struct language *l, const char *name);

/*
 * variant.c: languages with further packages, which stand in their names.
 *
 * The name of a language with the packages of a list, "numpy, Pandas==2.2.3": python+numpy+pandas_2.2.3, the same for every order
 * and spelling of them; language_find() knows it. The caller frees it. NULL: ERROR_USAGE, the list is not one.
 */
char *language_variant(const char *name, const char *packages, struct error *e);

/* What is behind the language in such a name, borrowed; NULL: it is none. */
const char *language_variant_packages(const char *name);

/* Makes a language that was read one with these packages. */
int language_add_packages(struct language *l, const char *packages, struct error *e);

/* Calls visit for every language, sorted by name, until it fails. A definition that cannot be read is an
 * error. */
int language_each(const char *data, int (*visit)(const struct language *l, void *context, struct error *e),
                  void *context, struct error *e);

/* The names of all languages, sorted, separated by ", ". The caller frees it. */
char *language_names(const char *data);

/* True when word is one of the comma-separated words of list, which may be NULL. */
bool language_list_has(const char *list, const char *word);

#endif
