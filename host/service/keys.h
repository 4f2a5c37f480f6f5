/*
 * keys: idempotency keys. The first request with a key is done; those that follow get its answer. Keys belong to
 * their owner, and are forgotten KEY_KEPT_S after the answer, or when there are too many (service/share.h). A server that is started
 * again has them. Any thread.
 */
#ifndef CAPSID_SERVICE_KEYS_H
#define CAPSID_SERVICE_KEYS_H

#include "base/file.h"
#include "service/ledger.h"

#define KEYS_OWN_MAX 1024
#define KEYS_ALL_MAX 8192
#define KEYS_OWN_BYTES (INT64_C(64) << 20) /* of all answers that are kept */
#define KEYS_ALL_BYTES (INT64_C(256) << 20)
#define KEY_KEPT_S 3600
#define KEY_SIZE_MAX 255

struct key_answer {
    int status;
    char location[128];
    struct buffer body; /* text */
};

enum key_state {
    KEY_FIRST,    /* it is to be done, and keys_end() must follow */
    KEY_ANSWERED, /* it was done */
    KEY_AT_WORK,  /* the first is not done yet */
    KEY_OTHERS,   /* another request had the key */
};

/*
 * digest: of all that makes the request what it is. *ret is the answer that was given, for the caller to free its body.
 * ERROR_BUSY: too many keys are being worked on.
 */
int keys_begin(struct ledger *l, const char *owner, const char *key,
               const char digest[static DIGEST_HEX_SIZE], enum key_state *ret_state, struct key_answer *ret,
               struct error *e);

/* answer NULL: there is none to keep, and the key is free again. One that is too large is not kept either. */
void keys_end(struct ledger *l, const char *owner, const char *key, const struct key_answer *answer);

#endif
