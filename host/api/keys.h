/*
 * keys: Idempotency-Key. The first request with a key is done; those that follow get its answer. Keys belong to
 * their client, and are forgotten after a time, or when there are too many. Answers that are about the
 * moment are not kept, so that the client can try again: the server's own trouble (429 and 5xx), and 409, which is what
 * becomes of a request whose connection is lost.
 */
#ifndef CAPSID_API_KEYS_H
#define CAPSID_API_KEYS_H

#include "service/refusal.h"
#include "base/file.h"

#include <pthread.h>
#include <stdint.h>

#define KEYS_MAX 1024
#define KEYS_BYTES_MAX (64u << 20) /* of all answers that are kept */
#define KEY_KEPT_S 3600
#define KEY_SIZE_MAX 255

struct answer;
struct kept;

struct keys {
    pthread_mutex_t lock;
    struct kept *slots;
    size_t bytes;
};

void keys_open(struct keys *k);
void keys_close(struct keys *k);

/*
 * digest: of all that makes the request what it is. 0: it is the first, and keys_end() must follow; 1: *ret is a copy
 * of the answer that was given; -1 with a refusal.
 */
int keys_begin(struct keys *k, const char *client, const char *key, const char digest[static DIGEST_HEX_SIZE],
               struct answer *ret, struct refusal *r);

/* answer NULL: the request was not done, and the key is free again. */
void keys_end(struct keys *k, const char *client, const char *key, const struct answer *answer);

#endif
