/*
 * schema: requests and results as tables, made from schema.def. A request is a struct request (request.h), a result a struct
 * result (result.h), whoever they come from or go to; here is what turns them into JSON and back, and what describes them.
 */
#ifndef CAPSID_SERVICE_SCHEMA_H
#define CAPSID_SERVICE_SCHEMA_H

#include "base/error.h"
#include "base/text.h"
#include "service/refusal.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* K(KIND, type of the member). The members of a list or map end with NULL, and are NAME=VALUE in a map. */
#define SCHEMA_KINDS(K)                                                                                      \
    K(TEXT, const char *)                                                                                    \
    K(NUMBER, uint64_t)                                                                                      \
    K(SIZE, uint64_t) /* in MiB; on a command line also with M or G */                                       \
    K(BOOL, bool)                                                                                            \
    K(MAYBE, int)           /* of a result: true (1) or false (-1), or not known (0) */                      \
    K(UNLESS, bool)         /* the opposite of what JSON says; the words are about its false */              \
    K(BYTES, struct buffer) /* as text, or in base64 */                                                      \
    K(WORDS, const char *const *)                                                                            \
    K(COMMAS, const char *) /* in a result: the same as one text with commas; NULL is none */                \
    K(PAIRS, const char *const *)                                                                            \
    K(FILES, struct sources)         /* a list of FILE, or a map of names and contents */                    \
    K(STDINS, struct request_stdins) /* as BYTES, or a list of such; in a result one, as it was given */     \
    K(INTEGER, int)                                                                                          \
    K(SIGNAL, int)                                                                                           \
    K(CHOICE, unsigned)                      /* an enum */                                                   \
    K(DURATION, int64_t)                     /* ns, as "0.8ms" or "209ms" */                                 \
    K(MILLISECONDS, int64_t)                 /* ns, as a number */                                           \
    K(COMPILED, const struct result_phase *) /* a COMPILE */                                                 \
    K(MOMENT, int64_t)                       /* ns since 1970, as seconds with their fraction; 0 is none */  \
    K(REASON, const struct refusal_view *)   /* as a REASON */                                               \
    K(MADE, json_t *)                        /* an object of OF, made already */                             \
    K(LIST, json_t *)                        /* a list of such */                                            \
    K(COUNTS, json_t *)                      /* a map of numbers, made already */                            \
    K(ANY, json_t *)

enum schema_kind {
#define SCHEMA_KIND(kind, type) SCHEMA_##kind,
    SCHEMA_KINDS(SCHEMA_KIND)
#undef SCHEMA_KIND
};

enum schema_object {
    SCHEMA_OBJECT_NONE,
#define OBJECT(id, ...) SCHEMA_OBJECT_##id,
#include "service/schema.def"
    SCHEMA_OBJECTS_COUNT
};

/* S(ID, type): of what fields are members. */
#define SCHEMA_STRUCTS(S)                                                                                    \
    S(REQUEST, struct request)                                                                               \
    S(SOURCE, struct request_source)                                                                         \
    S(CONNECTION, struct network_entry)                                                                      \
    S(RESULT, struct result)                                                                                 \
    S(PHASE, struct result_phase)                                                                            \
    S(STREAM, struct stream_view)                                                                            \
    S(REFUSAL, struct refusal_view)                                                                          \
    S(SESSION, struct session_view)                                                                          \
    S(OPERATION, struct operation_view)                                                                      \
    S(LANGUAGE, struct stock_language)                                                                       \
    S(IMAGE, struct stock_image)                                                                             \
    S(RECORD, struct stock_record)                                                                           \
    S(SNAPSHOT, struct stock_snapshot)                                                                       \
    S(LISTING, struct listing_view)                                                                          \
    S(HEALTH, struct health_view)                                                                            \
    S(QUEUE, struct queue_view)                                                                              \
    S(BACKGROUND, struct background_view)                                                                    \
    S(MATCH, struct match_view)                                                                              \
    S(FILE, struct file_view)

enum schema_struct {
#define S(id, type) SCHEMA_OF_##id,
    SCHEMA_STRUCTS(S)
#undef S
};

