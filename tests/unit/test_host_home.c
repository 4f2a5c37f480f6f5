/* store/home and base/file: scratch directories, what dead processes leave, locks, remembered digests, sealed memory. */
#include "base/child.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "store/home.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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
    unit_add(&u, removing_a_tree_does_not_follow_links);
    return unit_end(&u);
}
