/*
 * tree: paths below one directory, the root of an image that is being unpacked. Nothing here reaches outside of
 * it, whatever the paths and the symbolic links in the tree say: every step is resolved by openat2(2) below the
 * root's fd, and the last component is never followed.
 */
#ifndef CAPSID_OCI_TREE_H
#define CAPSID_OCI_TREE_H

#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TREE_PATH_MAX 4095     /* bytes of a path */
#define TREE_COMPONENT_MAX 255 /* bytes between two slashes */
#define TREE_DEPTH_MAX 128     /* components of a path, also of the real one behind symbolic links */
#define TREE_SHOWN_MAX 200     /* what a message shows of a path */

/* How symbolic links in the directories of a path are taken. */
enum tree_links {
    TREE_BENEATH, /* relative ones inside the tree are followed; absolute and escaping ones are an error */
    TREE_IN_ROOT, /* as a program inside would see them: absolute ones begin at the root */
};

/* A path without leading and double slashes, "." and a trailing slash; "" is the root. ".." is an error. */
struct tree_path {
    char text[TREE_PATH_MAX + 1];
    unsigned depth;
};

int tree_path_parse(struct tree_path *ret, const char *path, struct error *e);

/* path with everything but printable ASCII escaped, shortened: names in an image are not for terminals. */
const char *tree_shown(const char *path, char out[static TREE_SHOWN_MAX + 8]);

/*
 * Opens the directory that the path's last component is in, O_PATH; *ret_name is that component, within p. The
 * path must not be the root. With make, missing directories are made (0755). -1 with errno ENOENT, when it is
 * not there.
 */
int tree_open_parent(int root, const struct tree_path *p, enum tree_links links, bool make,
                     const char **ret_name, struct error *e);

/* Removes a file or a whole tree; a missing one is fine. */
int tree_remove(int parent, const char *name, struct error *e);

/* A directory name in parent, made when it is missing, in place of anything else. Returns its fd. */
int tree_make_directory(int parent, const char *name, struct error *e);

/* A new, empty regular file in place of whatever is there. Returns its fd, open for writing, mode 0600. */
int tree_make_file(int parent, const char *name, struct error *e);

/* Writes a whole file of root's with that mode, in place of whatever is there. */
int tree_write(int root, const char *path, mode_t mode, const void *data, size_t size, struct error *e);

/* Reads a regular file of at most max bytes into *ret, which must be empty. One that is missing or is something else
 * reads as empty. */
int tree_read(int root, const char *path, size_t max, struct buffer *ret, struct error *e);

/* Opens a directory for reading; -1 with errno ENOENT when it is not there. */
int tree_open_directory(int root, const char *path, struct error *e);

#endif
