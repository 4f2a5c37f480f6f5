/*
 * api: the HTTP server's front, the process that reads what clients send. docs of its paths: openapi.json beside this file.
 *
 * It is started by server/server.h, which tells it all it has to know: it reads no settings and opens no socket. Between the
 * two is the leash, a socket (SOCK_SEQPACKET) with messages of fixed form; when it ends, so does the front.
 */
#ifndef CAPSID_API_H
#define CAPSID_API_H

#include "base/log.h"
#include "service/request.h"
#include "service/tokens.h"

#include <limits.h>

#define FRONT_ARGUMENT "--front" /* the only argument of capsid-api when it is started as the front */
#define FRONT_LEASH_FD 0         /* its end of the leash */
#define FRONT_SOCKETS_MAX 4
#define FRONT_CORS_SIZE 256

/* What SIGHUP may change. */
struct front_settings {
    uint64_t timeout;    /* seconds that a program may run where its request does not say */
    uint64_t max_output; /* bytes of each output channel that are kept */
};

struct api_options {
    struct token_limits limits;     /* of clients for which the file has none */
    uint64_t queue;                 /* programs that wait for a VM */
    uint64_t queue_seconds;         /* how long at most; the program's own timeout begins when it has one */
    uint64_t receive_seconds;       /* how long a client may take to send a request */
    uint64_t connections;           /* at a time */
    uint64_t client_connections;    /* of one address or client; 0: half of them */
    uint64_t sessions;              /* at a time, of all clients */
    uint64_t client_sessions;       /* of one */
    uint64_t grace_seconds;         /* that running work gets at shutdown */
    unsigned places;                /* VMs that programs may have at a time, those of the pool and others */
    bool tokens;                    /* clients need one */
    bool check_host;                /* only this machine's names are right */
    char cors[FRONT_CORS_SIZE];     /* origin whose pages may use the API, "*": any; "": none */
    uint64_t files_max;             /* MiB of uploaded files and directory states, of all clients */
    uint64_t files_owner_max;       /* of one; 0: all */
    struct request_limits request;  /* but for output */
    struct front_settings settings; /* as they are at the start */
    enum log_level log_level;
    char data[PATH_MAX];        /* directory with the languages' definitions */
    char state[PATH_MAX];       /* directory for what it keeps */
    char tokens_path[PATH_MAX]; /* for messages */
};

/* What the front is told. BEGIN comes first, and once. */
enum front_word {
    FRONT_BEGIN, /* options; with the line (broker/line.h), the sockets to listen on, and the tokens if there are any */
    FRONT_SETTINGS, /* options.settings alone; with the tokens, if they can be read */
    FRONT_STOP,     /* finish; once more: now */
    FRONT_TELL,     /* say FRONT_TOLD */
};

struct front_order {
    uint32_t word;
    uint32_t sockets;
    struct api_options options;
};

/* What it says. */
enum front_answer_word {
    FRONT_READY,
    FRONT_SETTLED,
    FRONT_STOPPING,
    FRONT_TOLD, /* with a file in memory: its state as JSON, for people (api/status.h) */
    FRONT_FAILED
};

struct front_answer {
    uint32_t word;
    struct error error; /* of FRONT_FAILED, upon which it ends */
};

/* The order of descriptors that come with FRONT_BEGIN: the line, the sockets, the tokens. -1 when the other end is gone. */
int front_send_order(int leash, const struct front_order *o, const int *passed, size_t count,
                     struct error *e);

/* 1: an answer; 0: the front has ended; -1: what came is none. *ret_fd is the caller's: what came with FRONT_TOLD; else -1. */
int front_receive_answer(int leash, struct front_answer *ret, int *ret_fd, struct error *e);

/* The front, from BEGIN to its end; the exit status. */
int front_main(void);

#endif
