/* walk: every node below a path. Symbolic links are followed in that path alone. */
#ifndef LOOK_WALK_H
#define LOOK_WALK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct walk {
    /* False: no more. path is below the one that was asked for, "": that itself; name is the node's in the directory. */
    bool (*visit)(struct walk *w, int directory, const char *name, const char *path, const struct stat *st);
    void *context;
    uint64_t skipped; /* what is too deep, or cannot be looked at */
};

/* False: a visit said so. The program ends where path is not there. */
bool walk_run(struct walk *w, const char *path);

/* The target of a symbolic link, static; NULL with errno. */
const char *walk_target(int directory, const char *name);

#endif
