/*
 * line: what the process that reads requests of clients (HTTP, JSON, tokens) asks of the one that holds VMs, images and
 * snapshots, the broker. The first has no rights of its own and may be taken over: so what it says is short, of fixed form,
 * and checked whole before anything is done.
 *
 * There is one control socket. For each thing that is wanted, one datagram goes over it: a struct line_request, with one end
 * of a new socket pair, the lease. The rest is said on the lease, a struct line_reply at a time; closing it cancels what is
 * under way, or gives back what was had. All are SOCK_SEQPACKET of unix(7). Both ends are one program, so the structs are sent
 * as they are.
 */
#ifndef CAPSID_LINE_H
#define CAPSID_LINE_H

#include "base/error.h"
#include "base/shape.h"
#include "base/text.h"
#include "core/admission.h"
#include "core/call.h"
#include "core/event.h"
#include "image/image.h"

#include <stddef.h>
#include <stdint.h>

#define LINE_LANGUAGE_SIZE (TEXT_LONG_NAME_MAX + 1)  /* bytes of a language's name, with its NUL */
#define LINE_WAIT_MAX_MS (7 * 86400 * INT64_C(1000)) /* far above what a server is told to let wait */
#define LINE_ENV_MAX 65536                           /* bytes of an image's variables */
#define LINE_TAG_SIZE 257       /* bytes of a tag, or of the beginning of one, with its NUL */
#define LINE_REFERENCE_SIZE 264 /* bytes of tag:TAG, the same */

/* L(NAME, whether a language is named; of a VM it may be an image instead) */
#define LINE_KINDS(L)                                                                                        \
    L(VM, true)       /* a VM: LINE_TURN, then LINE_VM with its guest's connection; the lease holds it */    \
    L(IMAGE, true)    /* makes an image: LINE_STOCK, as the following */                                     \
    L(SNAPSHOT, true) /* makes a snapshot */                                                                 \
    L(IMAGES, false)  /* lists */                                                                            \
    L(SNAPSHOTS, false)                                                                                      \
    L(LANGUAGES, false)                                                                                      \
    L(LANGUAGE, true)                                                                                        \
    L(RECORDS, false)                                                                                        \
    L(RECORD, false) /* an image, by its reference */                                                        \
    L(TAG, false)    /* gives it the tag, and tells of it, as the following */                               \
    L(UNTAG, false)  /* takes the tag from it; "": all */                                                    \
    L(DROP, false)   /* removes it */                                                                        \
    L(NETWORK,                                                                                               \
      false) /* a guest's connections: rules follow, then LINE_MEANS, then egress/dial.h's messages */       \
    L(STATE, false) /* VMs, pools, memory, as they are now: LINE_JSON */

enum line_kind {
#define L(name, language) LINE_##name,
    LINE_KINDS(L)
#undef L
        LINE_KINDS_COUNT
};

/* Of VM, RECORDS and the following: which image, or as in struct inventory_wish (image/inventory.h). */
struct line_image {
    char reference[LINE_REFERENCE_SIZE];
    char tag[LINE_TAG_SIZE]; /* of RECORDS: the beginning of one, "": any */
    bool whole;              /* of RECORDS: tag is all of it */
    bool tagged;
    bool named; /* names count as tags, too */
    int64_t since, until;
    uint64_t offset, limit;
};

struct line_request {
    uint32_t kind;  /* enum line_kind */
    uint32_t start; /* enum target_start */
    struct vm_shape shape;
    int64_t wait_ms;
    bool
        session; /* of VM: it serves several programs, so no interpreter waits in it, and the pool is not asked */
    bool force;         /* of IMAGE */
    bool keep;          /* of VM, of an image: what is changed may be kept (LINE_KEEP) */
    uint64_t max_layer; /* bytes that it may take then; 0: any */
    struct line_image image;
    char language[LINE_LANGUAGE_SIZE];
    char owner[ADMISSION_OWNER_SIZE];
    char trace_id[TRACE_ID_MAX + 1];
};

enum line_answer {
    LINE_FAILED, /* error says why; the last */
    LINE_TURN,   /* the turn has come: from here on it does not fail for want of room */
    LINE_HAVE,   /* of VM: vm, with the connection and env behind the struct */
    LINE_STOCK,  /* with a sealed memory file that holds it (stock_pack.h); the last */
    LINE_JSON,   /* the same of JSON */
    LINE_MEANS,  /* of NETWORK: with the relay's program */
    LINE_WORDS,  /* of LINE_EXPLAIN: error is what became of the VM */
    LINE_KEPT,   /* of LINE_KEEP: kept; the VM is gone */
};

struct line_vm {
    struct vm_life life; /* its two borrowed strings are not sent */
    char driver[16], accel[8];
    uint64_t features; /* as in struct guest, as the next */
    char build[64];
    uint32_t primed_job; /* the waiting interpreter; 0: there is none */
    bool imported;       /* the image replaces the language's own: language_move() */
    int64_t load_ns;     /* what it took until it was there */
    uint32_t env_size;   /* bytes behind the struct: variables of its image, strings with their NULs */
    /* Of an image: what commands in it get, "": nothing; and struct command_image's. */
    char workdir[1024], user[512];
    char uuid[IMAGE_UUID_SIZE];
    uint32_t fold;
};

/* As in struct run_result. */
struct line_kept {
    uint32_t kept;
    char image[IMAGE_UUID_SIZE], note[256];
};

struct line_reply {
    uint32_t answer; /* enum line_answer */
    struct error error;
    struct line_vm vm;
    struct line_kept kept;
};

enum line_wish {
    LINE_GIVES_BACK, /* says why */
    LINE_EXPLAIN,    /* asks for LINE_WORDS */
    LINE_KEEP,       /* its disk is a layer now: asks for LINE_KEPT */
    LINE_WISHES_COUNT
};

/* What the holder of a VM says before it closes the lease. */
struct line_note {
    uint32_t wish; /* enum line_wish */
    struct error error;
    char why[24], detail[200];
};

/*
 * Of all: -1 with an error when the other end is gone, and of those that receive when what came is not what it should be. fd is
 * borrowed; what comes with a message is the caller's to close, -1: nothing came.
 */
int line_send_request(int fd, const struct line_request *r, int lease, struct error *e);
int line_receive_request(int fd, struct line_request *ret, int *ret_lease, struct error *e);
int line_send_reply(int fd, const struct line_reply *r, const void *env, int passed, struct error *e);
/* Waits until the deadline or cancel. env has room for LINE_ENV_MAX bytes. */
int line_receive_reply(int fd, struct line_reply *ret, void *env, int *ret_passed, int64_t deadline,
                       const struct cancel *cancel, struct error *e);
int line_send_note(int fd, const struct line_note *n, struct error *e);
int line_receive_note(int fd, struct line_note *ret, struct error *e);

/* Whether bytes that came are a request that makes sense; pure. */
bool line_check_request(const void *data, size_t size, struct line_request *ret);

#endif
