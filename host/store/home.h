/*
 * home: the state directory (CAPSID_HOME) and how several processes share it.
 *
 *   images/                 image files, named by their SHA-256; names/, ids/ and tags/ beside them refer to them
 *   snapshots/KEY/          snapshots
 *   files/                  what users upload, and directory states (files/files.h)
 *   cache/                  things that can be computed again: digests, probe results
 *   locks/                  empty files to lock
 *   service/, service-2/    what a server keeps, one each (service/ledger.h)
 *   log/                    logs of long steps
 *   run/ID/                 scratch of one running process; everything unfinished is in there
 *   run/ID/records/         what it started and made outside and would have to end: a symbolic link each
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
#include "base/text.h"

#include <stdbool.h>

struct home {
    char *path;    /* owned */
    char *scratch; /* owned; this process's own directory */
    int owner_fd;  /* the lock on it */
    int record_fd; /* the directory of records; O_PATH */
};

/*
 * What is in it is acted upon, processes are killed and cgroups removed, so it is refused before anything in it is read
 * when another user owns it, may write into it, or could put another directory in its place; and records are believed
 * only when nobody else could have written them.
 *
 * Makes the directories, removes what dead processes left, and makes the scratch directory. While this process has the
 * same home open already, takes a second longer. */
int home_open(struct home *h, const char *path, struct error *e);

/* Removes the scratch directory. Accepts a home that was never opened. */
void home_close(struct home *h);

/* "HOME/" and the formatted rest; the caller frees it. */
char *home_path(const struct home *h, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Records a child, so that it is ended should this process be killed in a way that spares the child; c->record names
 * the record. Once is enough. Who ends the child forgets it afterwards, which does nothing for one that is not
 * recorded. Any thread.
 */
int home_record_child(struct home *h, struct child *c, struct error *e);
void home_forget_child(struct home *h, struct child *c);

/* Records a cgroup before it is made, so that it is removed, and all in it killed, should this process die; to be
 * forgotten when it is removed. */
int home_record_cgroup(struct home *h, const char *path, uint64_t *ret_record, struct error *e);
void home_forget_cgroup(struct home *h, uint64_t *record);

/* Kills all in a cgroup and removes it, and the directory above when it was the last there. */
void home_remove_cgroup(const char *path);

/*
 * Takes the lock of that name and returns its fd (close it to unlock). While another process holds it, waits
 * until the deadline or cancel, and says waiting_for on stderr once if that takes a moment.
 */
int home_lock(const struct home *h, const char *name, const char *waiting_for, int64_t deadline,
              const struct cancel *cancel, struct error *e);

/*
 * cache/NAME, for what can be computed again. Reading gives false, and an empty buffer, when it is not there, longer than
 * max bytes or no file. What cannot be written, on a full disk for example, is warned of once and computed again the next
 * time.
 */
bool home_cache_read(const struct home *h, const char *name, size_t max, struct buffer *ret);
void home_cache_write(const struct home *h, const char *name, const char *text);

/* SHA-256 of a file, remembered as long as inode, size, mtime and ctime stay the same. */
int home_digest(const struct home *h, const char *path, char ret[static 65], struct error *e);

/* The same by digest_sparse_fd(). A path has one kind of digest only. */
int home_digest_sparse(const struct home *h, const char *path, char ret[static 65], struct error *e);

/* Forgets it, after the file was removed. */
void home_forget_digest(const struct home *h, const char *path);

#endif
