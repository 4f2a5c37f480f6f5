#include "service/tokens.h"

#include "base/cleanup.h"
#include "base/file.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_SIZE_MAX (1u << 20)
#define TOKEN_SIZE_MAX 256
#define TOKEN_PREFIX "capsid_" /* so that scanners for leaked secrets know it */

struct client {
    char name[65];
    char digest[DIGEST_HEX_SIZE]; /* empty: removed by a reload */
    struct token_limits limits;
    double tokens;  /* of the bucket */
    int64_t filled; /* when, 0: never */
    uint64_t working;
    size_t held;
};

struct tokens {
    pthread_mutex_t lock;
    char *path;
    struct token_limits defaults;
    struct client *clients; /* never shrinks, so a client's number stays its own */
    size_t count;
};

/* ---- the file ------------------------------------------------------------------------------------ */

static int set_limit(struct client *c, const char *word)
{
    const struct {
        const char *name;
        uint64_t *target;
    } limits[] = {
        {"rate=", &c->limits.rate}, {"burst=", &c->limits.burst}, {"concurrent=", &c->limits.concurrent}};

    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        size_t size = strlen(limits[i].name);
        if (strncmp(word, limits[i].name, size) == 0)
            return text_to_u64(word + size, 0, 1000000, limits[i].target) ? 0 : -1;
    }
    return -1;
}

static int parse_line(const struct tokens *t, struct client *ret, char *line, int number, struct error *e)
{
    char *state = NULL, *name = strtok_r(line, " \t\r", &state), *digest = strtok_r(NULL, " \t\r", &state);

    *ret = (struct client){.limits = t->defaults};
    if (!text_is_name(name))
        return error_set(e, ERROR_USAGE, "%s: line %d: a name has up to 64 letters, digits, . _ + -", t->path,
                         number);
    if (!digest || !digest_is_hex(digest))
        return error_set(
            e, ERROR_USAGE,
            "%s: line %d: after the name comes the token's SHA-256, 64 hexadecimal digits; capsid "
            "api --new-token NAME makes such a line",
            t->path, number);
    strcpy(ret->name, name);
    strcpy(ret->digest, digest);
    for (char *word = strtok_r(NULL, " \t\r", &state); word; word = strtok_r(NULL, " \t\r", &state))
        if (set_limit(ret, word) < 0)
            return error_set(e, ERROR_USAGE,
                             "%s: line %d: \"%.64s\" is none of rate=N, burst=N and concurrent=N", t->path,
                             number, word);
    return 0;
}

static int read_file_tokens(int fd, const char *path, struct buffer *ret, struct error *e)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return error_errno(e, "cannot read the token file %s", path);
    if (st.st_mode & 022)
        return error_set(e, ERROR_USAGE,
                         "others than its owner may write the token file %s; run: chmod go-w %s", path, path);
    return file_read_fd(fd, path, FILE_SIZE_MAX, ret, e);
}

static int parse_file(const struct tokens *t, int fd, struct client **ret, size_t *ret_count, struct error *e)
{
    cleanup_buffer struct buffer text = {0};
    struct client *all = memory_allocate(TOKENS_MAX * sizeof(all[0]));
    size_t count = 0;
    int number = 0, result = read_file_tokens(fd, t->path, &text, e);

    for (char *line = text.data, *next; result == 0 && line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        line[strcspn(line, "#")] = '\0';
        number++;
        if (!line[strspn(line, " \t\r")])
            continue;
        if (count == TOKENS_MAX)
            result = error_set(e, ERROR_USAGE, "%s: more than %d tokens", t->path, TOKENS_MAX);
        else
            result = parse_line(t, &all[count], line, number, e);
        for (size_t i = 0; result == 0 && i < count; i++)
            if (strcmp(all[i].name, all[count].name) == 0)
                result = error_set(e, ERROR_USAGE, "%s: line %d: \"%s\" is there twice", t->path, number,
                                   all[i].name);
        count++;
    }
    if (result == 0 && count == 0)
        result =
            error_set(e, ERROR_USAGE, "%s: holds no token; capsid api --new-token NAME makes one", t->path);
    if (result < 0) {
        free(all);
        return -1;
    }
    *ret = all;
    *ret_count = count;
    return 0;
}

static struct client *find_name(struct tokens *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->clients[i].name, name) == 0)
            return &t->clients[i];
    return NULL;
}

int tokens_reload(struct tokens *t, int fd, struct error *e)
{
    struct client *fresh;
    size_t count;

    if (!t->path)
        return 0;
    if (parse_file(t, fd, &fresh, &count, e) < 0)
        return -1;
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < t->count; i++)
        t->clients[i].digest[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        struct client *old = find_name(t, fresh[i].name);
        if (!old) {
            t->clients = realloc(t->clients, (t->count + 1) * sizeof(t->clients[0]));
            if (!t->clients)
                abort();
            old = &t->clients[t->count++];
            *old = fresh[i];
        }
        memcpy(old->digest, fresh[i].digest, sizeof(old->digest));
        old->limits = fresh[i].limits;
    }
    pthread_mutex_unlock(&t->lock);
    free(fresh);
    return 0;
}

struct tokens *tokens_open(const char *path, int fd, const struct token_limits *defaults, struct error *e)
{
    struct tokens *t = memory_allocate(sizeof(*t));

