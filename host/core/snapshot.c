#include "core/snapshot.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "core/freeze.h"
#include "core/inputs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define MAKE_DEADLINE_MS (10 * 60 * 1000)
#define STORE_DEADLINE_MS (60 * 1000)
#define SPACE_MARGIN_MIB 16
#define LOCK_MS 500  /* for what outlasts its holder; much more than it takes */
#define KEY_SHORT 16 /* digits of a key that people see */

/* Not just closed: a child of ours shares the open file until it execs, and would keep the lock for that long. */
static void unlock_directory(int *fd)
{
    if (*fd >= 0)
        flock(*fd, LOCK_UN);
    close_fd(fd);
}

#define cleanup_lock __attribute__((cleanup(unlock_directory)))

void snapshot_unlock(struct snapshot *s)
{
    if (s->locked)
        unlock_directory(&s->lock_fd);
    s->locked = false;
}

void snapshot_done(struct snapshot *s)
{
    snapshot_unlock(s);
    free(s->key);
    free(s->directory);
    free(s->language);
    free(s->problem);
    json_decref(s->inputs);
    *s = (struct snapshot){0};
}

static char *snapshot_directory(const struct host *host, const char *key)
{
    return home_path(&host->home, "snapshots/%s", key);
}

/* ---- reading ------------------------------------------------------------------------------------ */

static void measure_snapshot(struct snapshot *s)
{
    struct stat st;

    s->apparent = s->allocated = 0;
    for (size_t i = 0; i < MANIFEST_FILES; i++) {
        cleanup_free char *path = text_format("%s/%s", s->directory, manifest_files[i]);
        if (lstat(path, &st) == 0) {
            s->apparent += (uint64_t)st.st_size;
            s->allocated += (uint64_t)st.st_blocks * 512;
        }
    }
}

/* Takes what the manifest owns. */
static void adopt_manifest(struct snapshot *s, struct manifest *m)
{
    s->language = m->language;
    s->inputs = m->inputs;
    s->shape = m->shape;
    s->created = m->created;
    s->primed_job = m->primed_job;
    memcpy(s->files, m->files, sizeof(s->files));
    *m = (struct manifest){0};
}

static int read_snapshot(struct snapshot *ret, const struct host *host, const char *key, struct error *e)
{
    struct snapshot snapshot = {.key = text_copy(key), .directory = snapshot_directory(host, key)};
    struct manifest m;

    if (manifest_read(&m, snapshot.directory, key, e) < 0) {
        snapshot_done(&snapshot);
        return -1;
    }
    adopt_manifest(&snapshot, &m);
    measure_snapshot(&snapshot);
    *ret = snapshot;
    return 0;
}

/* For lists: one that cannot be used is there all the same. */
static void read_whatever(struct snapshot *ret, const struct host *host, const char *key)
{
    struct error why = {0};
    struct stat st;

    if (read_snapshot(ret, host, key, &why) == 0)
        return;
    *ret = (struct snapshot){.key = text_copy(key),
                             .directory = snapshot_directory(host, key),
                             .language = text_copy(""),
                             .problem = text_copy(why.text)};
    if (lstat(ret->directory, &st) == 0)
        ret->created = st.st_mtim.tv_sec;
    measure_snapshot(ret);
}

static int corrupt(const char *path, const char *how, struct error *e)
{
    return error_set(e, ERROR_CORRUPT, "%s is %s", path, how);
}

/* What costs nothing to see. */
static int check_shape_snapshot(const char *path, const struct manifest_file *f, struct error *e)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? corrupt(path, "missing", e) : error_errno(e, "cannot open %s", path);
    if (!S_ISREG(st.st_mode))
        return corrupt(path, "corrupt: not a file", e);
    if ((uint64_t)st.st_size != f->size)
        return error_set(e, ERROR_CORRUPT, "%s is corrupt: it has %lld bytes instead of %llu", path,
                         (long long)st.st_size, (unsigned long long)f->size);
    return 0;
}

/* A scratch disk may be far larger than what is on it. */
static int compute_digest(int fd, size_t number, const struct cancel *cancel,
                          char ret[static DIGEST_HEX_SIZE], struct error *e)
{
    return number == MANIFEST_DISK ? digest_sparse_fd(fd, cancel, ret, e) : digest_fd(fd, cancel, ret, e);
}

