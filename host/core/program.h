/* program: how a language's program is laid out, built and started in a guest. The same for a job and for a
 * primed interpreter. */
#ifndef CAPSID_PROGRAM_H
#define CAPSID_PROGRAM_H

#include "base/error.h"
#include "base/text.h"
#include "guest/guest.h"
#include "language/language.h"

/* The unprivileged user of every image, and its working directory. */
#define PROGRAM_UID 1000
#define PROGRAM_DIRECTORY "/tmp/job"

/* Who runs a program. */
struct program_user {
    uint32_t uid, gid;
    const char *directory;  /* where it starts, and its files are */
    const char *const *env; /* NAME=VALUE, ends with NULL */
    bool makes_directory;   /* program_prepare() does, before it has files; else it is as the image has it */
};

extern const struct program_user program_runner; /* PROGRAM_UID in PROGRAM_DIRECTORY, which it makes */
extern const struct program_user program_root;   /* in /root */

struct program {
    const struct program_user *user; /* borrowed */
    char *source;                    /* owned; absolute path of the main file in the guest */
    char *directory;                 /* owned; that of source */
    char *output;                    /* owned; where the build phase puts its result */
    char *fed;          /* owned; where the program is written before a primed interpreter gets it */
    struct buffer argv; /* strings with their NULs, as the protocol wants them */
    struct buffer env;
};

/*
 * entry is the main file's path below the user's directory. args go after the run command's words; env are NAME=VALUE,
 * and replace what the language or an earlier one says. Both end with NULL; NULL: none. What execve(2) in the guest would
 * not take (PROTO_STRING_MAX, PROTO_STRINGS_MAX) is an ERROR_USAGE here, before there is a VM.
 */
int program_init(struct program *p, const struct language *l, const struct program_user *user,
                 const char *entry, const char *const *args, const char *const *env, struct error *e);
void program_done(struct program *p);

/* Another command instead of the language's; argv ends with NULL. Fails as program_init(). */
int program_command(struct program *p, const char *const *argv, struct error *e);

/* The argv of a shell that runs command, with {source}, {dir} and {output} replaced and quoted where needed. */
void program_shell(const struct program *p, const char *command, struct buffer *ret_argv);

/* How many words are in a list that ends with NULL; NULL: none. */
size_t count_strings(const char *const *words);

/* Where a program of the user starts: cwd absolute, or below the user's directory; NULL: there. The caller frees it. */
char *program_cwd(const struct program_user *user, const char *cwd);

/* A job of the guest that is given: argv, the program's variables and user, cwd (borrowed). */
struct msg_exec program_job(const struct program *p, const struct buffer *argv, const char *cwd,
                            uint16_t flags);

/* Makes the directory of program_runner. */
int program_prepare(struct guest *g, int64_t deadline, struct error *e);

#endif
