/* run: one program, in a VM of its own, from source text to result. */
#ifndef CAPSID_RUN_H
#define CAPSID_RUN_H

#include "core/sources.h"
#include "core/supervisor.h"
#include "guest/guest.h"
#include "language/language.h"

/* Exit codes that are not the program's own (timeout(1), sh(1)). */
#define RUN_EXIT_ERROR 1
#define RUN_EXIT_TIMEOUT 124
#define RUN_EXIT_UNKNOWN_LANGUAGE 127
#define RUN_EXIT_SIGNAL 128 /* plus the signal's number */

/* Takes output as it comes; a failure (-1, error set) ends the program. */
typedef int run_on_output(void *context, int channel, const void *data, size_t size, struct error *e);

struct run_request {
    const char *language; /* borrowed, as all pointers here; NULL: as the entry point's extension says */
    const struct sources *sources;
    const char *entry;        /* name of the main file in the guest; NULL: see run_program() */
    const char *const *args;  /* of the program, ends with NULL; NULL: none */
    const char *const *env;   /* NAME=VALUE, ends with NULL, for both phases; NULL: none */
    const char *cwd;          /* of the program, below its directory or absolute; NULL: its directory */
    int stdin_fd;             /* -1: the program's standard input is empty */
    uint64_t timeout;         /* seconds for both phases together; 0: as configured */
    uint64_t build_timeout;   /* seconds for the build phase; 0: the timeout */
    uint64_t memory_mib;      /* 0: as the language says */
    uint64_t vcpus;           /* 0: as the language says */
    uint64_t disk_mib;        /* of a scratch disk for all that is written; 0: as the image says */
    bool cold;                /* boot instead of restoring a snapshot */
    bool unprimed;            /* start the interpreter anew, also where the snapshot holds one that waits */
    run_on_output *on_output; /* of the program */
    void *context;
    run_on_output *on_build_output; /* of the build command */
    void *build_context;
};

/* How one phase ended. */
struct run_phase {
    const char *end;  /* why it ended: exited, signalled, timed_out, cpu_time, output_limit, out_of_memory,
                         cancelled, vm_lost; NULL: there was no such phase */
    int exit_code;    /* the program's status; RUN_EXIT_TIMEOUT; RUN_EXIT_SIGNAL + signal; RUN_EXIT_ERROR when
                         the VM was lost */
    int signal;       /* that ended it, or 0 */
    bool output_held; /* a process that the program left behind still held its output */
    int64_t ns;       /* how long it took, from the first message about it */
    uint64_t memory_peak; /* bytes, 0: unknown */
};

struct run_result {
    struct run_phase build; /* of a language with a build command */
    struct run_phase run;   /* when the build succeeded, or there was none */
    bool primed;            /* a waiting interpreter took it */
    int64_t load_ns;        /* until the guest was ready */
    uint64_t timeout;       /* seconds; of the last phase, as it was limited */
    char trace_id[32];
    char note[256]; /* with vm_lost: what happened */
};

/* The phase that says how it all ended: run, or a build that failed. */
static inline const struct run_phase *run_last_phase(const struct run_result *r)
{
    return r->run.end ? &r->run : &r->build;
}

/*
 * Makes image and snapshot where they are missing. Fails only when the program did not get to run, or the
 * user cancelled. The main file is entry; or the only file, under the name that the language wants; or the first
 * of several; or in a directory the file that has the language's source name.
 */
int run_program(struct supervisor *s, const struct run_request *request, struct run_result *ret,
                struct error *e);

/* Keeps the first max bytes of each output channel; an on_output for run_request. */
struct run_output {
    struct buffer channel[2]; /* standard output, standard error */
    bool truncated[2];
    size_t max;
};

int run_output_add(void *run_output, int channel, const void *data, size_t size, struct error *e);
void run_output_free(struct run_output *o);

#endif
