#include "api/server.h"

#include <string.h>

struct kept {
    char client[65], key[KEY_SIZE_MAX + 1]; /* "": the slot is free */
    char digest[DIGEST_HEX_SIZE];
    int64_t ended; /* ns, monotonic; 0: not yet */
    int status;
    struct buffer body;
    char location[128];
};

void keys_open(struct keys *k)
{
    *k = (struct keys){.slots = memory_allocate(KEYS_MAX * sizeof(k->slots[0]))};
    pthread_mutex_init(&k->lock, NULL);
}

static void clear(struct keys *k, struct kept *p)
{
    k->bytes -= p->body.size;
    buffer_free(&p->body);
    *p = (struct kept){0};
}

void keys_close(struct keys *k)
{
    for (size_t i = 0; k->slots && i < KEYS_MAX; i++)
        clear(k, &k->slots[i]);
    free(k->slots);
    pthread_mutex_destroy(&k->lock);
}

static struct kept *find(struct keys *k, const char *client, const char *key)
{
    for (size_t i = 0; i < KEYS_MAX; i++)
        if (strcmp(k->slots[i].key, key) == 0 && strcmp(k->slots[i].client, client) == 0)
            return &k->slots[i];
    return NULL;
}

static struct kept *oldest(struct keys *k)
{
    struct kept *found = NULL;

    for (size_t i = 0; i < KEYS_MAX; i++)
        if (k->slots[i].ended && (!found || k->slots[i].ended < found->ended))
            found = &k->slots[i];
    return found;
}

/* A free slot, or that of the oldest answer; NULL: all are being worked on. */
static struct kept *find_slot(struct keys *k)
{
    int64_t now = clock_monotonic_ns();
    struct kept *free_one = NULL;

    for (size_t i = 0; i < KEYS_MAX; i++) {
        struct kept *p = &k->slots[i];
        if (p->ended && now - p->ended > KEY_KEPT_S * 1000000000LL)
            clear(k, p);
        if (!p->key[0])
            free_one = p;
    }
    if (!free_one && (free_one = oldest(k)))
        clear(k, free_one);
    return free_one;
}

/* Under the lock. */
static int begin(struct keys *k, const char *client, const char *key, const char *digest, struct answer *ret,
                 struct refusal *r)
{
    struct kept *p = find(k, client, key);

    if (p && strcmp(p->digest, digest) != 0)
        return refuse(r, REFUSAL_KEY_REUSED, "another request had this Idempotency-Key; take a new one");
    if (p && !p->ended) {
        r->retry_after = 1;
        return refuse(r, REFUSAL_KEY_BUSY, "the first request with this Idempotency-Key is not done yet");
    }
    if (p) {
        ret->status = p->status;
        ret->type = "application/json";
        ret->replayed = true;
        buffer_add(&ret->body, p->body.data, p->body.size);
        memcpy(ret->location, p->location, sizeof(ret->location));
        return 1;
    }
    if (!(p = find_slot(k))) {
        r->retry_after = 5;
        return refuse(r, REFUSAL_OVERLOAD, "too many requests with an Idempotency-Key are being worked on");
    }
    snprintf(p->client, sizeof(p->client), "%s", client);
    snprintf(p->key, sizeof(p->key), "%s", key);
    memcpy(p->digest, digest, DIGEST_HEX_SIZE);
    return 0;
}

int keys_begin(struct keys *k, const char *client, const char *key, const char digest[static DIGEST_HEX_SIZE],
               struct answer *ret, struct refusal *r)
{
    pthread_mutex_lock(&k->lock);
    int result = begin(k, client, key, digest, ret, r);
    pthread_mutex_unlock(&k->lock);
    return result;
}

/* Every 409 is about the moment, as are 429 and 5xx: cancelled, or the key in use. */
static bool is_final(int status)
{
    return status < 500 && status != 409 && status != 429;
}

void keys_end(struct keys *k, const char *client, const char *key, const struct answer *answer)
{
    pthread_mutex_lock(&k->lock);
    struct kept *p = find(k, client, key);
    if (p && answer && is_final(answer->status) && answer->body.size <= KEYS_BYTES_MAX / 4) {
        p->ended = clock_monotonic_ns();
        p->status = answer->status;
        buffer_add(&p->body, answer->body.data, answer->body.size);
        memcpy(p->location, answer->location, sizeof(p->location));
        k->bytes += p->body.size;
        while (k->bytes > KEYS_BYTES_MAX)
            clear(k, oldest(k));
    } else if (p) {
        clear(k, p);
    }
    pthread_mutex_unlock(&k->lock);
}
