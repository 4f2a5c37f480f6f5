/*
 * sync: a directory of the user's becomes a list for a state. Files that were seen before with the same size, times and inode are
 * not read (files/seen.h). Symlinks are kept as they are and never followed; what is neither file, directory nor symlink is
 * left out.
 */
#ifndef CAPSID_FILES_SYNC_H
#define CAPSID_FILES_SYNC_H

#include "files/states.h"

#define SYNC_EXCLUDES_MAX 1000

struct sync_options {
    const char *const *exclude; /* patterns of gitignore(5), for all of it; ends with NULL */
    bool gitignore;             /* leave out what the .gitignore files in it say, and .git */
    bool keep;                  /* the content becomes the owner's; otherwise it is only looked at */
    const struct cancel *cancel;
};

struct sync_count {
    uint64_t files, bytes, read, left_out; /* regular files; of these opened; entries that are no files */
};

/* Fills an empty *ret, in order; the caller's to free, on failure it is empty. */
int sync_directory(struct files *f, const char *owner, const char *path, const struct sync_options *o,
                   struct state_list *ret, struct sync_count *ret_count, struct error *e);

/* Opens a file below a directory, through no symlink. */
int sync_open(int root, const char *path, struct error *e);

#endif
