/*
 * home: the state directory (CAPSID_HOME) and how several processes share it.
 *
 *   images/                 image files, named by their SHA-256; names/ beside them refers to them
 *   snapshots/KEY/          snapshots
 *   cache/                  things that can be computed again: digests, probe results
 *   locks/                  empty files to lock
 *   log/                    logs of long steps
 *   run/ID/                 scratch of one running process; everything unfinished is in there
 *
 * A process works in its scratch directory and renames what is finished into place. It holds a lock on
 * run/ID/owner as long as it lives, so the next process sees which scratch directories have lost their owner,
 * kills the processes and removes the cgroups recorded in them, and removes them.
 */
#ifndef CAPSID_HOME_H
#define CAPSID_HOME_H

#include "base/child.h"
#include "base/deadline.h"
#include "base/error.h"

#include <stdbool.h>

struct home {
    char *path;    /* owned */
    char *scratch; /* owned; this process's own directory */
    int owner_fd;  /* the lock on it */
    int record_fd; /* where child processes are recorded */
};

/* Makes the directories, removes what dead processes left, and makes the scratch directory. */
int home_open(struct home *h, const char *path, struct error *e);

/* Removes the scratch directory. Accepts a home that was never opened. */
void home_close(struct home *h);

/* "HOME/" and the formatted rest; the caller frees it. */
char *home_path(const struct home *h, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Records a child, so that it is ended should this process be killed in a way that spares the child. */
int home_record_child(struct home *h, const struct child *c, struct error *e);

/* Records a cgroup before it is made, so that it is removed, and all in it killed, should this process die. */
int home_record_cgroup(struct home *h, const char *path, struct error *e);

/* Kills all in a cgroup and removes it, and the directory above when it was the last there. */
void home_remove_cgroup(const char *path);

/*
 * Takes the lock of that name and returns its fd (close it to unlock). While another process holds it, waits
 * until the deadline or cancel, after saying waiting_for on stderr once.
 */
int home_lock(const struct home *h, const char *name, const char *waiting_for, int64_t deadline,
              const struct cancel *cancel, struct error *e);

/* SHA-256 of a file, remembered as long as inode, size, mtime and ctime stay the same. */
int home_digest(const struct home *h, const char *path, char ret[static 65], struct error *e);

/* Forgets it, after the file was removed. */
void home_forget_digest(const struct home *h, const char *path);

#endif
