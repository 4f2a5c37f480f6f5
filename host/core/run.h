/* run: one program, in a VM of its own, from source text to result. */
#ifndef CAPSID_RUN_H
#define CAPSID_RUN_H

#include "core/network.h"
#include "core/program.h"
#include "core/sources.h"
#include "core/target.h"

/* Exit codes that are not the program's own (timeout(1), sh(1)). */
#define RUN_EXIT_ERROR 1
#define RUN_EXIT_TIMEOUT 124
#define RUN_EXIT_UNKNOWN_LANGUAGE 127
#define RUN_EXIT_SIGNAL 128 /* plus the signal's number */

/* Takes output as it comes; a failure (-1, error set) ends the program. */
typedef int run_on_output(void *context, int channel, const void *data, size_t size, struct error *e);

/* When what a command changed in its image becomes another image. R(NAME, "as requests say it") */
#define RUN_KEEPS(R)                                                                                         \
    R(NEVER, "never")                                                                                        \
    R(ON_SUCCESS, "success") /* it exited with status 0 */                                                   \
    R(ALWAYS, "always")      /* also when it failed, or was ended */

enum run_keep {
#define R(name, text) RUN_KEEP_##name,
    RUN_KEEPS(R) RUN_KEEPS_COUNT
#undef R
};

/* What became of that. R(NAME, "as results say it") */
#define RUN_KEPTS(R)                                                                                         \
    R(NOT_ASKED, "not_asked")                                                                                \
    R(UNCHANGED, "unchanged")                                                                                \
    R(KEPT, "kept")                                                                                          \
    R(FAILED_RUN, "run_failed") /* which was not to be kept then */                                          \
    R(TOO_LARGE, "layer_too_large")                                                                          \
    R(ERROR, "error")

enum run_kept {
#define R(name, text) RUN_KEPT_##name,
    RUN_KEPTS(R) RUN_KEPTS_COUNT
#undef R
};

struct run_request {
    const char *language; /* borrowed, as all pointers here; NULL: as the entry point's extension says */
    const char *packages; /* that it shall have, as a list (language_variant()); NULL: no further ones */
    const struct sources *sources;
    const char *entry;       /* name of the main file in the guest; NULL: see run_program() */
    const char *const *args; /* of the program, ends with NULL; NULL: none */
    const char *const *argv; /* a command instead of the program, ends with NULL; then there may be no file */
    const char *const *env;  /* NAME=VALUE, ends with NULL, for both phases; NULL: none */
    const char *cwd;         /* of the program, below its directory or absolute; NULL: its directory */
    const struct guest_tree *trees; /* placed before anything starts, by the program's user */
    size_t tree_count;
    int stdin_fd;           /* -1: the program's standard input is empty */
    uint64_t timeout;       /* seconds for both phases together; 0: as configured */
    uint64_t build_timeout; /* seconds for the build phase; 0: the timeout */
    struct vm_shape shape;  /* what is 0 is as the language says, and the image for the disk */
    bool cold;              /* boot instead of restoring a snapshot */
    bool
        keep_processes; /* of the program, where the VM lives on (a session): what it leaves running is not killed */
    const char *const
        *net; /* where the program may connect to (egress/policy.h), ends with NULL; NULL: nowhere */
    struct network_log *network; /* what became of its connections; NULL: only the log is told */
    const char *image; /* a command (argv) in any image, and no program: image_resolve(); NULL: none */
    const char
        *user; /* who runs that: UID[:GID], or names that the image knows; NULL: as the image says, or root */
    enum run_keep keep;       /* of what it changes in the image */
    uint64_t max_layer;       /* bytes that a change may take to be kept; 0: as many as its disk has */
    bool unprimed;            /* start the interpreter anew, also where the snapshot holds one that waits */
    run_on_output *on_output; /* of the program */
    void *context;
    run_on_output *on_build_output; /* of the build command */
    void *build_context;
};

/* How a phase can end: E(NAME, "as results and metrics say it", cause of the protocol's EXIT; -1: none, the host says so). */
#define RUN_ENDS(E)                                                                                          \
    E(EXITED, "exited", PROTO_CAUSE_EXITED)                                                                  \
    E(SIGNALLED, "signalled", PROTO_CAUSE_SIGNALLED)                                                         \
    E(TIMED_OUT, "timed_out", PROTO_CAUSE_TIMEOUT)                                                           \
    E(CPU_TIME, "cpu_time", PROTO_CAUSE_CPU)                                                                 \
    E(OUTPUT_LIMIT, "output_limit", PROTO_CAUSE_OUTPUT)                                                      \
    E(OUT_OF_MEMORY, "out_of_memory", PROTO_CAUSE_OOM)                                                       \
    E(CANCELLED, "cancelled", PROTO_CAUSE_CANCELLED)                                                         \
    E(VM_LOST, "vm_lost", -1)                                                                                \
    E(FAILED, "failed", -1) /* it did not get to run */