static int remembered_digest(const struct host *host, size_t number, const char *path,
                             char ret[static DIGEST_HEX_SIZE], struct error *e)
{
    return number == MANIFEST_DISK ? home_digest_sparse(&host->home, path, ret, e)
                                   : home_digest(&host->home, path, ret, e);
}

/* Reads a file only when its inode, size or times changed since it was last read. */
static int verify(const struct host *host, const struct snapshot *snapshot, struct error *e)
{
    char digest[DIGEST_HEX_SIZE];

    for (size_t i = 0; i < manifest_file_count(snapshot->shape); i++) {
        cleanup_free char *path = text_format("%s/%s", snapshot->directory, manifest_files[i]);
        if (check_shape_snapshot(path, &snapshot->files[i], e) < 0 ||
            remembered_digest(host, i, path, digest, e) < 0)
            return -1;
        if (strcmp(digest, snapshot->files[i].sha256) != 0)
            return corrupt(path, "corrupt", e);
    }
    return 0;
}

int snapshot_read_digest(const struct snapshot *snapshot, const char *file, char ret[static DIGEST_HEX_SIZE],
                         struct error *e)
{
    for (size_t i = 0; i < manifest_file_count(snapshot->shape) && !snapshot->problem; i++) {
        if (strcmp(manifest_files[i], file) == 0) {
            memcpy(ret, snapshot->files[i].sha256, DIGEST_HEX_SIZE);
            return 0;
        }
    }
    return error_set(e, ERROR_NOT_FOUND, "the manifest of snapshot %.*s names no file %.64s", KEY_SHORT,
                     snapshot->key, file);
}

void snapshot_explain(const struct snapshot *snapshot, struct error *e)
{
    if (!snapshot->directory || e->kind == ERROR_CANCELLED)
        return;
    for (size_t i = 0; i < manifest_file_count(snapshot->shape); i++) {
        cleanup_free char *path = text_format("%s/%s", snapshot->directory, manifest_files[i]);
        if (file_exists(path))
            continue;
        error_wrap(e, "snapshot %.*s was removed while it was restored (run it again to make it anew)",
                   KEY_SHORT, snapshot->key);
        return;
    }
}

/* ---- locks -------------------------------------------------------------------------------------- */

/* A lock that is held for a moment is waited for: one that is only tried, or that of a killed process, whose children
 * shared it and are about to die. */
static int lock_soon(int fd, int operation)
{
    int64_t deadline = deadline_in_ms(LOCK_MS);

    while (flock(fd, operation | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK || deadline_passed(deadline))
            return -1;
        deadline_pause(1);
    }
    return 0;
}

/* flock(2) on the directory: 1 taken, 0 there is none, or its lock is held; which of the two is in *ret_busy. */
static int lock_directory(const char *directory, int operation, int *ret_fd, bool *ret_busy, struct error *e)
{
    cleanup_lock int fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat ours, there;

    *ret_busy = false;
    if (fd < 0)
        return errno == ENOENT ? 0 : error_errno(e, "cannot open %s", directory);
    if (lock_soon(fd, operation) < 0) {
        *ret_busy = errno == EWOULDBLOCK;
        return *ret_busy ? 0 : error_errno(e, "cannot lock %s", directory);
    }
    /* Before the lock was taken, another may have moved the directory away. */
    if (fstat(fd, &ours) < 0 || lstat(directory, &there) < 0 || ours.st_ino != there.st_ino ||
        ours.st_dev != there.st_dev)
        return 0;
    *ret_fd = take_fd(&fd);
    return 1;
}

/* What is in snapshots/ is moved in and out by one process at a time, and never by one that makes a snapshot
 * meanwhile. */
static int lock_store(const struct host *host, const struct call *call, struct error *e)
{
    return home_lock(&host->home, "snapshots", "changing the snapshots", deadline_in_ms(STORE_DEADLINE_MS),
                     &call->cancel, e);
}

static int in_use(const char *key, struct error *e)
{
    return error_set(e, ERROR_GENERAL,
                     "snapshot %.*s is used by another process; try again when that has ended", KEY_SHORT,
                     key);
}

