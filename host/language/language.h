/*
 * language: the definitions in DATA/languages, one INI file a language. rootfs/README.md describes every key.
 * The program knows no language by itself.
 */
#ifndef CAPSID_LANGUAGE_H
#define CAPSID_LANGUAGE_H

#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

#define LANGUAGE_WORDS_MAX 32
#define LANGUAGE_ENV_MAX 32

struct language {
    char *name; /* owned, as all strings here */
    char *title;
    char *aliases;   /* comma separated */
    char *extension; /* without the dot */
    char *source;    /* file name of the program in the guest */
    char *run;       /* command; {source} stands for the program's path */
    bool prime;      /* the interpreter can be started before its program is known */

    char *suite;
    char *method;
    char *packages;
    char *extra; /* further suites, for packages named NAME/SUITE */
    char *npm;   /* NAME@VERSION, comma separated */
    char *post;
    char *drop;

    uint64_t memory; /* MiB */
    uint64_t vcpus;

    char *env[LANGUAGE_ENV_MAX]; /* NAME=VALUE */
    unsigned env_count;

    char *hello;  /* a program */
    char *expect; /* what it prints */

    char *digest; /* SHA-256 of the definition file, in hex */
};

/* Finds the language that is called name, or has that alias. ERROR_UNKNOWN_LANGUAGE names those there are. */
int language_find(struct language *ret, const char *data, const char *name, struct error *e);
void language_done(struct language *l);

/* The names of all languages, sorted, separated by ", ". The caller frees it. */
char *language_names(const char *data);

/* Parses one definition; path is for messages and for reading. */
int language_read(struct language *ret, const char *path, struct error *e);

#endif
