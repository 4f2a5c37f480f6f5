/* request: what a client asks for, whether it came as JSON or as words of a command line. schema.def has names and bounds. */
#ifndef CAPSID_SERVICE_REQUEST_H
#define CAPSID_SERVICE_REQUEST_H

#include "base/shape.h"
#include "core/run.h"
#include "core/sources.h"
#include "files/place.h"

#include <jansson.h>
#include <stdbool.h>

#define REQUEST_SIZE_MAX (48u << 20)       /* bytes of JSON: the largest program, with escapes or base64 */
#define REQUEST_VALUES_MAX 20000           /* members and elements of it */
#define REQUEST_STDIN_MAX (1u << 20)       /* bytes of one standard input in JSON, */
#define REQUEST_STDIN_PART_MAX (64u << 20) /* and of one that is sent apart from it */
#define REQUEST_BATCH_MAX 64               /* standard inputs of one request */
#define REQUEST_DISK_MAX 65536             /* MiB of a scratch disk that a server gives */
#define REQUEST_MEMORY_MIN 64              /* MiB; with less a guest's kernel may not come up */

/* The most that may be asked for; what a server sets. */
struct request_limits {
    uint64_t timeout; /* seconds */
    struct vm_shape shape;
    uint64_t output; /* bytes of each channel */
};

struct request_stdins {
    struct buffer *list; /* owned */
    size_t count;        /* 0: none */
    size_t which;        /* of them, for this run */
    bool batch;          /* it was a list: one run and one result for each */
    json_t *given;       /* owned; as it was; NULL: there was none */
};

/* One of the program's files, as JSON has it. */
struct request_source {
    const char *name, *link;
    struct buffer content;
    bool executable, directory;
};

/* What may be asked for; each kind of request, SCHEMA_OBJECT_RUN and its like, has some of it. Numbers that are 0 are as configured. */
struct request {
    struct run_request
        run; /* its strings are owned, in one that was parsed; sources, stdin_fd and callbacks are not in it */
    struct buffer code;
    struct sources sources;
    struct request_stdins stdins;
    uint64_t max_output;     /* bytes of each channel */
    const char *shell;       /* a line for /bin/sh; it is run.argv, too; NULL: there is none */
    const char *state;       /* as the next: files/place.h */
    const char *const *puts; /* ends with NULL */
    const char *const *labels;
    uint64_t idle;   /* seconds */
    bool detached;   /* answer with an operation at once */
    bool background; /* answer when the command has started */
    bool force;      /* make it anew */
    const char *tag; /* of an image */
};

#endif