/* 1: it is there, sound and locked; 0: it is not there; -1: it is there, but not usable. */
static int find_snapshot(struct snapshot *ret, const struct host *host, const char *key, struct error *e)
{
    cleanup_free char *directory = snapshot_directory(host, key);
    cleanup_lock int lock = -1;
    bool busy;
    int there = lock_directory(directory, LOCK_SH, &lock, &busy, e);

    if (there == 0) /* busy: it is about to go */
        return 0;
    if (there > 0 && read_snapshot(ret, host, key, e) == 0) {
        if (verify(host, ret, e) == 0) {
            ret->locked = true;
            ret->lock_fd = take_fd(&lock);
            return 1;
        }
        snapshot_done(ret);
    }
    /* What is no fault of the snapshot, such as a want of file descriptors, is not mended by removing it. */
    if (e->kind != ERROR_CORRUPT)
        return error_wrap(e, "snapshot %.*s cannot be used", KEY_SHORT, key);
    return error_wrap(e, "snapshot %.*s cannot be used (remove it with: capsid snapshot rm %.*s)", KEY_SHORT,
                      key, KEY_SHORT, key);
}

int snapshot_check(const struct snapshot *snapshot, const struct cancel *cancel, struct error *e)
{
    char digest[DIGEST_HEX_SIZE];
    cleanup_lock int lock = -1;
    bool busy;

    if (snapshot->problem)
        return error_set(e, ERROR_CORRUPT, "%s", snapshot->problem);
    /* So that nobody removes it meanwhile. */
    if (lock_directory(snapshot->directory, LOCK_SH, &lock, &busy, e) < 0)
        return -1;
    for (size_t i = 0; i < manifest_file_count(snapshot->shape); i++) {
        cleanup_free char *path = text_format("%s/%s", snapshot->directory, manifest_files[i]);
        if (check_shape_snapshot(path, &snapshot->files[i], e) < 0)
            return -1;
        cleanup_fd int fd = file_open(path, O_RDONLY | O_NOFOLLOW, e);
        if (fd < 0)
            return -1;
        if (compute_digest(fd, i, cancel, digest, e) < 0)
            return error_wrap(e, "%s", path);
        if (strcmp(digest, snapshot->files[i].sha256) != 0)
            return corrupt(path, "corrupt", e);
    }
    return 0;
}

/* ---- removing ----------------------------------------------------------------------------------- */

/* Moves snapshots/KEY, when it is there, into a new directory *ret_doomed (to be freed), so that nobody sees half a
 * snapshot. Under the store's lock. */
static int move_away(struct host *host, const char *key, char **ret_doomed, struct error *e)
{
    cleanup_free char *directory = snapshot_directory(host, key);
    cleanup_free char *doomed = text_format("%s/removed-XXXXXX", host->home.scratch);
    cleanup_lock int lock = -1;
    bool busy;
    int there = lock_directory(directory, LOCK_EX, &lock, &busy, e);

    *ret_doomed = NULL;
    if (there < 0 || busy)
        return busy ? in_use(key, e) : -1;
    if (there == 0)
        return 0;
    if (!mkdtemp(doomed))
        return error_errno(e, "cannot create a directory in %s", host->home.scratch);
    cleanup_free char *target = text_format("%s/%s", doomed, key);
    if (rename(directory, target) < 0)
        return error_errno(e, "cannot remove %s", directory);
    *ret_doomed = text_copy(doomed);
    return 0;
}

int snapshot_check_unused(const struct host *host, const char *key, struct error *e)
{
    cleanup_free char *directory = snapshot_directory(host, key);
    cleanup_lock int lock = -1;
    bool busy;

    if (lock_directory(directory, LOCK_EX, &lock, &busy, e) < 0)
        return -1;
    return busy ? in_use(key, e) : 0;
}

/* What was remembered of files that are gone. */
static void forget(const struct host *host, const struct snapshot *snapshot)
{
    for (size_t i = 0; i < MANIFEST_FILES; i++) {
        cleanup_free char *path = text_format("%s/%s", snapshot->directory, manifest_files[i]);
        home_forget_digest(&host->home, path);
    }
}

int snapshot_remove(struct host *host, const struct call *call, const struct snapshot *snapshot,
                    uint64_t *ret_freed, struct error *e)
{
    cleanup_free char *doomed = NULL, *parent = home_path(&host->home, "snapshots");
    cleanup_fd int store = lock_store(host, call, e);

    if (store < 0 || move_away(host, snapshot->key, &doomed, e) < 0)
        return -1;
    if (!doomed)
        return error_set(e, ERROR_NOT_FOUND, "snapshot %.*s is gone already", KEY_SHORT, snapshot->key);
    forget(host, snapshot);
    close_fd(&store);
    if (file_sync(parent, e) < 0 || file_remove_tree(doomed, e) < 0)
        return -1;
    if (ret_freed)
        *ret_freed = snapshot->allocated;
    return 0;
}