    pthread_mutex_init(&t->lock, NULL);
    t->path = text_copy(path);
    t->defaults = *defaults;
    if (!path) {
        t->clients = memory_allocate(sizeof(t->clients[0]));
        t->clients[0] = (struct client){.name = "anonymous", .limits = *defaults};
        t->count = 1;
    } else if (tokens_reload(t, fd, e) < 0) {
        tokens_close(t);
        return NULL;
    }
    return t;
}

void tokens_close(struct tokens *t)
{
    if (!t)
        return;
    pthread_mutex_destroy(&t->lock);
    free(t->clients);
    free(t->path);
    free(t);
}

/* ---- checks -------------------------------------------------------------------------------------- */

int tokens_check(struct tokens *t, const char *authorization, struct refusal *r)
{
    char digest[DIGEST_HEX_SIZE];
    int found = -1;

    if (!t->path)
        return 0;
    if (!authorization)
        return refuse(r, REFUSAL_NO_TOKEN, "a token is required: Authorization: Bearer TOKEN");
    if (strncasecmp(authorization, "Bearer ", 7) != 0)
        return refuse(r, REFUSAL_BAD_TOKEN, "the Authorization header must be: Bearer TOKEN");
    const char *token = authorization + 7 + strspn(authorization + 7, " ");
    if (!token[0] || strlen(token) > TOKEN_SIZE_MAX)
        return refuse(r, REFUSAL_BAD_TOKEN, "the token is not valid");
    digest_bytes(token, strlen(token), digest);
    pthread_mutex_lock(&t->lock);
    /* All of them, always, and each in constant time. */
    for (size_t i = 0; i < t->count; i++)
        if (CRYPTO_memcmp(digest, t->clients[i].digest, 64) == 0)
            found = (int)i;
    pthread_mutex_unlock(&t->lock);
    return found < 0 ? refuse(r, REFUSAL_BAD_TOKEN, "the token is not valid") : found;
}

int tokens_take_request(struct tokens *t, int client, int64_t now, struct refusal *r)
{
    int wait = 0;

    pthread_mutex_lock(&t->lock);
    struct client *c = &t->clients[client];
    double rate = (double)c->limits.rate,
           burst = (double)(c->limits.burst ? c->limits.burst : c->limits.rate);
    if (c->limits.rate) {
        c->tokens = c->filled ? c->tokens + (double)(now - c->filled) / 1e9 * rate : burst;
        c->tokens = c->tokens < burst ? c->tokens : burst;
        c->filled = now;
        if (c->tokens >= 1)
            c->tokens -= 1;
        else
            wait = 1 + (int)((1 - c->tokens) / rate);
    }
    unsigned long long limit = c->limits.rate;
    pthread_mutex_unlock(&t->lock);
    if (!wait)
        return 0;
    r->retry_after = wait;
    return refuse(r, REFUSAL_LIMIT, "more than %llu requests per second", limit);
}

int tokens_begin_work(struct tokens *t, int client, struct refusal *r)
{
    pthread_mutex_lock(&t->lock);
    struct client *c = &t->clients[client];
    unsigned long long limit = c->limits.concurrent;
    bool fits = limit == 0 || c->working < limit;
    c->working += fits;
    pthread_mutex_unlock(&t->lock);
    if (fits)
        return 0;
    r->retry_after = 1;
    return refuse(r, REFUSAL_LIMIT, "more than %llu requests at a time", limit);
}

void tokens_end_work(struct tokens *t, int client)
{
    pthread_mutex_lock(&t->lock);
    t->clients[client].working--;
    pthread_mutex_unlock(&t->lock);
}

int tokens_hold(struct tokens *t, int client, size_t size, size_t held, size_t max, struct refusal *r)
{
    pthread_mutex_lock(&t->lock);
    struct client *c = &t->clients[client];
    size_t own = c->held + size, others = held > own ? held - own : 0;
    bool fits = !t->path || (others < max && own <= (max - others) / 2);
    c->held += fits ? size : 0;
    pthread_mutex_unlock(&t->lock);
    if (fits)
        return 0;
    r->retry_after = 1;
    return refuse(r, REFUSAL_LIMIT, "your requests and answers hold too much of the server's memory");
}

void tokens_release(struct tokens *t, int client, size_t size)
{
    pthread_mutex_lock(&t->lock);
    t->clients[client].held -= size;
    pthread_mutex_unlock(&t->lock);
}

void tokens_each(struct tokens *t, void (*visit)(const struct token_use *use, void *context), void *context)
{
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < t->count; i++) {
        const struct client *c = &t->clients[i];
        visit(&(struct token_use){.name = c->name, .working = c->working, .held = c->held}, context);
    }
    pthread_mutex_unlock(&t->lock);
}

void tokens_name(struct tokens *t, int client, char out[static 65])
{
    pthread_mutex_lock(&t->lock);
    memcpy(out, t->clients[client].name, 65);
    pthread_mutex_unlock(&t->lock);
}

int tokens_make(const char *name, char **ret_token, char **ret_line, struct error *e)
{
    char hex[65], digest[DIGEST_HEX_SIZE];
    unsigned char random[32];

    if (!text_is_name(name))
        return error_set(e, ERROR_USAGE, "a client's name has up to 64 letters, digits, . _ + -");
    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        return error_errno(e, "getrandom");
    text_hex(random, sizeof(random), hex);
    *ret_token = text_format(TOKEN_PREFIX "%s", hex);
    digest_bytes(*ret_token, strlen(*ret_token), digest);
    *ret_line = text_format("%s %s", name, digest);
    return 0;
}
