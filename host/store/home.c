#include "store/home.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define LOCK_RETRY_MS 20
#define LOCK_SAY_MS 200
#define UNFINISHED "new-" /* beginning of the name of a scratch directory that is being made */
#define MAKING_S 60
#define ORPHAN_MS 1000 /* for the children of a killed process to die, which they do at once */
#define CGROUP_KILL_MS 5000
#define RECORDS "records"
#define RECORD_CHILD "child-"
#define RECORD_CGROUP "cgroup-"

static const char *const directories[] = {"",       "/images", "/images/names", "/snapshots",
                                          "/cache", "/locks",  "/log",          "/run"};

char *home_path(const struct home *h, const char *format, ...)
{
    struct buffer b = {0};
    char *rest = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&rest, format, args) < 0)
        rest = NULL;
    va_end(args);
    buffer_add_text(&b, "%s/%s", h->path, rest ? rest : "");
    free(rest);
    return b.data;
}

/* Ends what one record of a dead owner names; see make_record(). */
static void end_recorded(const char *name, const char *text)
{
    unsigned long long start;
    int pid;

    if (strncmp(name, RECORD_CHILD, strlen(RECORD_CHILD)) == 0) {
        if (sscanf(text, "%d %llu", &pid, &start) == 2 && pid > 1)
            child_kill_recorded(pid, start);
    } else if (strncmp(name, RECORD_CGROUP, strlen(RECORD_CGROUP)) == 0 && text[0] == '/') {
        home_remove_cgroup(text);
    }
}

/* Processes first: a cgroup can be removed when none is left in it. */
static void end_all_recorded(const char *scratch)
{
    static const char *const kinds[] = {RECORD_CHILD, RECORD_CGROUP};
    cleanup_free char *path = text_format("%s/" RECORDS, scratch);

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        cleanup_dir DIR *dir = opendir(path);
        for (struct dirent *d; dir && (d = readdir(dir));) {
            char text[PATH_MAX];
            ssize_t n = strncmp(d->d_name, kinds[i], strlen(kinds[i])) == 0
                            ? readlinkat(dirfd(dir), d->d_name, text, sizeof(text) - 1)
                            : -1;
            if (n > 0) {
                text[n] = '\0';
                end_recorded(d->d_name, text);
            }
        }
    }
}

void home_remove_cgroup(const char *path)
{
    cleanup_free char *kill = text_format("%s/cgroup.kill", path);
    cleanup_free char *above = text_copy(path);
    int64_t deadline = deadline_in_ms(CGROUP_KILL_MS);

    if (rmdir(path) < 0 && errno == EBUSY) {
        cleanup_fd int fd = open(kill, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, "1", 1) != 1)
            log_warning("cannot kill what is in %s: %s", path, strerror(errno));
        /* Killed processes leave it when they have ended. */
        while (rmdir(path) < 0 && errno == EBUSY && !deadline_passed(deadline))
            deadline_pause(1);
    }
    if (access(path, F_OK) == 0)
        log_warning("left-over cgroup %s could not be removed", path);
    *strrchr(above, '/') = '\0';
    rmdir(above); /* refused while another VM is in it, or a process */
}

/* A tree that an image build left may hold files of mapped user ids, which only a user namespace can remove.
 */
static int remove_scratch(const char *path, struct error *e)
{
    if (file_remove_tree(path, e) == 0 || geteuid() == 0)
        return file_exists(path) ? -1 : 0;
    const char *argv[] = {"unshare", "--map-root-user", "--map-auto", "rm", "-rf", "--", path, NULL};
    struct buffer none = {0};
    int result = child_capture(argv, 0, deadline_in_ms(60000), NULL, &none, e);
    buffer_free(&none);
    return result;
}

/*
 * Two locks on one file. flock(2) is the truth, but children share it until they exec, so that of a killed process can
 * outlast it by the moment that such a child takes to die. fcntl(2)'s belongs to the process alone: without it, the
 * other one is worth waiting for.
 */
static int lock_owner(int fd)
{
    struct flock own = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    return flock(fd, LOCK_EX | LOCK_NB) < 0 ? -1 : fcntl(fd, F_SETLK, &own);
}

static bool process_holds(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    return fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type != F_UNLCK;
}

static bool owner_lives(int fd)
{
    int64_t deadline = deadline_in_ms(ORPHAN_MS);

    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (process_holds(fd) || deadline_passed(deadline))
            return true;
        deadline_pause(1);
    }
    return false;
}