/* ---- making ------------------------------------------------------------------------------------- */

static int describe_file(struct manifest_file *ret, const char *directory, size_t number, struct error *e)
{
    cleanup_free char *path = text_format("%s/%s", directory, manifest_files[number]);
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(e, "cannot open %s", path);
    ret->size = (uint64_t)st.st_size;
    return compute_digest(fd, number, NULL, ret->sha256, e) < 0 ? error_wrap(e, "%s", path) : 0;
}

/* Completes the manifest, whose inputs are set, and writes it. */
static int write_manifest(struct host *host, const char *directory, const char *key, struct manifest *m,
                          struct error *e)
{
    for (size_t i = 0; i < manifest_file_count(m->shape); i++)
        if (describe_file(&m->files[i], directory, i, e) < 0)
            return -1;
    m->created = clock_realtime_ns() / 1000000000;
    return manifest_write(m, key, directory, host->home.scratch, e);
}

/* Gives the finished directory its name, in place of a snapshot that had it. */
static int move_in(struct host *host, const struct call *call, const char *made, const char *key,
                   struct error *e)
{
    cleanup_free char *directory = snapshot_directory(host, key),
                      *parent = home_path(&host->home, "snapshots");
    cleanup_free char *doomed = NULL;

    if (file_sync(made, e) < 0)
        return -1;
    cleanup_fd int store = lock_store(host, call, e);
    if (store < 0 || move_away(host, key, &doomed, e) < 0)
        return -1;
    if (rename(made, directory) < 0)
        return error_errno(e, "cannot create %s", directory);
    close_fd(&store);
    if (file_sync(parent, e) < 0)
        return -1;
    return doomed ? file_remove_tree(doomed, e) : 0;
}

struct order {
    const struct language *language;
    const struct machine_spec *spec;
    json_t *inputs;
    char key[DIGEST_HEX_SIZE];
};

/* Made in scratch, which is locked for the user before anyone else can see it. */
static int make_in(struct host *host, const struct call *call, const struct order *o, const char *scratch,
                   int *ret_lock, struct error *e)
{
    struct manifest m = {.inputs = o->inputs, .shape = o->spec->shape};
    cleanup_lock int lock = -1;
    bool busy;

    /* A guest that writes to memory for which the disk has no room would take QEMU down with SIGBUS. */
    if (file_require_space(host->home.path, (o->spec->shape.memory_mib + SPACE_MARGIN_MIB) << 20, e) < 0 ||
        file_make_directories(scratch, e) < 0 ||
        freeze_guest(host, call, o->language, o->spec, scratch, &m.primed_job, e) < 0 ||
        write_manifest(host, scratch, o->key, &m, e) < 0 ||
        lock_directory(scratch, LOCK_SH, &lock, &busy, e) < 0 || move_in(host, call, scratch, o->key, e) < 0)
        return -1;
    *ret_lock = take_fd(&lock);
    return 0;
}

/* All that is seen of a disk that became full under a guest is that its VMM died. */
static void tell_full_disk(const struct host *host, struct error *e)
{
    struct error full = {0};

    if (e->kind == ERROR_VM_LOST && file_require_space(host->home.path, SPACE_MARGIN_MIB << 20, &full) < 0)
        *e = full;
}

static int make_of_snapshot(struct snapshot *ret, struct host *host, const struct call *call,
                            const struct order *o, struct error *e)
{
    cleanup_free char *scratch = text_format("%s/snapshot-%.*s", host->home.scratch, KEY_SHORT, o->key);
    int64_t start = clock_monotonic_ns();
    cleanup_lock int lock = -1;

    log_progress("Making the snapshot of %s (%llu MiB, %llu vCPU)", o->language->name,
                 (unsigned long long)o->spec->shape.memory_mib, (unsigned long long)o->spec->shape.vcpus);
    if (make_in(host, call, o, scratch, &lock, e) < 0) {
        tell_full_disk(host, e);
        file_remove_tree(scratch, &(struct error){0});
        /* What a guest refuses or does not find here is no fault of the request that needs the snapshot. */
        if (e->kind == ERROR_REFUSED || e->kind == ERROR_NOT_FOUND)
            e->kind = ERROR_GENERAL;
        return error_wrap(e, "the snapshot of %s could not be made", o->language->name);
    }
    log_progress("  %s: snapshot %.*s done in %.1f s", o->language->name, KEY_SHORT, o->key,
                 (double)(clock_monotonic_ns() - start) / 1e9);
    if (read_snapshot(ret, host, o->key, e) < 0)
        return -1;
    ret->locked = lock >= 0;
    ret->lock_fd = take_fd(&lock);
    return 0;
}

