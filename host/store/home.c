#include "store/home.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "store/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#define LOCK_RETRY_MS 20 /* at last; a lock that is held for a moment is tried sooner */
#define LOCK_SAY_MS 200
#define UNFINISHED "new-" /* beginning of the name of a scratch directory that is being made */
#define MAKING_S 60
#define ORPHAN_MS 1000 /* for the children of a killed process to die, which they do at once */
#define CGROUP_KILL_MS 5000
#define RECORDS "records"
#define RECORD_CHILD "child-"
#define RECORD_CGROUP "cgroup-"

static const char *const directories[] = {"images", "images/names", "images/ids", "images/tags", "snapshots",
                                          "cache",  "locks",        "log",        "run"};

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

/* Only what is a cgroup of a VM by its place and name: another path would be written to and removed, too. */
static bool is_cgroup_of_vm(const char *path)
{
    const char *name = strrchr(path, '/');
    struct statfs fs;

    return path[0] == '/' && !strstr(path, "/../") &&
           (strncmp(name + 1, "vm-", 3) == 0 || strncmp(name + 1, "probe-", 6) == 0) &&
           statfs(path, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* Ends what one record of a dead owner names; see make_record(). */
static void end_recorded(const char *name, const char *text)
{
    unsigned long long start;
    int pid;

    if (strncmp(name, RECORD_CHILD, strlen(RECORD_CHILD)) == 0) {
        if (sscanf(text, "%d %llu", &pid, &start) == 2 && pid > 1)
            child_kill_recorded(pid, start);
    } else if (strncmp(name, RECORD_CGROUP, strlen(RECORD_CGROUP)) == 0 && is_cgroup_of_vm(text)) {
        home_remove_cgroup(text);
    }
}

/* A record that this user made; its text. */
static bool read_record(int directory, const char *name, char ret[static PATH_MAX])
{
    struct stat st;
    ssize_t n = fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_uid == geteuid()
                    ? readlinkat(directory, name, ret, PATH_MAX - 1)
                    : -1;

    ret[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* Processes first: a cgroup can be removed when none is left in it. */
static void end_all_recorded(const char *scratch)
{
    static const char *const kinds[] = {RECORD_CHILD, RECORD_CGROUP};
    cleanup_free char *path = text_format("%s/" RECORDS, scratch);
    char text[PATH_MAX];

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        cleanup_dir DIR *dir = opendir(path);
        for (struct dirent *d; dir && (d = readdir(dir));)
            if (strncmp(d->d_name, kinds[i], strlen(kinds[i])) == 0 &&
                read_record(dirfd(dir), d->d_name, text))
                end_recorded(d->d_name, text);
    }
}

/* Whether the records are what this user's processes wrote: nobody else could have changed them. */
static bool can_trust_records(const char *scratch, struct error *e)
{
    cleanup_free char *records = text_format("%s/" RECORDS, scratch);

    return trust_directory(scratch, e) == 0 && (!file_exists(records) || trust_directory(records, e) == 0);
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
    if (file_remove_tree(path, e) == 0)
        return 0;
    if (geteuid() == 0 || errno == EXDEV) /* rm(1) would go on into what is mounted */
        return -1;
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
    struct error why = {0};
    cleanup_fd int fd = file_open(owner, O_RDWR | O_NOFOLLOW, &why);

    /* What is no file has no lock that anybody could hold. */
    if (fd < 0 ? errno != ENOENT && errno != EINVAL : owner_lives(fd))
        return; /* or nobody can tell, for want of file descriptors for example */
    if (!can_trust_records(scratch, &why)) {
        if (file_exists(scratch)) /* otherwise another process removed it meanwhile */
            log_warning("left-over directory is left alone: %s", why.text);
        return;
    }
    end_all_recorded(scratch);
    if (remove_scratch(scratch, &why) < 0)
        log_warning("left-over directory could not be removed: %s", why.text);
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

/* From then on by its own name: where symbolic links led to it may change. */
static int find_place(struct home *h, const char *path, struct error *e)
{
    if (file_make_directories(path, e) < 0)
        return -1;
    h->path = realpath(path, NULL);
    if (!h->path)
        return error_errno(e, "cannot look at %s", path);
    return trust_parents(h->path, e) < 0 ? -1 : trust_directory(h->path, e);
}

static int make_places(const struct home *h, struct error *e)
{
    for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
        cleanup_free char *directory = home_path(h, "%s", directories[i]);
        if (file_make_directories(directory, e) < 0 || trust_directory(directory, e) < 0)
            return -1;
    }
    return 0;
}

int home_open(struct home *h, const char *path, struct error *e)
{
    *h = (struct home){.owner_fd = -1, .record_fd = -1};
    int result = find_place(h, path, e) < 0 ? -1 : make_places(h, e);
    if (result == 0) {
        remove_orphans(h);
        result = make_scratch(h, e);
    }
    if (result == 0)
        return 0;
    error_wrap(e, "state directory %s cannot be used (set CAPSID_HOME to another)", path);
    home_close(h);
    return -1;
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
    cleanup_fd int fd = file_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, e);
    int64_t say_at = deadline_in_ms(LOCK_SAY_MS);
    int64_t retry_ms = 1;
    bool said = false;

    if (fd < 0)
        return -1;
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
        if (deadline_poll(NULL, 0, deadline_in_ms(retry_ms), cancel, e) < 0)
            return -1;
        retry_ms = retry_ms * 2 < LOCK_RETRY_MS ? retry_ms * 2 : LOCK_RETRY_MS;
    }
    return take_fd(&fd);
}
