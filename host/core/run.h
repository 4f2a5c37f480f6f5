/* run: one program, in a VM of its own, from source text to result. */
#ifndef CAPSID_RUN_H
#define CAPSID_RUN_H

#include "core/supervisor.h"
#include "guest/guest.h"
#include "language/language.h"

/* Exit codes that are not the program's own (timeout(1), sh(1)). */
#define RUN_EXIT_ERROR 1
#define RUN_EXIT_TIMEOUT 124
#define RUN_EXIT_UNKNOWN_LANGUAGE 127
#define RUN_EXIT_SIGNAL 128 /* plus the signal's number */

struct run_request {
    const char *language; /* borrowed, as all pointers here */
    const char *code;
    size_t code_size;
    int stdin_fd;        /* -1: the program's standard input is empty */
    uint64_t timeout;    /* seconds; 0: as configured */
    uint64_t memory_mib; /* 0: as the language says */
    uint64_t vcpus;      /* 0: as the language says */
    bool cold;           /* boot instead of restoring a snapshot */
    bool unprimed;       /* start the interpreter anew, also where the snapshot holds one that waits */
    int (*on_output)(void *context, int channel, const void *data, size_t size, struct error *e);
    void *context;
};

struct run_result {
    const char *end;  /* why it ended: exited, signalled, timed_out, cpu_time, output_limit, out_of_memory,
                         cancelled, vm_lost */
    int exit_code;    /* the program's status; RUN_EXIT_TIMEOUT; RUN_EXIT_SIGNAL + signal; RUN_EXIT_ERROR when
                         the VM was lost */
    int signal;       /* that ended it, or 0 */
    bool primed;      /* a waiting interpreter took it */
    bool output_held; /* a process that the program left behind still held its output */
    int64_t load_ns;  /* until the guest was ready */
    int64_t exec_ns;  /* from then until the end */
    uint64_t memory_peak; /* bytes, 0: unknown */
    char trace_id[32];
    char note[256]; /* with vm_lost: what happened */
};

/* Makes image and snapshot where they are missing. Fails only when the program did not get to run, or the
 * user cancelled. */
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
