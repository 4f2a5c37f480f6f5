/*
 * layers: directories as overlayfs takes them (Documentation/filesystems/overlayfs.rst): what changed above others, where a
 * character device 0/0 says that a name is gone, and trusted.overlay.opaque that a directory hides those below it.
 */
#ifndef INITD_LAYERS_H
#define INITD_LAYERS_H

#include <stdbool.h>

/* Whether an upper directory says anything that those below it, the last of which is the topmost, do not. Copies of directories
 * alone, as overlayfs makes them for what is made inside, are nothing when what was made is gone again. In doubt, yes. */
bool layers_changed(int upper_fd, const int *lower_fds, unsigned lower_count);

/* Copies into an upper directory what the layer below it says and it does not: then it stands for both. Holes stay holes, and
 * several names of one file stay that. 0 or -errno. Changes the working directory. */
int layers_fold(int lower_fd, int upper_fd);

#endif
