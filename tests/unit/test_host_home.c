/* store/home and base/file: scratch directories, what dead processes leave, locks, remembered digests, sealed
 * memory; what others plant in them. */
#include "base/child.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "store/home.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[] = "/tmp/capsid-home-XXXXXX";
static struct error e;

static void setup(void)
{
    strcpy(root, "/tmp/capsid-home-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    e = (struct error){0};
}

static void teardown(void)
{
    file_remove_tree(root, &e);
}

static int count_entries(const struct home *h, const char *directory)
{
    char command[256], answer[16] = "";

    snprintf(command, sizeof(command), "ls -A %s/%s | wc -l", h->path, directory);
    FILE *f = popen(command, "re");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(answer, sizeof(answer), f));
    pclose(f);
    return atoi(answer);
}

START_TEST(scratch_is_removed_at_the_end)
{
    struct home h;

    ck_assert_int_eq(home_open(&h, root, &e), 0);
    char *copy = strdup(h.scratch);
    ck_assert(file_exists(copy));
    home_close(&h);
    ck_assert(!file_exists(copy));
    free(copy);
}
END_TEST

/* A process that is killed while it has a child and files: the next one ends the child and removes the files.
 */
START_TEST(what_a_killed_process_left_is_cleaned_up)
{
    int channel[2];
    struct child orphan;

    ck_assert_int_eq(pipe2(channel, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct home h;
        /* Started without a parent-death signal, as if the kernel had not delivered it. */
        pid_t sleeper = fork();
        if (sleeper == 0) {
            setsid();
            execlp("sleep", "sleep", "600", NULL);
            _exit(1);
        }
        while (getsid(sleeper) != sleeper) /* as of every child by the time that it is on record */
            usleep(1000);
        struct child c = {.pid = sleeper, .pidfd = -1, .start_time = child_start_time(sleeper)};
        if (home_open(&h, root, &e) < 0 || home_record_child(&h, &c, &e) < 0)
            _exit(1);
        char *junk = text_format("%s/half-written", h.scratch);
        if (file_make_directories(junk, &e) < 0 || write(channel[1], &c, sizeof(c)) != (ssize_t)sizeof(c))
            _exit(1);
        pause();
    }
    ck_assert_int_eq(read(channel[0], &orphan, sizeof(orphan)), (int)sizeof(orphan));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    ck_assert_int_eq((int)(child_start_time(orphan.pid) == orphan.start_time), 1);

    struct home h;
    ck_assert_int_eq(home_open(&h, root, &e), 0);
    ck_assert_int_eq(count_entries(&h, "run"), 1); /* our own */
    for (int i = 0; i < 200 && kill(orphan.pid, 0) == 0; i++) {
        char path[64], state[256] = "";
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)orphan.pid);
        FILE *f = fopen(path, "re");
        if (f && fgets(state, sizeof(state), f) && strstr(state, ") Z")) {
            fclose(f);
            break; /* dead; nobody here is its parent */
        }
        if (f)
            fclose(f);
        usleep(10000);
        ck_assert_int_lt(i, 199);
    }
    home_close(&h);
    close(channel[0]);
    close(channel[1]);
}
END_TEST

/* A child between fork and exec shares its parent's locks, and when the parent is killed, dies a moment after it. */
START_TEST(a_dying_child_does_not_keep_what_its_killed_parent_left)
{
    int channel[2];
    char ready;

    ck_assert_int_eq(pipe2(channel, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct home h;
        if (home_open(&h, root, &e) < 0)
            _exit(1);
        if (fork() == 0) {
            ssize_t n = write(channel[1], "r", 1);
            usleep(300000);
            _exit(n != 1);
        }
        pause();
    }
    ck_assert_int_eq(read(channel[0], &ready, 1), 1);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);

    struct home h;
    ck_assert_int_eq(home_open(&h, root, &e), 0);
    ck_assert_int_eq(count_entries(&h, "run"), 1); /* our own */
    home_close(&h);
    close(channel[0]);
    close(channel[1]);
}
END_TEST

/* While a process writes to it, sealing a memory file fails (EBUSY, fcntl(2)), as it does while the kernel is busy with
 * its pages. */