static void remove_if_orphaned(const char *scratch)
{
    cleanup_free char *owner = text_format("%s/owner", scratch);
    cleanup_fd int fd = open(owner, O_RDWR | O_CLOEXEC);
    struct error ignored = {0};

    if (fd < 0 ? errno != ENOENT : owner_lives(fd))
        return; /* or nobody can tell, for want of file descriptors for example */
    end_all_recorded(scratch);
    if (remove_scratch(scratch, &ignored) < 0)
        log_warning("left-over directory could not be removed: %s", ignored.text);
}

/* A directory that is still being made has no lock yet. Making takes no time, so one that is old was given
 * up. */
static bool is_being_made(const char *name, const char *path)
{
    struct stat st;

    return strncmp(name, UNFINISHED, strlen(UNFINISHED)) == 0 && stat(path, &st) == 0 &&
           clock_realtime_ns() / 1000000000 - st.st_mtim.tv_sec < MAKING_S;
}

static void remove_orphans(const struct home *h)
{
    cleanup_free char *run = home_path(h, "run");
    cleanup_dir DIR *dir = opendir(run);

    for (struct dirent *d; dir && (d = readdir(dir));) {
        cleanup_free char *scratch = text_format("%s/%s", run, d->d_name);
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0 && !is_being_made(d->d_name, scratch))
            remove_if_orphaned(scratch);
    }
}

/* Made under another name and locked before it gets its own, so that nobody ever sees it without its lock. */
static int make_scratch(struct home *h, struct error *e)
{
    cleanup_free char *unfinished = home_path(h, "run/" UNFINISHED "XXXXXX");

    if (!mkdtemp(unfinished))
        return error_errno(e, "cannot create a directory in %s/run", h->path);
    cleanup_free char *owner = text_format("%s/owner", unfinished);
    cleanup_free char *records = text_format("%s/" RECORDS, unfinished);
    cleanup_free char *final = home_path(h, "run/%s", strrchr(unfinished, '/') + 1 + strlen(UNFINISHED));
    h->owner_fd = open(owner, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    h->record_fd = mkdir(records, 0700) == 0 ? open(records, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (h->owner_fd < 0 || h->record_fd < 0 || lock_owner(h->owner_fd) < 0 || rename(unfinished, final) < 0) {
        error_errno(e, "cannot create %s", owner);
        close_fd(&h->owner_fd);
        close_fd(&h->record_fd);
        /* By names: when file descriptors are what is missing, a tree cannot be walked. */
        unlink(owner);
        rmdir(records);
        rmdir(unfinished);
        return -1;
    }
    h->scratch = text_copy(final);
    return 0;
}

int home_open(struct home *h, const char *path, struct error *e)
{
    *h = (struct home){.path = text_copy(path), .owner_fd = -1, .record_fd = -1};
    for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
        cleanup_free char *directory = text_format("%s%s", path, directories[i]);
        if (file_make_directories(directory, e) < 0) {
            error_wrap(e, "state directory %s cannot be used (set CAPSID_HOME to another)", path);
            home_close(h);
            return -1;
        }
    }
    remove_orphans(h);
    if (make_scratch(h, e) < 0) {
        error_wrap(e, "state directory %s cannot be used (set CAPSID_HOME to another)", path);
        home_close(h);
        return -1;
    }
    return 0;
}

void home_close(struct home *h)
{
    struct error e = {0};

    if (!h->path)
        return;
    close_fd(&h->record_fd); /* removing needs an fd, and there may be no other */
    if (h->scratch && remove_scratch(h->scratch, &e) < 0)
        log_warning("%s", e.text);
    close_fd(&h->owner_fd);
    free(h->scratch);
    free(h->path);
    *h = (struct home){.owner_fd = -1, .record_fd = -1};
}

/*
 * A record is a symbolic link whose target is what is recorded: it is there with all it says, or not at all, also
 * when this process is killed meanwhile, and making it takes no file descriptor. Nobody follows it.
 */
static int make_record(struct home *h, const char *kind, const char *text, uint64_t *ret, struct error *e)
{
    static atomic_ullong last;
    unsigned long long number = atomic_fetch_add(&last, 1) + 1;
    cleanup_free char *name = text_format("%s%llu", kind, number);

    if (symlinkat(text, h->record_fd, name) < 0)
        return error_errno(e, "cannot write %s/" RECORDS "/%s", h->scratch, name);
    *ret = number;
    return 0;
}

static void remove_record(struct home *h, const char *kind, uint64_t *number)
{
    cleanup_free char *name = text_format("%s%llu", kind, (unsigned long long)*number);

    if (*number == 0)
        return;
    /* One that stays names a process or cgroup that is gone, which does no harm. */
    if (unlinkat(h->record_fd, name, 0) < 0 && errno != ENOENT)
        log_warning("cannot remove %s/" RECORDS "/%s: %s", h->scratch, name, strerror(errno));
    *number = 0;
}

int home_record_child(struct home *h, struct child *c, struct error *e)
{
    char text[64];

    if (c->record)
        return 0;
    snprintf(text, sizeof(text), "%d %llu", (int)c->pid, (unsigned long long)c->start_time);
    return make_record(h, RECORD_CHILD, text, &c->record, e);
}

void home_forget_child(struct home *h, struct child *c)
{
    remove_record(h, RECORD_CHILD, &c->record);
}

int home_record_cgroup(struct home *h, const char *path, uint64_t *ret_record, struct error *e)
{
    return make_record(h, RECORD_CGROUP, path, ret_record, e);
}

void home_forget_cgroup(struct home *h, uint64_t *record)
{
    remove_record(h, RECORD_CGROUP, record);
}

int home_lock(const struct home *h, const char *name, const char *waiting_for, int64_t deadline,
              const struct cancel *cancel, struct error *e)
{
    cleanup_free char *path = home_path(h, "locks/%s", name);
    cleanup_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int64_t say_at = deadline_in_ms(LOCK_SAY_MS);
    bool said = false;

    if (fd < 0)
        return error_errno(e, "cannot open %s", path);
    /* flock cannot be waited for together with other events; the holder is a build of seconds, so looking
     * again suffices. */
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_errno(e, "cannot lock %s", path);
        if (!said && deadline_passed(say_at)) {
            log_progress("Waiting for another process: %s", waiting_for);
            said = true;
        }
        if (clock_monotonic_ns() >= deadline)
            return error_set(e, ERROR_TIMEOUT, "another process did not finish in time: %s", waiting_for);
        if (deadline_poll(NULL, 0, deadline_in_ms(LOCK_RETRY_MS), cancel, e) < 0)
            return -1;
    }
    return take_fd(&fd);
}

