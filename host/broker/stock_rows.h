/*
 * stock_rows: languages, images and snapshots, as they are told: a struct each. service/schema.def has their names in JSON, and
 * what each member is.
 */
#ifndef CAPSID_STOCK_ROWS_H
#define CAPSID_STOCK_ROWS_H

#include <stdbool.h>
#include <stdint.h>

typedef const char *stock_text; /* borrowed; NULL: there is none */
typedef uint64_t stock_number;
typedef bool stock_flag;

/* M(text, number or flag; member). Sizes are in bytes, moments in seconds since 1970; lists are texts with commas. */
#define STOCK_LANGUAGES(M)                                                                                   \
    M(text, name)                                                                                            \
    M(text, title)                                                                                           \
    M(text, aliases)                                                                                         \
    M(text, extension)                                                                                       \
    M(text, extensions)                                                                                      \
    M(text, source)                                                                                          \
    M(flag, compiled)                                                                                        \
    M(flag, primed)                                                                                          \
    M(text, suite)                                                                                           \
    M(text, packages)                                                                                        \
    M(text, npm)                                                                                             \
    M(text, pip)                                                                                             \
    M(text, oci)                                                                                             \
    M(text, imported)                                                                                        \
    M(number, memory_mib)                                                                                    \
    M(number, vcpus)                                                                                         \
    M(flag, installed)                                                                                       \
    M(text, hello)                                                                                           \
    M(text, expect)
#define STOCK_IMAGES(M)                                                                                      \
    M(text, name)                                                                                            \
    M(text, uuid)                                                                                            \
    M(text, digest)                                                                                          \
    M(number, size)                                                                                          \
    M(number, allocated)                                                                                     \
    M(number, created)                                                                                       \
    M(text, initd)                                                                                           \
    M(flag, imported)                                                                                        \
    M(number, disk_mib)                                                                                      \
    M(text, path) /* not for clients: where things are kept is no business of theirs */
/* An image by its UUID, with or without a name. */
#define STOCK_RECORDS(M)                                                                                     \
    M(text, uuid)                                                                                            \
    M(text, parent)                                                                                          \
    M(text, names)                                                                                           \
    M(text, tags)                                                                                            \
    M(text, origin)                                                                                          \
    M(text, origin_of)                                                                                       \
    M(number, created)                                                                                       \
    M(number, layers)                                                                                        \
    M(number, own)                                                                                           \
    M(number, all)                                                                                           \
    M(number, children)                                                                                      \
    M(text, workdir)                                                                                         \
    M(text, user)
#define STOCK_SNAPSHOTS(M)                                                                                   \
    M(text, key)                                                                                             \
    M(text, language)                                                                                        \
    M(number, memory_mib)                                                                                    \
    M(number, vcpus)                                                                                         \
    M(number, disk_mib)                                                                                      \
    M(flag, primed)                                                                                          \
    M(number, apparent)                                                                                      \
    M(number, allocated)                                                                                     \
    M(number, created)                                                                                       \
    M(flag, made)                                                                                            \
    M(text, problem) /* not for clients, either */

#define M(kind, member) stock_##kind member;
struct stock_language {
    STOCK_LANGUAGES(M)
};
struct stock_image {
    STOCK_IMAGES(M)
};
struct stock_record {
    STOCK_RECORDS(M)
};
struct stock_snapshot {
    STOCK_SNAPSHOTS(M)
};
#undef M

#endif