static int ensure(struct snapshot *ret, struct host *host, const struct call *call, const struct order *o,
                  bool force, bool *made, struct error *e)
{
    /* Replacing one that is used cannot succeed, so do not even begin. */
    int found = force ? snapshot_check_unused(host, o->key, e) : find_snapshot(ret, host, o->key, e);

    if (found != 0)
        return found < 0 ? -1 : 0;
    cleanup_free char *lock = text_format("snapshot-%.*s", KEY_SHORT, o->key);
    cleanup_free char *waiting = text_format("making the snapshot of %s", o->language->name);
    cleanup_fd int fd =
        home_lock(&host->home, lock, waiting, deadline_in_ms(MAKE_DEADLINE_MS), &call->cancel, e);
    if (fd < 0)
        return -1;
    found = force ? 0 : find_snapshot(ret, host, o->key, e);
    if (found != 0)
        return found < 0 ? -1 : 0;
    *made = true;
    return make_of_snapshot(ret, host, call, o, e);
}

int snapshot_ensure(struct snapshot *ret, struct host *host, const struct call *call,
                    const struct language *l, const struct image *image, const struct machine_spec *spec,
                    bool force, bool *ret_made, struct error *e)
{
    struct order o = {.language = l, .spec = spec, .inputs = inputs_collect(host, l, image, spec, e)};

    *ret_made = false;
    if (!o.inputs)
        return -1;
    manifest_key(o.inputs, o.key);
    int result = ensure(ret, host, call, &o, force, ret_made, e);
    json_decref(o.inputs);
    return result;
}

int snapshot_lookup(struct snapshot *ret, const struct host *host, const struct language *l,
                    const struct image *image, const struct machine_spec *spec, struct error *e)
{
    json_t *inputs = inputs_collect(host, l, image, spec, e);
    char key[DIGEST_HEX_SIZE];

    if (!inputs)
        return -1;
    manifest_key(inputs, key);
    json_decref(inputs);
    int found = find_snapshot(ret, host, key, e);
    return found ? (found < 0 ? -1 : 0)
                 : error_set(e, ERROR_NOT_MADE, "the snapshot of %s is not there", l->name);
}

/* ---- lists -------------------------------------------------------------------------------------- */

static int is_key(const struct dirent *d)
{
    return digest_is_hex(d->d_name);
}

int snapshot_each(const struct host *host, int (*visit)(const struct snapshot *snapshot, void *context),
                  void *context, struct error *e)
{
    cleanup_free char *directory = home_path(&host->home, "snapshots");
    struct dirent **entries;
    int count = scandir(directory, &entries, is_key, alphasort), result = 0;

    if (count < 0)
        return error_errno(e, "cannot read %s", directory);
    for (int i = 0; i < count; i++) {
        struct snapshot snapshot = {0};
        if (result == 0) {
            read_whatever(&snapshot, host, entries[i]->d_name);
            if (file_exists(snapshot.directory)) /* otherwise it was removed meanwhile */
                result = visit(&snapshot, context);
        }
        snapshot_done(&snapshot);
        free(entries[i]);
    }
    free(entries);
    return result;
}

int snapshot_find(struct snapshot *ret, const struct host *host, const char *key, struct error *e)
{
    cleanup_free char *directory = home_path(&host->home, "snapshots");
    cleanup_free char *match = NULL;
    struct dirent **entries;
    int count = scandir(directory, &entries, is_key, alphasort), matches = 0;

    for (int i = 0; i < count; i++) {
        if (key[0] && strncmp(entries[i]->d_name, key, strlen(key)) == 0 && matches++ == 0)
            match = text_copy(entries[i]->d_name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    if (matches != 1)
        return error_set(e, ERROR_NOT_FOUND,
                         "%s snapshot has a key beginning with \"%.64s\"; see: capsid snapshot list",
                         matches ? "more than one" : "no", key);
    read_whatever(ret, host, match);
    return 0;
}
