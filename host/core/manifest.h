/*
 * manifest: what a snapshot's manifest.json says, and the key that follows from it.
 *
 * "inputs" is a JSON object with everything that makes the snapshot valid, one string or whole number each, readable
 * by people. The key is the SHA-256 of its canonical text: no blanks, names sorted, everything outside ASCII escaped.
 * So the manifest proves the name of its directory, and two machines agree on a key only when they agree on all of it.
 */
#ifndef CAPSID_MANIFEST_H
#define CAPSID_MANIFEST_H

#include "base/error.h"
#include "base/shape.h"
#include "base/file.h"
#include "base/text.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define MANIFEST_NAME "manifest.json"
#define MANIFEST_MAX 65536 /* bytes */

/*
 * A file beside it with the manifest's own SHA-256, as sha256sum(1) writes it. The key covers the inputs only; this covers
 * what was found out when the snapshot was made: the digests, the primed job. Whoever damages or changes one of the two
 * files is found out before anything of it is used. Whoever can change both can as well put in another memory: against that
 * stands only that nobody else may write to the state directory (store/home.h).
 */
#define MANIFEST_SEAL_NAME "manifest.sha256"
#define MANIFEST_SEAL_MAX 128 /* bytes */

/* Raise it when snapshots made before are not what one made now would be: other devices, another protocol, other files,
 * other words of our own on the guest's command line. */
#define MANIFEST_FORMAT 7

/* Every file of a snapshot but the manifest; the last one only of a VM with a scratch disk. */
enum { MANIFEST_MEMORY, MANIFEST_STATE, MANIFEST_DISK, MANIFEST_FILES };
extern const char *const manifest_files[MANIFEST_FILES];

struct manifest_file {
    uint64_t size;                /* bytes, holes included */
    char sha256[DIGEST_HEX_SIZE]; /* of the scratch disk: digest_sparse_fd() (base/file.h) */
};

struct manifest {
    json_t *inputs; /* owned reference */
    char *language; /* owned; of the inputs, as the next two */
    struct vm_shape shape;
    int64_t created;     /* seconds since 1970 */
    uint32_t primed_job; /* 0: nothing is primed */
    struct manifest_file files[MANIFEST_FILES];
};

/* How many of manifest_files a snapshot has. */
static inline size_t manifest_file_count(struct vm_shape shape)
{
    return shape.disk_mib > 0 ? MANIFEST_FILES : MANIFEST_DISK;
}

void manifest_done(struct manifest *m);

/* Whether the object is one that manifest_parse() takes: few names, short strings without control characters. */
bool manifest_check_inputs(const json_t *inputs);

/* The key of these inputs. */
void manifest_key(const json_t *inputs, char ret[static DIGEST_HEX_SIZE]);

/* Parses size bytes that anyone may have written. ERROR_CORRUPT: they are not the manifest of the snapshot key. */
int manifest_parse(struct manifest *ret, const char *key, const char *text, size_t size, struct error *e);

/* The manifest as text; the caller frees it. */
char *manifest_format(const struct manifest *m, const char *key);

/* The manifest and its seal, out of a snapshot's directory and into it. scratch is for file_replace(). */
int manifest_read(struct manifest *ret, const char *directory, const char *key, struct error *e);
int manifest_write(const struct manifest *m, const char *key, const char *directory, const char *scratch,
                   struct error *e);

/* Names and values of the inputs that differ, "NAME (was OLD, is NEW)", separated by commas; empty: none. The caller
 * frees it. */
char *manifest_compare(const json_t *old, const json_t *now);

#endif
