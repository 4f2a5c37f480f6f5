/*
 * backend: all that a server's front asks of the broker (broker/broker.h), which holds VMs, images and snapshots. Nothing else there
 * talks to it. One for the server; its functions may be called by any thread that lives as long as it.
 */
#ifndef CAPSID_SERVICE_BACKEND_H
#define CAPSID_SERVICE_BACKEND_H

#include "broker/lease.h"
#include "service/request.h"

#include <jansson.h>

struct backend;

struct backend_options {
    int line;         /* to the broker (broker/line.h); borrowed */
    const char *data; /* directory with the languages' definitions; copied */
    uint64_t timeout; /* seconds that a program may run where its request does not say */
    unsigned places;  /* VMs that programs may have at a time, those of the pool and others */
    int64_t wait_ms;  /* how long a program waits for its VM; making image and snapshot is not counted */
};

int backend_open(struct backend **ret, const struct backend_options *options, struct error *e);

/* Accepts NULL. */
void backend_close(struct backend *b);

/* A VM for a session. Of the request only language and shape count. Its program's directory is empty. The caller ends the lease
 * before the backend is closed. */
int backend_session(struct backend *b, const struct call *call, const char *owner,
                    const struct run_request *request, struct lease *ret, struct error *e);

/* A VM whose root is the image, for looking into it (core/look.h), and the directory with the program for that. The caller ends the
 * lease. */
int backend_look(struct backend *b, const struct call *call, const char *owner, const char *image,
                 struct lease *ret, const char **ret_data, struct error *e);

/* Fails with ERROR_UNKNOWN_LANGUAGE, without starting anything. */
int backend_check_language(struct backend *b, const char *language, struct error *e);

/* For programs that begin from now on. */
void backend_set_timeout(struct backend *b, uint64_t seconds);

struct backend_run {
    const struct run_request *request;
    const struct call *call;
    const char *owner;
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

/* Seconds that a program may run where its request does not say. */
uint64_t backend_timeout(const struct backend *b);

/* Programs that run, and that wait for their turn. */
void backend_count(struct backend *b, unsigned *ret_running, unsigned *ret_waiting);

/* VMs that programs may have at a time, those of the pool and others. */
unsigned backend_places(const struct backend *b);

/* What the broker says of VMs, pools and owners (broker/state.h): asked for now, or as it was asked for last, within the last
 * second or so. New references; NULL with an error, or when nothing was heard yet. */
json_t *backend_ask_state(struct backend *b, struct error *e);
json_t *backend_last_state(struct backend *b);

/* The answers of the lists: new references, NULL with an error. */
json_t *backend_languages(struct backend *b, const struct call *call, struct error *e);
json_t *backend_language(struct backend *b, const struct call *call, const char *name, struct error *e);
json_t *backend_images(struct backend *b, const struct call *call, struct error *e);
json_t *backend_snapshots(struct backend *b, const struct call *call, struct error *e);

/* Images by their UUIDs and tags: those that are wanted; or, by LINE_RECORD and the kinds after it, what became of one. */
json_t *backend_image_records(struct backend *b, const struct call *call, const struct line_image *wish,
                              struct error *e);
json_t *backend_image_record(struct backend *b, const struct call *call, enum line_kind kind,
                             const struct line_image *which, struct error *e);

/* Make one, and describe it. These take seconds to minutes. */
json_t *backend_create_image(struct backend *b, const struct call *call, const char *owner,
                             const struct request *what, struct error *e);
json_t *backend_create_snapshot(struct backend *b, const struct call *call, const char *owner,
                                const struct request *what, struct error *e);

#endif