/* One line: what identifies the state of a file. */
static void describe_state(const struct stat *st, char out[static 160])
{
    snprintf(out, 160, "%llu %llu %lld %lld.%09ld %lld.%09ld", (unsigned long long)st->st_dev,
             (unsigned long long)st->st_ino, (long long)st->st_size, (long long)st->st_mtim.tv_sec,
             st->st_mtim.tv_nsec, (long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
}

static bool cached_digest(const char *cache, const char *state, char ret[static 65])
{
    char line[256];
    cleanup_file FILE *f = fopen(cache, "re");
    size_t size = strlen(state);

    if (!f || !fgets(line, sizeof(line), f) || strncmp(line, state, size) != 0 || line[size] != ' ')
        return false;
    return strlen(line + size + 1) == 65 && snprintf(ret, 65, "%.64s", line + size + 1) > 0;
}

/* Where the digest of path is remembered; the caller frees it. */
static char *digest_cache(const struct home *h, const char *path)
{
    char path_digest[DIGEST_HEX_SIZE];

    digest_bytes(path, strlen(path), path_digest);
    return home_path(h, "cache/digest-%.32s", path_digest);
}

void home_forget_digest(const struct home *h, const char *path)
{
    cleanup_free char *cache = digest_cache(h, path);

    unlink(cache);
}

static int find_digest(const struct home *h, const char *path,
                       int (*compute)(int fd, const struct cancel *cancel, char ret[static DIGEST_HEX_SIZE],
                                      struct error *e),
                       char ret[static 65], struct error *e)
{
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    char state[160], after[160];
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(e, "cannot open %s", path);
    cleanup_free char *cache = digest_cache(h, path);
    describe_state(&st, state);
    if (cached_digest(cache, state, ret))
        return 0;

    if (compute(fd, NULL, ret, e) < 0)
        return error_wrap(e, "%s", path);
    /* A file that changed within the clock's granularity would keep the same state; do not remember those. */
    if (fstat(fd, &st) == 0 && clock_realtime_ns() / 1000000000 - st.st_ctim.tv_sec > 1) {
        describe_state(&st, after);
        cleanup_free char *line = text_format("%s %s\n", after, ret);
        if (strcmp(after, state) == 0 && file_replace(cache, h->scratch, line, strlen(line), 0600, e) < 0)
            return -1;
    }
    return 0;
}

int home_digest(const struct home *h, const char *path, char ret[static 65], struct error *e)
{
    return find_digest(h, path, digest_fd, ret, e);
}

int home_digest_sparse(const struct home *h, const char *path, char ret[static 65], struct error *e)
{
    return find_digest(h, path, digest_sparse_fd, ret, e);
}
