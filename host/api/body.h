/*
 * body: the JSON bodies of requests, checked against tables of fields before anything is done with them. Pure:
 * knows no HTTP and opens nothing, so that it can be tested and fuzzed alone.
 */
#ifndef CAPSID_API_BODY_H
#define CAPSID_API_BODY_H

#include "service/refusal.h"
#include "base/shape.h"
#include "core/sources.h"
#include "messages.h"

#include <stdbool.h>

#define BODY_SIZE_MAX (48u << 20)             /* bytes: the largest program, with escapes or base64 */
#define BODY_VALUES_MAX 20000                 /* members and elements */
#define BODY_STDIN_MAX (1u << 20)             /* bytes of one standard input in JSON, */
#define BODY_STDIN_PART_MAX (64u << 20)       /* and of one that is a part of the body (server.h) */
#define BODY_PARTS_MAX (64u << 10)            /* bytes between the parts */
#define BODY_BATCH_MAX 64                     /* standard inputs of one request */
#define BODY_DISK_MAX 65536                   /* MiB of a scratch disk */
#define BODY_MEMORY_MIN 64                    /* MiB; with less a guest's kernel may not come up */
#define BODY_WORDS_MAX 256                    /* args; variables of env */
#define BODY_WORDS_SIZE_MAX PROTO_STRINGS_MAX /* bytes of all of them; core/program.h knows the rest */

struct body_limits {
    uint64_t timeout; /* seconds, the longest that may be asked for */
    struct vm_shape shape;
    uint64_t output; /* bytes of each channel */
};

/* What POST /execute and /run ask for. */
struct body_run {
    char *language; /* owned, as all strings here; NULL: as the main file's extension says */
    struct sources sources;
    char *entry; /* NULL: the only file, or the first of several */
    char *cwd;
    char **args; /* ends with NULL */
    char **env;
    struct buffer *stdins;
    size_t stdin_count; /* 0: none */
    bool batch;         /* stdin is a list: one run and one result for each */
    json_t *stdin_echo; /* as it was given; NULL: none */
    uint64_t timeout;   /* this and what follows: 0 is as configured */
    uint64_t build_timeout;
    struct vm_shape shape;
    uint64_t max_output;
    bool cold;
    bool unprimed;
    bool detached; /* answer with an operation at once */
};

int body_run_parse(struct body_run *ret, const char *data, size_t size, const struct body_limits *limits,
                   struct refusal *r);
void body_run_done(struct body_run *b);

/* What POST /snapshots and /rootfs ask for. */
struct body_create {
    char *language;
    struct vm_shape shape;
    bool force;
};

int body_create_parse(struct body_create *ret, const char *data, size_t size,
                      const struct body_limits *limits, bool snapshot, struct refusal *r);
void body_create_done(struct body_create *b);

/* Seconds; see session.h. */
#define SESSION_IDLE 300
#define SESSION_IDLE_MAX 3600
#define SESSION_AGE 3600
#define SESSION_AGE_MAX 86400

/* What POST /sessions asks for. The times are in seconds. */
struct body_session {
    char *language;
    struct vm_shape shape; /* 0 is as configured */
    uint64_t idle, timeout;
    char **env; /* ends with NULL; NULL: none */
};

int body_session_parse(struct body_session *ret, const char *data, size_t size,
                       const struct body_limits *limits, struct refusal *r);
void body_session_done(struct body_session *b);

/* What POST /sessions/{id}/execute asks for: a program as for /execute, or a command, for which run has the rest. */
struct body_exec {
    struct body_run run;
    char **argv;     /* ends with NULL; NULL: run has a program */
    bool background; /* answer when the command has started */
    bool keep;       /* what it leaves running lives until the session ends */
};

/* language: the session's. */
int body_exec_parse(struct body_exec *ret, const char *data, size_t size, const char *language,
                    const struct body_limits *limits, struct refusal *r);
void body_exec_done(struct body_exec *b);

#endif
