/*
 * guest: the host's end of the protocol (proto/PROTOCOL.md) with one guest, over one connection.
 *
 * The guest is hostile: every frame from it is bounded and checked, every wait has a deadline, and whatever
 * breaks the rules ends the connection with ERROR_VM_LOST. A struct guest belongs to one thread.
 */
#ifndef CAPSID_GUEST_H
#define CAPSID_GUEST_H

#include "base/deadline.h"
#include "base/error.h"
#include "messages.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct guest {
    int fd;                      /* owned; the connection */
    int vmm_pidfd;               /* borrowed; readable when the VMM has ended, -1: unknown */
    const struct cancel *cancel; /* borrowed */
    struct frame_reader reader;
    uint8_t *buffer; /* owned; FRAME_MAX bytes */
    uint32_t last_stream;
    uint8_t state;              /* of WELCOME: PROTO_STATE_... */
    uint64_t init_ns, ready_ns; /* of WELCOME */
    char build[64];             /* of WELCOME */
    uint32_t ping;              /* stream of a PING under way; 0: none */
};

/* Takes fd over and makes it non-blocking. */
void guest_open(struct guest *g, int fd, int vmm_pidfd, const struct cancel *cancel);
void guest_close(struct guest *g);

/* HELLO and WELCOME. Also waits for a guest that is still booting. */
int guest_hello(struct guest *g, int64_t deadline, struct error *e);

/* RESUME with fresh entropy, the time and a new instance id. Fails unless the guest confirms entropy,
 * reseeding and the clock. */
int guest_resume(struct guest *g, int64_t deadline, struct error *e);

int guest_quiesce(struct guest *g, int64_t deadline, struct error *e);

/*
 * PING and PONG, to see that an idle guest still answers. guest_ping_begin() sends without waiting; guest_ping_poll()
 * takes what has come and tells whether the answer was there (1) or is not yet (0). guest_ping() waits for it, and
 * begins when nothing is under way.
 */
int guest_ping_begin(struct guest *g, struct error *e);
int guest_ping_poll(struct guest *g, struct error *e);
int guest_ping(struct guest *g, int64_t deadline, struct error *e);

/* Makes a regular file of any size, or a directory: mode has the type bits. flags as in WRITE_FILE; missing
 * parents are made. */
int guest_write_file(struct guest *g, const char *path, uint32_t mode, uint16_t flags, uint32_t uid,
                     uint32_t gid, const void *data, size_t size, int64_t deadline, struct error *e);

/* Removes a directory with all it holds, or a file; a missing one is an error. */
int guest_remove(struct guest *g, const char *path, int64_t deadline, struct error *e);

/* PRIME; the id of the primed job in *ret_job. */
int guest_prime(struct guest *g, const struct msg_prime *m, uint32_t *ret_job, int64_t deadline,
                struct error *e);

/* How the bytes of a job go in and out. */
struct job_io {
    int stdin_fd; /* -1: none; read until its end while the job wants it */
    /* Takes output in order. A failure (-1, error set) ends the job. */
    int (*on_output)(void *context, int channel, const void *data, size_t size, struct error *e);
    void *context;
};

/*
 * EXEC or FEED, whichever is not NULL, then everything up to EXIT in *ret_exit. At the deadline fails with
 * ERROR_TIMEOUT; the caller then destroys the VM.
 */
int guest_run_job(struct guest *g, const struct msg_exec *exec, const struct msg_feed *feed,
                  const struct job_io *io, int64_t deadline, struct msg_exit *ret_exit, struct error *e);

#endif
