/*
 * lease: the client's end of the line (broker/line.h): what a server's faces ask the broker for. All functions may be called
 * by any thread.
 */
#ifndef CAPSID_LEASE_H
#define CAPSID_LEASE_H

#include "broker/line.h"
#include "broker/stock_pack.h"
#include "core/command.h"

#include <jansson.h>

/* A VM of the broker's, for as long as it is wanted. {0} with fd -1 is none. */
struct lease {
    int fd; /* owned */
    struct guest guest;
    struct vm_life life;      /* borrows driver and accel from below */
    struct resident resident; /* whose programs they are; of an image, as it says */
    char *env;                /* owned; the image's variables */
    struct language language; /* with the variables of its image */
    struct line_vm vm;
    int64_t wait_ns; /* from asking for it until the turn came */
    int line_fd;     /* borrowed, as the next: for networks of its guest */
    const struct call *call;
    char owner[ADMISSION_OWNER_SIZE];
};

#define LEASE_NONE ((struct lease){.fd = -1, .guest = {.fd = -1, .vmm_pidfd = -1, .vmm_fd = -1}})

/* What is wanted; strings are borrowed. */
struct lease_wish {
    const char *language;  /* NULL: reference */
    const char *reference; /* of a VM: any image; NULL: language */
    bool keep;             /* changes of the image may be kept */
    uint64_t max_layer;    /* as in struct run_request */
    struct vm_shape shape;
    enum target_start start;
    bool session;
    const char *owner;
    const struct line_image *image; /* NULL: none is meant */
    int64_t wait_ms;
    void (*turn_came)(void *context); /* may be NULL */
    void *context;
};

/* data: the directory with the languages' definitions. *call outlives the lease: what it cancels is cancelled. Errors are the
 * broker's (core/pool.h, core/admission.h). */
int lease_take(struct lease *ret, int line_fd, const char *data, const struct call *call,
               const struct lease_wish *wish, struct error *e);

/* Connections for a guest of this owner, by these rules: a network_source's means. */
int lease_network(int line_fd, const struct call *call, const char *owner, const char *const *rules,
                  struct network_means *ret, struct error *e);

/* Where to run programs; borrows from the lease. */
struct run_site lease_site(struct lease *l);

/* What command_in() wants to know of the image. */
struct command_image lease_image(const struct lease *l);

/* After command_in() has made the disk a layer: has it made an image, or says in *ret why not. The VM is gone. */
void lease_keep(struct lease *l, const struct call *call, struct run_result *ret);

/* Says in *e what became of a VM that is lost. */
void lease_explain(struct lease *l, struct error *e);

/* Gives it back, with what life_because() said. Accepts LEASE_NONE. */
void lease_end(struct lease *l);

/* Asks for what there is, or to make something and tell of it; language and shape as the kind wants them. Then, after success,
 * stock_done(). */
int lease_ask(struct stock *ret, int line_fd, const struct call *call, enum line_kind kind,
              const struct lease_wish *wish, bool force, struct error *e);

/* LINE_STATE; a new reference, NULL with an error. */
json_t *lease_ask_state(int line_fd, const struct call *call, struct error *e);

#endif