START_TEST(a_memory_file_that_is_busy_for_a_moment_is_sealed)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    ck_assert_int_eq(ftruncate(fd, 4096), 0);
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert(page != MAP_FAILED);
    pid_t pid = fork();
    if (pid == 0) {
        usleep(200000);
        _exit(0);
    }
    munmap(page, 4096);
    ck_assert_int_lt(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
    ck_assert_int_eq(file_seal(fd), 0);
    ck_assert_int_lt(write(fd, "x", 1), 0);
    ck_assert_int_lt(ftruncate(fd, 0), 0);
    waitpid(pid, NULL, 0);
    close(fd);
}
END_TEST

START_TEST(a_memory_file_that_stays_busy_is_not_sealed)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    ck_assert_int_eq(ftruncate(fd, 4096), 0);
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert(page != MAP_FAILED);
    ck_assert_int_lt(file_seal(fd), 0);
    ck_assert_int_eq(errno, EBUSY);
    munmap(page, 4096);
    close(fd);
}
END_TEST

/* What a process that starts many things one after another has on record is what there is. */
START_TEST(records_end_with_what_they_name)
{
    struct home h;

    ck_assert_int_eq(home_open(&h, root, &e), 0);
    cleanup_free char *records = text_format("%s/records", h.scratch + strlen(root) + 1);
    for (int i = 0; i < 300; i++) {
        struct child c = {.pid = getpid(), .pidfd = -1, .start_time = 1};
        uint64_t cgroup = 0;
        ck_assert_msg(home_record_child(&h, &c, &e) == 0, "%s", e.text);
        ck_assert_int_eq(home_record_child(&h, &c, &e), 0); /* once */
        ck_assert_msg(home_record_cgroup(&h, "/nowhere/at all", &cgroup, &e) == 0, "%s", e.text);
        if (i % 100 == 0)
            ck_assert_int_eq(count_entries(&h, records), 2);
        home_forget_child(&h, &c);
        home_forget_cgroup(&h, &cgroup);
        home_forget_child(&h, &c);
    }
    ck_assert_int_eq(count_entries(&h, records), 0);
    home_close(&h);
}
END_TEST

START_TEST(a_living_process_keeps_its_scratch)
{
    struct home first, second;

    ck_assert_int_eq(home_open(&first, root, &e), 0);
    ck_assert_int_eq(home_open(&second, root, &e), 0);
    ck_assert(file_exists(first.scratch));
    home_close(&second);
    ck_assert(file_exists(first.scratch));
    home_close(&first);
}
END_TEST

/* Many that start and end at once never take each other's directory for a left-over. */
START_TEST(many_starts_at_once_do_not_disturb_each_other)
{
    enum { PROCESSES = 8, ROUNDS = 60 };
    pid_t pids[PROCESSES];

    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        if (pids[i] != 0)
            continue;
        for (int round = 0; round < ROUNDS; round++) {
            struct home h;
            if (home_open(&h, root, &e) < 0 || !file_exists(h.scratch)) {
                fprintf(stderr, "%s\n", e.text);
                _exit(1);
            }
            home_close(&h);
        }
        _exit(0);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status = 0;
        waitpid(pids[i], &status, 0);
        ck_assert_int_eq(status, 0);
    }
}
END_TEST