/* A row of schema.def, which explains the attributes. */
struct schema_field {
    enum schema_kind kind;
    enum schema_struct of;
    size_t offset;    /* of the member */
    const char *name; /* NULL ends the table */
    const char *also; /* NULL: none, as in all that follows */
    uint64_t objects; /* that have it: a bit for each */
    const char *words;
    uint64_t min, max; /* max 0: any */
    size_t entries;    /* 0: any */
    bool limited;
    size_t limit; /* if so, by the member at this offset of struct request_limits */
    uint64_t fallback;
    const char *flag, *argument, *help;
    char letter;
    bool required, left_out, or_null;
    bool (*is_key)(const char *); /* of a map; and what that says */
    const char *keys;
    const char *const *names; /* of a choice */
    unsigned names_count;
    enum schema_object inner; /* what a MADE or the items of a LIST are */
};

extern const struct schema_field schema_fields[];

/* By enum schema_object. */
extern const struct schema_info {
    const char *name;  /* "RunRequest"; NULL: it has none */
    const char *words; /* what it is, in a sentence */
    bool taken;        /* a request */
    bool many;         /* others add fields of their own */
} schema_objects[SCHEMA_OBJECTS_COUNT];

/* The next field of the object after f, NULL: the first; NULL after the last. */
const struct schema_field *schema_next(enum schema_object object, const struct schema_field *f);

#define schema_each(object, f) for (const struct schema_field *f = NULL; (f = schema_next(object, f));)

/* Which of a choice's names it is; false: none. */
bool schema_choose(const struct schema_field *f, const char *name, unsigned *ret);

/* The same, or 0. */
unsigned schema_choice(const struct schema_field *f, const char *name);

/* The field of a member in that object; there has to be one. */
const struct schema_field *schema_find(enum schema_object object, enum schema_struct of, size_t offset);

/* Its other name is that of a field that says how it is encoded. */
static inline bool schema_is_encoded(const struct schema_field *f)
{
    return f->kind == SCHEMA_BYTES || f->kind == SCHEMA_STDINS;
}

/* ---- JSON to structs ------------------------------------------------------------------------------ */

struct request_limits;

/*
 * Fills the members of a struct from a JSON object, within their bounds and the limits (NULL: none), and those that are missing or
 * null with their defaults. FILES and STDINS are the caller's. On failure what was filled stays, for schema_done(). where is ""
 * or says which part of a request j is, for messages about what there is not.
 */
int schema_take(enum schema_object object, void *ret, const json_t *j, const char *where,
                const struct request_limits *limits, struct refusal *r);

/* Adds the bytes of a text, which may be in base64: encoding is NULL, "utf-8" or that. name is for the message. */
int schema_take_bytes(const char *name, const json_t *text, const json_t *encoding, struct buffer *ret,
                      struct refusal *r);

/* A member that is there and not null, borrowed; else NULL. */
json_t *schema_member(const json_t *j, const char *name);

/* Frees what schema_take() filled, whatever the object. */
void schema_done(enum schema_struct of, void *members);

/* Adds NAME=VALUE to a map, or a word to a list, as an option of the command line does. */
int schema_add_pair(const struct schema_field *f, const char *const **map, const char *pair, struct error *e);
int schema_add_word(const struct schema_field *f, const char *const **list, const char *word,
                    struct error *e);

/*
 * Reads what another program printed: integers, choices, flags and texts (borrowed from j). What is missing stays as it was; a
 * choice with a name that is not known is 0. -1: one of them is something else.
 */
int schema_read(enum schema_object object, enum schema_struct of, const json_t *j, void *ret);

/* ---- structs to JSON ------------------------------------------------------------------------------ */

/*
 * Adds the object's fields that are members of this struct to j. Of a request those are left out that are as by default, and
 * FILES and STDINS. Fails when a text is no UTF-8; the message names the field.
 */
int schema_put(json_t *j, enum schema_object object, enum schema_struct of, const void *members,
               struct error *e);

/* The same as a new object; NULL with an error. */
json_t *schema_json(enum schema_object object, enum schema_struct of, const void *members, struct error *e);

/* A list as an object with its one LIST, which it takes, and its count. */
json_t *schema_list(enum schema_object object, json_t *items);

/* Bytes as a field, and that of their encoding where they are in base64: as they have to be, or as it is shorter. */
void schema_put_bytes(json_t *j, const struct schema_field *f, const struct buffer *b);

/* ---- for readers ---------------------------------------------------------------------------------- */

/* The object as JSON Schema (2020-12). */
json_t *schema_describe(enum schema_object object);

/* What the field is, in JSON; and what its option is, in the help. The caller frees them. */
char *schema_words(const struct schema_field *f);
char *schema_help(const struct schema_field *f);

#endif
