/*
 * tokens: who may use the API, and how much of it.
 *
 * The file has one client a line; what is in brackets may be missing, "#" begins a comment:
 *
 *     NAME SHA256 [rate=PER-SECOND] [burst=REQUESTS] [concurrent=RUNS]
 *
 * SHA256 is that of the token, in hex: who reads the file cannot use the API by it.
 */
#ifndef CAPSID_SERVICE_TOKENS_H
#define CAPSID_SERVICE_TOKENS_H

#include "service/refusal.h"
#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

#define TOKENS_MAX 4096

/* 0: no limit. */
struct token_limits {
    uint64_t rate;       /* requests per second */
    uint64_t burst;      /* requests at once; 0: as rate */
    uint64_t concurrent; /* requests that are being worked on */
};

struct tokens;

/*
 * path NULL: no tokens, one client with the default limits; else it is for messages, and fd, which is borrowed, is the file. Counters
 * of clients outlive a reload, by name. A file that others than its owner may write is refused.
 */
struct tokens *tokens_open(const char *path, int fd, const struct token_limits *defaults, struct error *e);
int tokens_reload(struct tokens *t, int fd, struct error *e); /* a failure leaves those there were */
void tokens_close(struct tokens *t);

/* Takes the Authorization header (NULL: none) to a client's number, 0 and up; -1 with a refusal. The time is the same
 * for all tokens that are wrong. */
int tokens_check(struct tokens *t, const char *authorization, struct refusal *r);

/* Counts a request at that time (ns, monotonic); -1: too many. */
int tokens_take_request(struct tokens *t, int client, int64_t now, struct refusal *r);

/* Counts one that is worked on, until tokens_end_work(). */
int tokens_begin_work(struct tokens *t, int client, struct refusal *r);
void tokens_end_work(struct tokens *t, int client);

/*
 * Counts bytes that a client's requests hold, until tokens_release(): so many that all of them together hold held of max
 * bytes. -1: the client would have more than half of what others leave, so there is always room for somebody else. When
 * there are no tokens, and so no others, everything is the client's.
 */
int tokens_hold(struct tokens *t, int client, size_t size, size_t held, size_t max, struct refusal *r);
void tokens_release(struct tokens *t, int client, size_t size);

/* What each client has at the moment, with the lock held. */
struct token_use {
    const char *name;
    uint64_t working; /* requests that are worked on */
    size_t held;      /* bytes */
};

void tokens_each(struct tokens *t, void (*visit)(const struct token_use *use, void *context), void *context);

/* Copies the client's name; "anonymous" when there are no tokens. */
void tokens_name(struct tokens *t, int client, char out[static 65]);

/* A new token, and its line for the file; the caller frees both. */
int tokens_make(const char *name, char **ret_token, char **ret_line, struct error *e);

#endif
