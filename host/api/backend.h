/*
 * backend: all that the HTTP API asks of the rest of the program. Nothing else in api/ starts a VM or reads the
 * store. One for the server; its functions may be called by any thread that lives as long as it.
 *
 * A program takes a VM of the pool when one like those in the pool will do: not a cold boot, with the memory,
 * processors and disk that its language has, and a language for which the pool has room. Other programs get a VM of
 * their own, so many at a time. Either way a program waits in one line, first come first served.
 */
#ifndef CAPSID_API_BACKEND_H
#define CAPSID_API_BACKEND_H

#include "api/body.h"
#include "core/pool.h"

#include <jansson.h>

struct backend;

struct backend_options {
    unsigned workers;          /* programs with VMs of their own at a time */
    unsigned max_waiting;      /* for those, and for VMs of the pool, each */
    struct vm_shape shape_max; /* that requests may ask for; theirs to check */
    int64_t wait_ms; /* how long a program waits for its VM; making image and snapshot is not counted */
};

/* Copies config. Languages of the pool are not made before backend_warm(). */
int backend_open(struct backend **ret, const struct config *config, const struct backend_options *options,
                 struct error *e);

/* Ends the VMs of the pool. Accepts NULL. */
void backend_close(struct backend *b);

/* Makes the languages that the settings want in the pool; says in the log what became of each. Takes minutes. */
void backend_warm(struct backend *b, int cancel_fd);

/*
 * A VM for a session: this is where they come from. Of the request only language and shape count. The machine, and
 * ret_target which it was made from, are the caller's to destroy, before the backend is closed. The waiting interpreter was
 * ended, and its program's directory is empty. For a thread that lives as long as the VM.
 */
int backend_session(struct backend *b, const struct call *call, const struct run_request *request,
                    struct machine *ret, struct run_target *ret_target, struct error *e);

/* What never changes of it may be read. */
const struct host *backend_host(const struct backend *b);

/* Fails with ERROR_UNKNOWN_LANGUAGE, without starting anything. */
int backend_check_language(struct backend *b, const char *language, struct error *e);

/* For programs that begin from now on. Other settings stay as they were; their names are told in a warning. */
void backend_reload(struct backend *b, const struct config *fresh);

struct backend_run {
    const struct run_request *request;
    const struct call *call;
    /* Called, if not NULL, when the program's turn has come: from here on it does not fail with ERROR_BUSY. */
    void (*on_turn)(void *context);
    void *context;
    int64_t wait_ns; /* filled in: how long it waited */
    bool turn;       /* filled in: its turn came */
};

/*
 * Runs a program. ERROR_UNKNOWN_LANGUAGE and ERROR_USAGE are the client's fault; ERROR_BUSY: too many wait, or its
 * turn did not come in time.
 */
int backend_execute(struct backend *b, struct backend_run *run, struct run_result *ret, struct error *e);

/* Programs that run, and that wait for their turn; how many may wait. */
void backend_state(struct backend *b, unsigned *ret_running, unsigned *ret_waiting);

/* The pool; NULL: there is none yet. For its counts. */
struct pool *backend_pool(struct backend *b);

/* VMs that programs may have at a time, those of the pool and others. */
unsigned backend_places(const struct backend *b);

/* The answers of the lists: new references, NULL with an error. */
json_t *backend_languages(struct backend *b, struct error *e);
json_t *backend_language(struct backend *b, const char *name, struct error *e);
json_t *backend_images(struct backend *b, struct error *e);
json_t *backend_snapshots(struct backend *b, struct error *e);

/* Make one, and describe it. These take seconds to minutes. */
json_t *backend_create_image(struct backend *b, const struct call *call, const struct body_create *what,
                             struct error *e);
json_t *backend_create_snapshot(struct backend *b, const struct call *call, const struct body_create *what,
                                struct error *e);

#endif
