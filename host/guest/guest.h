/*
 * guest: the host's end of the protocol (proto/PROTOCOL.md) with one guest, over one connection.
 *
 * The guest is hostile: every frame from it is bounded and checked, every wait has a deadline, and whatever
 * breaks the rules ends the connection with ERROR_VM_LOST. A struct guest (guest/connection.h) belongs to one thread.
 */
#ifndef CAPSID_GUEST_H
#define CAPSID_GUEST_H

#include "base/text.h"
#include "guest/connection.h"
#include "messages.h"

/* HELLO and WELCOME. Also waits for a guest that is still booting. */
int guest_hello(struct guest *g, int64_t deadline, struct error *e);

/* The same for a guest that was restored. RESUME goes with HELLO: a guest that goes to sleep after WELCOME wakes up late
 * where it is emulated. guest_resume() takes its answer. */
int guest_hello_again(struct guest *g, int64_t deadline, struct error *e);

/* RESUME with fresh entropy, the time and a new instance id. Fails unless the guest confirms entropy,
 * reseeding and the clock. */
int guest_resume(struct guest *g, int64_t deadline, struct error *e);

int guest_quiesce(struct guest *g, int64_t deadline, struct error *e);

/*
 * Of a guest that waits for it: what its root is made of. layers: strings as ROOT wants them, with their NULs; upper: the name of
 * the device that takes the changes, "": memory does.
 */
int guest_make_root(struct guest *g, const struct buffer *layers, const char *upper, int64_t deadline,
                    struct error *e);

/* Whether anything was changed in it; what the guest says. */
int guest_root_changed(struct guest *g, bool *ret, int64_t deadline, struct error *e);

/* Ends all processes and all writing: then the upper disk is a layer, into which the fold topmost ones were taken. The guest can
 * only be destroyed. */
int guest_seal_root(struct guest *g, unsigned fold, int64_t deadline, struct error *e);

/*
 * PING and PONG, to see that an idle guest still answers. guest_ping_begin() sends without waiting; guest_ping_poll()
 * takes what has come and tells whether the answer was there (1) or is not yet (0). guest_ping() waits for it, and
 * begins when nothing is under way.
 */
int guest_ping_begin(struct guest *g, struct error *e);
int guest_ping_poll(struct guest *g, struct error *e);
int guest_ping(struct guest *g, int64_t deadline, struct error *e);

/* Makes a regular file of any size, a directory, or a symlink to data: mode has the type bits. flags as in WRITE_FILE; missing
 * parents are made. */
int guest_write_file(struct guest *g, const char *path, uint32_t mode, uint16_t flags, uint32_t uid,
                     uint32_t gid, const void *data, size_t size, int64_t deadline, struct error *e);

/*
 * A tree to be made in a guest: the entries of an UNPACK, for which guest_put_entry() writes what stands before each one's bytes.
 * read gives the bytes from an offset on, as many as asked for; offsets follow each other, and begin at 0 each time it is sent.
 */
struct guest_tree {
    const char *path; /* absolute, or below the directory of the program; borrowed */
    uint64_t size;    /* bytes of all entries */
    int (*read)(void *context, uint64_t offset, void *out, size_t size, struct error *e);
    void *context;
};

#define GUEST_ENTRY_SIZE(path) (32 + strlen(path) + 1) /* bytes before an entry's own */
#define GUEST_NO_ID UINT32_MAX                         /* as uid or gid of an entry: as those of all */

/* Returns how many bytes it wrote; room is at least GUEST_ENTRY_SIZE. */
size_t guest_put_entry(uint8_t *out, size_t room, uint32_t mode, uint32_t uid, uint32_t gid, uint64_t size,
                       const char *path);

/* Fails where the guest's initd cannot do it. path: absolute, instead of the tree's own. */
int guest_unpack(struct guest *g, const struct guest_tree *t, const char *path, uint32_t uid, uint32_t gid,
                 int64_t deadline, struct error *e);

/* What a path is in a guest: what the guest says, so nothing to rely on. */
struct guest_file {
    uint32_t mode; /* as st_mode of stat(2) */
    uint32_t uid, gid;
    uint64_t size;
    uint64_t mtime_ns;
};

int guest_stat(struct guest *g, const char *path, struct guest_file *ret, int64_t deadline, struct error *e);

/* Adds at most length bytes of a regular file, from offset on, to *ret. */
int guest_read_file(struct guest *g, const char *path, uint64_t offset, uint64_t length,
                    struct guest_file *ret_info, struct buffer *ret, int64_t deadline, struct error *e);

/*
 * Calls visit for each entry of a directory (uid and gid are not known), until it returns false. Names are not empty
 * and have no slash; they need not be UTF-8.
 */
int guest_list(struct guest *g, const char *path,
               bool (*visit)(const char *name, const struct guest_file *file, void *context), void *context,
               int64_t deadline, struct error *e);

/* Removes a directory with all it holds, or a file; a missing one is an error. */
int guest_remove(struct guest *g, const char *path, int64_t deadline, struct error *e);

/* PRIME; the id of the primed job in *ret_job. */
int guest_prime(struct guest *g, const struct msg_prime *m, uint32_t *ret_job, int64_t deadline,
                struct error *e);

/* Takes over a job that has no stream, kills it and waits for its end. */
int guest_end_job(struct guest *g, uint32_t job, int64_t deadline, struct error *e);

/* A job's argv and env may be larger than a frame, up to what PROTO_STRINGS_MAX says, where the guest's initd takes that.
 *
 * EXEC and STARTED. The job has no one to read its output when the guest's connection is closed; see mux_add(). */
int guest_start_job(struct guest *g, const struct msg_exec *exec, struct msg_started *ret, int64_t deadline,
                    struct error *e);

/*
 * A job's terminal, for an exec with JOB_TTY. Its owner fills it in from on_ready(), which guest_run_job() calls when
 * fd has one of the events; the job takes what is there and clears it.
 */
struct job_terminal {
    int fd; /* borrowed */
    short events;
    bool hold; /* do not ask the guest for more output: what there is has not gone on yet */
    /* A failure ends it all; what is left of the job is then the connection's owner's to end, see mux.h. */
    int (*on_ready)(void *context, short events, struct error *e);
    struct buffer typed; /* the owner frees it */
    bool resized;
    uint16_t rows, cols;
    uint8_t signal;       /* 0: none */
    int64_t wake;         /* on_ready() is called then at the latest, with events 0 */
    unsigned unconfirmed; /* the job's own */
};

#define JOB_TYPED_MAX 65536 /* bytes of typed that may wait; then fd is not read */

/* How the bytes of a job go in and out. */
struct job_io {
    int stdin_fd; /* -1: none; read until its end while the job wants it */
    /* Takes output in order. A failure (-1, error set) ends the job. */
    int (*on_output)(void *context, int channel, const void *data, size_t size, struct error *e);
    void *context;
    struct job_terminal *terminal; /* NULL: none; otherwise stdin_fd is -1 */
};

/*
 * EXEC or FEED, whichever is not NULL, then everything up to EXIT in *ret_exit. At the deadline fails with
 * ERROR_TIMEOUT; the caller then destroys the VM.
 */
int guest_run_job(struct guest *g, const struct msg_exec *exec, const struct msg_feed *feed,
                  const struct job_io *io, int64_t deadline, struct msg_exit *ret_exit, struct error *e);

#endif