START_TEST(a_lock_excludes_and_the_wait_has_an_end)
{
    struct home h;

    ck_assert_int_eq(home_open(&h, root, &e), 0);
    int fd = home_lock(&h, "x", "test", DEADLINE_NEVER, NULL, &e);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_lt(home_lock(&h, "x", "test", deadline_in_ms(50), NULL, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_TIMEOUT);
    int other = home_lock(&h, "y", "test", deadline_in_ms(50), NULL, &e);
    ck_assert_int_ge(other, 0);
    close(fd);
    close(other);
    fd = home_lock(&h, "x", "test", deadline_in_ms(50), NULL, &e);
    ck_assert_int_ge(fd, 0);
    close(fd);
    home_close(&h);
}
END_TEST

START_TEST(a_remembered_digest_notices_a_change)
{
    struct home h;
    char before[DIGEST_HEX_SIZE], again[DIGEST_HEX_SIZE], after[DIGEST_HEX_SIZE];
    struct timespec past[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

    ck_assert_int_eq(home_open(&h, root, &e), 0);
    char *path = home_path(&h, "file");
    ck_assert_int_eq(file_replace(path, h.scratch, "abc", 3, 0600, &e), 0);
    ck_assert_int_eq(home_digest(&h, path, before, &e), 0);
    ck_assert_str_eq(before, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sleep(2); /* so that the digest is remembered */
    ck_assert_int_eq(home_digest(&h, path, again, &e), 0);
    ck_assert_str_eq(before, again);
    ck_assert_int_eq(count_entries(&h, "cache"), 1);

    /* Same size, and the old modification time put back: the change time still tells. */
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert_int_eq(pwrite(fd, "X", 1, 1), 1);
    futimens(fd, past);
    close(fd);
    ck_assert_int_eq(home_digest(&h, path, after, &e), 0);
    ck_assert_str_ne(before, after);
    free(path);
    home_close(&h);
}
END_TEST

START_TEST(a_state_directory_that_cannot_be_used_is_named)
{
    struct home h;

    ck_assert_int_lt(home_open(&h, "/proc/nowhere", &e), 0);
    ck_assert_ptr_nonnull(strstr(e.text, "/proc/nowhere"));
    ck_assert_ptr_nonnull(strstr(e.text, "CAPSID_HOME"));
}
END_TEST

START_TEST(removing_a_tree_does_not_follow_links)
{
    char *outside = text_format("%s/outside", root), *tree = text_format("%s/tree", root);
    char *kept = text_format("%s/kept", outside), *link = text_format("%s/link", tree);

    ck_assert_int_eq(file_make_directories(kept, &e), 0);
    ck_assert_int_eq(file_make_directories(tree, &e), 0);
    ck_assert_int_eq(symlink(outside, link), 0);
    ck_assert_int_eq(file_remove_tree(tree, &e), 0);
    ck_assert(!file_exists(tree));
    ck_assert(file_exists(kept));
    free(outside);
    free(tree);
    free(kept);
    free(link);
}
END_TEST

/* ---- what others could change ------------------------------------------------------------------------ */

static void expect_refused(const char *path, const char *why)
{
    struct home h;

    e = (struct error){0};
    ck_assert_msg(home_open(&h, path, &e) < 0, "%s", path);
    ck_assert_msg(strstr(e.text, why), "%s", e.text);
}

START_TEST(a_state_directory_that_others_may_write_is_refused)
{
    static const char *const places[] = {"", "/run", "/cache", "/snapshots", "/images/names"};
    struct home h;

    ck_assert_int_eq(home_open(&h, root, &e), 0);
    home_close(&h);
    cleanup_free char *place = text_format("%s%s", root, places[_i]);
    ck_assert_int_eq(chmod(place, 0707), 0);
    expect_refused(root, "others may write into");
    cleanup_free char *remedy = text_format("run: chmod go-w %s", place);
    ck_assert_msg(strstr(e.text, remedy), "%s", e.text);
    ck_assert_int_eq(chmod(place, 0755), 0);
    ck_assert_int_eq(home_open(&h, root, &e), 0);
    home_close(&h);
}
END_TEST

START_TEST(a_state_directory_of_another_user_is_refused)
{
    if (geteuid() != 0)
        return; /* others cannot give theirs away */
    cleanup_free char *home = text_format("%s/home", root), *run = text_format("%s/run", home);
    struct home h;

    ck_assert_int_eq(home_open(&h, home, &e), 0);
    home_close(&h);
    ck_assert_int_eq(chown(run, 12345, 0), 0);
    expect_refused(home, "/run belongs to user 12345, and this is user 0; run capsid as its owner");
    ck_assert_int_eq(chown(run, 0, 0), 0);
    ck_assert_int_eq(chown(home, 12345, 0), 0);
    expect_refused(home, "belongs to user 12345");
    /* Who has what is above it can put another in its place. */
    ck_assert_int_eq(chown(home, 0, 0), 0);
    ck_assert_int_eq(chown(root, 12345, 0), 0);
    expect_refused(home, "belongs to user 12345, who may put another directory in its place");
    ck_assert_int_eq(chown(root, 0, 0), 0);
    ck_assert_int_eq(chmod(root, 0777), 0);
    expect_refused(home, "and put another directory in its place; run: chmod go-w");
    ck_assert_int_eq(chmod(root, 01777), 0); /* as /tmp */
    ck_assert_int_eq(home_open(&h, home, &e), 0);
    home_close(&h);
}
END_TEST

/* Through a link, it is the directory itself that counts. */
START_TEST(a_link_to_a_state_directory_is_followed_once)
{
    cleanup_free char *home = text_format("%s/home", root), *link = text_format("%s/link", root);
    struct home h;

    ck_assert_int_eq(mkdir(home, 0700), 0);
    ck_assert_int_eq(symlink("home", link), 0);
    ck_assert_int_eq(home_open(&h, link, &e), 0);
    ck_assert_str_eq(h.path, home);
    home_close(&h);
}
END_TEST

static pid_t start_sleeper(bool own_session)
{
    pid_t pid = fork();

    if (pid == 0) {
        if (own_session)
            setsid();
        execlp("sleep", "sleep", "600", NULL);
        _exit(1);
    }
    /* It has its session when it is the program. */
    for (int i = 0; i < 2000; i++) {
        cleanup_free char *path = text_format("/proc/%d/comm", (int)pid);
        cleanup_file FILE *f = fopen(path, "re");
        char name[32] = "";
        if (f && fgets(name, sizeof(name), f) && strcmp(name, "sleep\n") == 0)
            return pid;
        usleep(1000);
    }
    ck_abort_msg("it does not start");
    return -1;
}

/* Plants run/left with a record of the process, and opens the home; whether the process lives, which ends it. */
static bool survives(pid_t pid, mode_t mode, uid_t maker)
{
    cleanup_free char *records = text_format("%s/run/left/records", root);
    cleanup_free char *left = text_format("%s/run/left", root);
    cleanup_free char *record = text_format("%s/child-1", records);
    cleanup_free char *text = text_format("%d %llu", (int)pid, (unsigned long long)child_start_time(pid));
    struct home h;

    ck_assert_msg(file_make_directories(records, &e) == 0, "%s", e.text);
    ck_assert_int_eq(symlink(text, record), 0);
    ck_assert_int_eq(lchown(record, maker, (gid_t)-1), 0);
    ck_assert_int_eq(chmod(records, mode), 0);
    ck_assert_msg(home_open(&h, root, &e) == 0, "%s", e.text);
    home_close(&h);
    bool lives = waitpid(pid, NULL, WNOHANG) == 0;
    if (lives) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    file_remove_tree(left, &e);
    return lives;
}

START_TEST(planted_records_kill_nobody)
{
    struct home h;

    ck_assert_int_eq(home_open(&h, root, &e), 0);
    home_close(&h);
    ck_assert(survives(start_sleeper(false), 0700, geteuid())); /* none that child_spawn() started */
    ck_assert(survives(start_sleeper(true), 0707, geteuid()));  /* others may have written it */
    if (geteuid() == 0)
        ck_assert(survives(start_sleeper(true), 0700, 12345)); /* another has */
    ck_assert(!survives(start_sleeper(true), 0700, geteuid()));
}
END_TEST

/* What is no cgroup of a VM is not removed, nor written to. */
START_TEST(planted_cgroups_are_left_alone)
{
    cleanup_free char *records = text_format("%s/run/left/records", root);
    cleanup_free char *record = text_format("%s/cgroup-1", records);
    cleanup_free char *victim = text_format("%s/vm-1", root);
    struct home h;

    ck_assert_int_eq(home_open(&h, root, &e), 0);
    home_close(&h);
    ck_assert_int_eq(file_make_directories(records, &e), 0);
    ck_assert_int_eq(mkdir(victim, 0700), 0);
    ck_assert_int_eq(symlink(victim, record), 0);
    ck_assert_int_eq(home_open(&h, root, &e), 0);
    ck_assert(file_exists(victim));
    home_close(&h);
}
END_TEST

/* ---- what lies in the place of a file --------------------------------------------------------------- */

START_TEST(what_is_no_file_is_neither_waited_for_nor_opened)
{
    cleanup_free char *fifo = text_format("%s/fifo", root), *link = text_format("%s/link", root);
    cleanup_buffer struct buffer text = {0};

    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    ck_assert_int_eq(symlink("/proc/self/comm", link), 0);
    ck_assert_int_lt(file_read(fifo, 100, &text, &e), 0);
    ck_assert_msg(strstr(e.text, "/fifo is a FIFO, but must be a file"), "%s", e.text);
    ck_assert_int_lt(file_open(fifo, O_RDWR, &e), 0);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_lt(file_open(fifo, O_WRONLY | O_CREAT, &e), 0);
    ck_assert_int_lt(file_open(root, O_RDONLY, &e), 0);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_lt(file_open("/dev/null", O_RDONLY, &e), 0);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_lt(file_open(link, O_RDONLY | O_NOFOLLOW, &e), 0);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(file_read(link, 100, &text, &e), 0);
    cleanup_free char *missing = text_format("%s/missing", root);
    ck_assert_int_lt(file_open(missing, O_RDONLY, &e), 0);
    ck_assert_int_eq(errno, ENOENT);
}
END_TEST

START_TEST(a_fifo_in_place_of_a_state_file_holds_nobody_up)
{
    struct home h;
    char digest[DIGEST_HEX_SIZE];
    cleanup_buffer struct buffer text = {0};

    ck_assert_int_eq(home_open(&h, root, &e), 0);
    cleanup_free char *lock = home_path(&h, "locks/x"), *left = home_path(&h, "run/left");
    cleanup_free char *owner = text_format("%s/owner", left), *cache = home_path(&h, "cache/c");
    ck_assert_int_eq(mkfifo(lock, 0600), 0);
    ck_assert_int_eq(mkfifo(cache, 0600), 0);
    ck_assert_int_eq(mkdir(left, 0700), 0);
    ck_assert_int_eq(mkfifo(owner, 0600), 0);
    ck_assert_int_lt(home_lock(&h, "x", "test", deadline_in_ms(50), NULL, &e), 0);
    ck_assert_msg(strstr(e.text, "is a FIFO"), "%s", e.text);
    ck_assert_int_lt(home_digest(&h, cache, digest, &e), 0);
    ck_assert(!home_cache_read(&h, "c", 100, &text));
    ck_assert_ptr_null(text.data);
    home_cache_write(&h, "c", "text");
    ck_assert(home_cache_read(&h, "c", 100, &text));
    ck_assert_str_eq(text.data, "text");
    struct home next;
    ck_assert_int_eq(home_open(&next, root, &e), 0);
    ck_assert(!file_exists(left));
    home_close(&next);
    home_close(&h);
}
END_TEST

/* A cache that cannot be written is none, and no error: the disk is full (RLIMIT_FSIZE has the same end), or the directory
 * is another file. */
START_TEST(a_cache_that_cannot_be_written_is_no_error)
{
    struct home h;
    char digest[DIGEST_HEX_SIZE];
    struct rlimit none = {0}, before;
    cleanup_buffer struct buffer text = {0};

    ck_assert_int_eq(home_open(&h, root, &e), 0);
    cleanup_free char *path = home_path(&h, "file"), *cache = home_path(&h, "cache");
    ck_assert_int_eq(file_replace(path, h.scratch, "abc", 3, 0600, &e), 0);
    sleep(2); /* so that the digest would be remembered */
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    none.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
    int result = home_digest(&h, path, digest, &e);
    home_cache_write(&h, "c", "text");
    setrlimit(RLIMIT_FSIZE, &before);
    ck_assert_msg(result == 0, "%s", e.text);
    ck_assert_str_eq(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    ck_assert(!home_cache_read(&h, "c", 100, &text));
    ck_assert_int_eq(count_entries(&h, "cache"), 0);
    ck_assert_int_eq(count_entries(&h, h.scratch + strlen(root) + 1), 2); /* owner and records */
    ck_assert_int_eq(rmdir(cache), 0);
    ck_assert_int_eq(home_digest(&h, path, digest, &e), 0);
    home_close(&h);
}
END_TEST

/* ---- removing ---------------------------------------------------------------------------------------- */

START_TEST(removing_a_tree_does_not_cross_mounts)
{
    cleanup_free char *tree = text_format("%s/tree", root), *kept = text_format("%s/kept", root);
    cleanup_free char *inner = text_format("%s/tree/sub/inner", root), *file = text_format("%s/file", kept);
    cleanup_free char *deep = text_format("%s/tree/other/deep", root),
                      *other = text_format("%s/tree/other", root);

    if (geteuid() != 0)
        return; /* to mount */
    ck_assert_int_eq(file_make_directories(inner, &e), 0);
    ck_assert_int_eq(file_make_directories(deep, &e), 0);
    ck_assert_int_eq(file_make_directories(kept, &e), 0);
    ck_assert_int_eq(file_replace(file, root, "x", 1, 0600, &e), 0);
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    /* In it, of the same filesystem; the rest goes. */
    ck_assert_int_eq(mount(kept, inner, NULL, MS_BIND, NULL), 0);
    ck_assert_int_lt(file_remove_tree(tree, &e), 0);
    ck_assert_int_eq(errno, EXDEV);
    ck_assert_msg(strstr(e.text, "something is mounted there; unmount it first"), "%s", e.text);
    ck_assert(file_exists(file));
    ck_assert(!file_exists(other));
    ck_assert_int_eq(umount(inner), 0);
    ck_assert_int_eq(file_remove_tree(tree, &e), 0);
    /* On its top. */
    ck_assert_int_eq(mkdir(tree, 0700), 0);
    ck_assert_int_eq(mount(kept, tree, NULL, MS_BIND, NULL), 0);
    ck_assert_int_lt(file_remove_tree(tree, &e), 0);
    ck_assert(file_exists(file));
    ck_assert_int_eq(umount(tree), 0);
    ck_assert_int_eq(file_remove_tree(tree, &e), 0);
    /* On a file. */
    ck_assert_int_eq(file_make_directories(tree, &e), 0);
    cleanup_free char *target = text_format("%s/target", tree);
    ck_assert_int_eq(file_replace(target, root, "y", 1, 0600, &e), 0);
    ck_assert_int_eq(mount(file, target, NULL, MS_BIND, NULL), 0);
    ck_assert_int_lt(file_remove_tree(tree, &e), 0);
    ck_assert_int_eq(errno, EXDEV);
    ck_assert(file_exists(file));
    ck_assert_int_eq(umount(target), 0);
    cleanup_free char *slashes = text_format("%s//", tree);
    ck_assert_int_eq(file_remove_tree(slashes, &e), 0);
    ck_assert_int_eq(file_remove_tree(slashes, &e), 0);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("host_home");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, scratch_is_removed_at_the_end);
    unit_add(&u, what_a_killed_process_left_is_cleaned_up);
    unit_add(&u, a_dying_child_does_not_keep_what_its_killed_parent_left);
    unit_add(&u, a_memory_file_that_is_busy_for_a_moment_is_sealed);
    unit_add(&u, a_memory_file_that_stays_busy_is_not_sealed);
    unit_add(&u, records_end_with_what_they_name);
    unit_add(&u, a_living_process_keeps_its_scratch);
    unit_add(&u, many_starts_at_once_do_not_disturb_each_other);
    unit_add(&u, a_lock_excludes_and_the_wait_has_an_end);
    unit_add(&u, a_remembered_digest_notices_a_change);
    unit_add(&u, a_state_directory_that_cannot_be_used_is_named);
    unit_add_loop(&u, a_state_directory_that_others_may_write_is_refused, 5);
    unit_add(&u, a_state_directory_of_another_user_is_refused);
    unit_add(&u, a_link_to_a_state_directory_is_followed_once);
    unit_add(&u, planted_records_kill_nobody);
    unit_add(&u, planted_cgroups_are_left_alone);
    unit_add(&u, what_is_no_file_is_neither_waited_for_nor_opened);
    unit_add(&u, a_fifo_in_place_of_a_state_file_holds_nobody_up);
    unit_add(&u, a_cache_that_cannot_be_written_is_no_error);
    unit_add(&u, removing_a_tree_does_not_follow_links);
    unit_add(&u, removing_a_tree_does_not_cross_mounts);
    return unit_end(&u);
}
