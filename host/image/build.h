/* build: runs the image builder (rootfs/build-image) in namespaces of its own. Private to image/. */
#ifndef CAPSID_IMAGE_BUILD_H
#define CAPSID_IMAGE_BUILD_H

#include "base/deadline.h"
#include "base/error.h"
#include "config/config.h"
#include "image/recipe.h"
#include "store/home.h"

#define ARGUMENTS_MAX 64

struct arguments {
    const char *words[ARGUMENTS_MAX + 1]; /* borrowed */
    size_t count;
};

void arguments_add(struct arguments *a, const char *word);

/* Begins a command that runs as process 1 of a process namespace, so nothing it starts outlives it, and its mounts
 * are gone with its mount namespace. An ordinary user gets a user namespace with the ids of /etc/subuid. */
void arguments_add_namespaces(struct arguments *a);

/* Runs it. Repeats its standard output, a line for each phase, on stderr; its standard error goes to the file log,
 * whose last "Error: " line becomes the error. */
int image_run_builder(struct home *h, const struct arguments *a, const char *log, const char *name,
                      int64_t deadline, const struct cancel *cancel, struct error *e);

/* What the builder reads and writes. */
struct build_paths {
    const char *output;   /* the image file */
    const char *lock_out; /* gets the record of its packages, see image/packages.h */
    const char *lock;     /* such a record, to build from exactly these packages; or NULL */
};

/*
 * Makes the image file of a definition; name is for messages and logs. Shows the builder's phases on stderr; all else
 * goes to log/image-NAME.log. Whatever ends this function, no process or mount of the builder is left.
 */
int image_build(const struct config *config, struct home *h, const char *name, const struct recipe *recipe,
                const struct build_paths *paths, int64_t deadline, const struct cancel *cancel,
                struct error *e);

#endif