enum run_end {
    RUN_NONE, /* there was no such phase */
#define E(name, text, cause) RUN_##name,
    RUN_ENDS(E)
#undef E
        RUN_ENDS_COUNT
};

/* NULL for RUN_NONE. */
const char *run_end_name(enum run_end end);

/* How one phase ended. */
struct run_phase {
    enum run_end end;
    int exit_code;    /* the program's status; RUN_EXIT_TIMEOUT; RUN_EXIT_SIGNAL + signal; RUN_EXIT_ERROR when
                         the VM was lost */
    int signal;       /* that ended it, or 0 */
    bool output_held; /* a process that the program left behind still held its output */
    int64_t ns;       /* how long it took, from the first message about it */
    uint64_t memory_peak; /* bytes, 0: unknown */
};

/* The end that a job's EXIT tells of; ns stays as it is. Fails when the guest names none that there is. */
struct msg_exit;
int run_phase_of(struct run_phase *ret, const struct msg_exit *m, struct error *e);

struct run_result {
    struct run_phase build; /* of a language with a build command */
    struct run_phase run;   /* when the build succeeded, or there was none */
    bool primed;            /* a waiting interpreter took it */
    int64_t load_ns;        /* until the guest was ready */
    uint64_t timeout;       /* seconds; of the last phase, as it was limited */
    int64_t deadline;       /* when the host ends the program, if the guest did not; 0: it has not begun */
    char note[256];         /* with vm_lost: what happened */
    enum run_kept kept;
    char kept_image[IMAGE_UUID_SIZE]; /* with KEPT the new one, with UNCHANGED the one it ran in; else "" */
    char kept_note[256];              /* with TOO_LARGE and ERROR: what happened */
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
int run_program(struct host *host, const struct call *call, const struct run_request *request,
                struct run_result *ret, struct error *e);

/*
 * The steps of run_program(), for those who take the machine from elsewhere (core/pool.h). All of them may be called
 * by several threads.
 */

/* The language that a request asks for, by its name or by the main file's extension. data: where definitions are. */
int run_find_language(struct language *ret, const char *data, const struct run_request *r, struct error *e);

/* Fails when a request names no main file, or one that is not there, or has more arguments or variables than a program can
 * be given. */
int run_check(const struct run_request *r, const struct language *l, struct error *e);

/* Where a program runs: a guest that has answered, of this process or of another (broker/lease.h). All borrowed. */
struct run_site {
    struct guest *guest;
    struct vm_life *life;
    const struct language *language;
    const struct program_user *user;
    uint32_t primed_job;                             /* the waiting interpreter; 0: there is none */
    void (*explain)(void *context, struct error *e); /* says in *e what became of a VM that is lost */
    void *context;
    network_source *network; /* as in struct network_site, as the next */
    const char *data;
};

/* The site that a machine of this process is; borrows from both. */
struct run_site run_site_of(struct machine *m, const struct run_target *target, const struct host *host);

/* The request with the times that it leaves open: the program's, as given, and for the build phase the program's. */
struct run_request run_with_times(const struct run_request *request, uint64_t timeout);

/*
 * Runs the program of the request, whose times are set; the VM can only be destroyed afterwards. *ret was {0}, and load_ns is
 * the caller's to fill in.
 */
int run_in(const struct run_site *site, const struct call *call, const struct run_request *request,
           struct run_result *ret, struct error *e);

/* The same on a machine of this process. */
int run_on_machine(struct machine *m, const struct host *host, const struct call *call,
                   const struct run_target *target, const struct run_request *request, struct run_result *ret,
                   struct error *e);

/* One line about the run at debug level. */
void run_log(const struct run_result *r, const struct call *call, const char *language);

/* Keeps the first max bytes of each output channel; an on_output for run_request. */
struct run_output {
    struct buffer channel[2]; /* standard output, standard error */
    bool truncated[2];
    size_t max;
};

int run_output_add(void *run_output, int channel, const void *data, size_t size, struct error *e);
void run_output_free(struct run_output *o);

#endif
