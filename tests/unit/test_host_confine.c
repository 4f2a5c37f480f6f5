/* confine/: what is found out on a busy host, and what becomes of cgroups that go wrong. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "confine/cgroup.h"
#include "confine/confine.h"
#include "confine/filter.h"

#include "unit.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ONE_ID 987000 /* no other VM's */

static char root[64];
static struct home h;
static struct error e;
static char ids[32] = "987000-987000";

static void setup(void)
{
    e = (struct error){0};
    strcpy(root, "/tmp/capsid-confine-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    ck_assert_msg(home_open(&h, root, &e) == 0, "%s", e.text);
}

static void teardown(void)
{
    home_close(&h);
    file_remove_tree(root, &e);
}

/* The names of what is missing, "" for nothing, or NULL: that could not be found out. */
static char *missing(void)
{
    const struct config config = {.confine = CONFINE_AUTO, .vm_uids = ids};
    struct confinement c;

    e = (struct error){0};
    if (confine_decide(&c, &config, &h, &e) < 0)
        return NULL;
    char *names = confine_missing(&c);
    confine_done(&c);
    return names ? names : text_copy("");
}

START_TEST(a_want_of_files_is_an_error_and_no_missing_part)
{
    struct rlimit before, few;
    int taken[64], count = 0;
    char *usual = missing();

    ck_assert_msg(usual != NULL, "%s", e.text);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 48;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    while (count < 64 && (taken[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        count++;
    for (int room = 0; room < 6; room++) {
        char *now = missing();
        if (now)
            ck_assert_str_eq(now, usual);
        else
            ck_assert_msg(strstr(e.text, "cannot find out how the VMM can be confined"), "%s", e.text);
        ck_assert_msg(room > 0 || !now, "nothing was tried without a file descriptor");
        free(now);
        ck_assert_int_gt(count, 0);
        close(taken[--count]);
    }
    while (count > 0)
        close(taken[--count]);
    setrlimit(RLIMIT_NOFILE, &before);
    free(usual);
}
END_TEST

START_TEST(ids_that_are_all_in_use_are_no_missing_part)
{
    const struct confinement range = {.first_id = ONE_ID, .last_id = ONE_ID};
    uint32_t id;

    if (geteuid() != 0)
        return;
    char *usual = missing();
    ck_assert_msg(usual != NULL, "%s", e.text);
    int held = confine_take_id(&range, &id, &e);
    ck_assert_msg(held >= 0, "%s", e.text);
    char *now = missing();
    close(held);
    ck_assert_msg(now != NULL, "%s", e.text);
    ck_assert_str_eq(now, usual);
    free(now);
    free(usual);
}
END_TEST

/* A file of the system with these lines instead, in a mount namespace of the test's own. */
static void replace_file(const char *path, const char *text)
{
    static bool apart;
    cleanup_free char *copy = text_format("%s/replaced-%zu", root, strlen(text));

    if (!apart) {
        ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
        ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
        apart = true;
    }
    int there = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (there >= 0)
        close(there);
    ck_assert_msg(file_replace(copy, root, text, strlen(text), 0644, &e) == 0, "%s", e.text);
    ck_assert_int_eq(mount(copy, path, NULL, MS_BIND, NULL), 0);
}

START_TEST(ids_that_somebody_has_are_not_used)
{
    const struct config config = {.confine = CONFINE_OFF, .vm_uids = ids};
    struct confinement c;
    uint32_t id;

    if (geteuid() != 0)
        return;
    strcpy(ids, "987000-987004");
    replace_file("/etc/subuid", "alice:986990:11\nwrong\nbob:987002:1\n");
    replace_file("/etc/subgid", "alice:987003:1\ncapsid:987001:3\n"); /* for VMs, as capsid setup made it */
    replace_file("/etc/passwd", "root:x:0:0::/:/bin/sh\nlate:x:987003:987003::/:/bin/sh\n");
    ck_assert_msg(confine_decide(&c, &config, &h, &e) == 0, "%s", e.text);
    ck_assert_uint_eq(confine_free_ids(&c), 2);
    ck_assert_str_eq(c.holder, "late in /etc/passwd");
    int first = confine_take_id(&c, &id, &e);
    ck_assert_int_ge(first, 0);
    ck_assert_msg(id == 987001 || id == 987004, "%u", id);
    uint32_t other = id;
    int second = confine_take_id(&c, &id, &e);
    ck_assert_int_ge(second, 0);
    ck_assert_uint_eq(id, 987001 + 987004 - other);
    ck_assert_int_lt(confine_take_id(&c, &id, &e), 0);
    close(first);
    close(second);
    confine_done(&c);
}
END_TEST

START_TEST(a_range_that_others_have_is_refused)
{
    const struct config config = {.confine = CONFINE_OFF, .vm_uids = ids};
    struct confinement c;

    if (geteuid() != 0)
        return;
    strcpy(ids, "987000-987004");
    replace_file("/etc/subgid", "bob:987000:3\nalice:987002:65536\n");
    ck_assert_int_lt(confine_decide(&c, &config, &h, &e), 0);
    ck_assert_str_eq(e.text,
                     "all ids of vm_uids, 987000-987004, belong to others (bob in /etc/subgid); set it to "
                     "ids that nobody has");
}
END_TEST

/* access(2) for the host's code: while the flag is set another process removes each directory, as far as the kernel lets
 * it, just before it is looked at. */
static bool others_remove;

int access(const char *path, int mode)
{
    if (others_remove)
        rmdir(path);
    return faccessat(AT_FDCWD, path, mode, 0);
}

/* A new cgroup over the top of all, in a mount namespace, for other VMs of this machine hold the common directory. */
START_TEST(who_removes_the_common_directory_does_no_harm)
{
    struct confinement usual = {.home = &h}, c = {.home = &h};

    if (geteuid() != 0)
        return; /* others have no common directory */
    ck_assert_int_eq(cgroup_probe(&usual), 0);
    if (!usual.have[CONFINE_CGROUP] || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return free(usual.cgroups);
    *strrchr(usual.cgroups, '/') = '\0';
    char *top = text_format("%s/capsid-test-%d", usual.cgroups, (int)getpid());
    ck_assert_int_eq(mkdir(top, 0700), 0);
    ck_assert_int_eq(mount(top, usual.cgroups, NULL, MS_BIND, NULL), 0);
    others_remove = true;
    int result = cgroup_probe(&c);
    others_remove = false;
    ck_assert_int_eq(umount2(usual.cgroups, MNT_DETACH), 0);
    ck_assert_msg(rmdir(top) == 0, "%s is left", top);
    ck_assert_int_eq(result, 0);
    ck_assert(c.have[CONFINE_CGROUP]);
    free(c.cgroups);
    free(usual.cgroups);
    free(top);
}
END_TEST

static int count_in(const char *directory, const char *prefix)
{
    DIR *d = opendir(directory);
    int count = 0;

    ck_assert_ptr_nonnull(d);
    for (struct dirent *entry; (entry = readdir(d));)
        count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    closedir(d);
    return count;
}

static int records(void)
{
    char *directory = text_format("%s/records", h.scratch);
    int count = count_in(directory, "cgroup-");

    free(directory);
    return count;
}

/* A plain directory stands for the one of cgroups: it has no controllers to pass on. */
START_TEST(a_cgroup_that_cannot_be_completed_is_removed)
{
    const char *const argv[] = {"true", NULL};
    const struct child_spec spec = {.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
    const struct confine_need need = {.shape.memory_mib = 16, .shape.vcpus = 1};
    struct confinement c = {.home = &h, .have = {[CONFINE_CGROUP] = true, [CONFINE_MEMORY] = true}};
    struct confined held;
    struct child child = CHILD_NONE;
    char text[32] = "";

    c.cgroups = text_format("%s/vms", root);
    char *above = text_format("%s/cgroup.subtree_control", root);
    int fd = open(above, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_lt(confine_spawn(&child, &held, &c, &need, &spec, &e), 0);
    ck_assert_msg(strstr(e.text, "cannot use the controller memory"), "%s", e.text);
    ck_assert_int_eq(count_in(c.cgroups, "vm-"), 1);
    ck_assert_int_eq(records(), 1);
    confine_release(&held);
    ck_assert_msg(!file_exists(c.cgroups), "%s is left", c.cgroups);
    ck_assert_int_eq(records(), 0);
    /* Root asked the directory above, too: the one below may have been made anew. */
    ck_assert_int_ge(read(fd, text, sizeof(text) - 1), 0);
    ck_assert_str_eq(text, geteuid() == 0 ? "+memory" : "");
    close(fd);
    free(above);
    free(c.cgroups);
}
END_TEST

START_TEST(a_cgroup_that_stays_stays_recorded)
{
    struct confined held = CONFINED_NONE;
    char *inside = text_format("%s/vm/inside", root);

    held.home = &h;
    held.cgroup = text_format("%s/vm", root);
    ck_assert_int_eq(mkdir(held.cgroup, 0700), 0);
    ck_assert_int_eq(mkdir(inside, 0700), 0);
    ck_assert_msg(home_record_cgroup(&h, held.cgroup, &held.cgroup_record, &e) == 0, "%s", e.text);
    confine_release(&held);
    ck_assert_int_eq(records(), 1);
    free(inside);
}
END_TEST

/* ---- system calls -------------------------------------------------------------------------------- */

/* id(1) asks for its user (geteuid(2)), which no VMM does. */
static void expect_violation(const char *what, int open_files)
{
    int files[500];
    const struct config config = {.confine = CONFINE_AUTO, .vm_uids = ids};
    const char *const argv[] = {"/usr/bin/id", NULL};
    const struct child_spec spec = {.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
    const struct confine_need need = {.vmm = argv[0], .shape.memory_mib = 16, .shape.vcpus = 1};
    char violation[CONFINE_VIOLATION_MAX];
    struct error lost = {.kind = ERROR_VM_LOST}, other = {.kind = ERROR_TIMEOUT};
    struct confined held;
    struct child child = CHILD_NONE;
    struct confinement c;

    ck_assert_msg(confine_decide(&c, &config, &h, &e) == 0, "%s", e.text);
    for (int i = 0; i < open_files; i++)
        ck_assert_int_ge(files[i] = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0), 0);
    ck_assert_msg(confine_spawn(&child, &held, &c, &need, &spec, &e) == 0, "%s", e.text);
    ck_assert_int_eq(deadline_wait_fd(child.pidfd, POLLIN, deadline_in_ms(30000), NULL, &e), 1);
    confine_violation(&held, &child, violation);
    ck_assert_str_eq(violation, what);
    confine_explain(&held, &child, &other);
    ck_assert_str_eq(other.text, "");
    confine_explain(&held, &child, &lost);
    ck_assert_msg(strstr(lost.text, what), "%s", lost.text);
    child_kill(&child);
    confine_release(&held);
    confine_done(&c);
    for (int i = 0; i < open_files; i++)
        close(files[i]);
}

START_TEST(a_call_that_is_not_listed_ends_the_vmm_and_is_named)
{
    expect_violation("system call 107 (geteuid)", 0);
}
END_TEST

/* A server with hundreds of connections has more files than a VMM may open. */
START_TEST(who_has_many_files_open_confines_all_the_same)
{
    expect_violation("system call 107 (geteuid)", 500);
}
END_TEST

/* Only one filter of a process may have a listener; a container may have had it (seccomp(2), EBUSY). */
START_TEST(below_another_listener_it_is_ended_without_a_name)
{
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct sock_fprog program = {.len = 1, .filter = &allow};

    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    int listener =
        (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    ck_assert_int_ge(listener, 0);
    char *now = missing();
    ck_assert_msg(now != NULL, "%s", e.text);
    ck_assert_msg(strstr(now, "violations by name") != NULL, "%s", now);
    ck_assert_msg(strstr(now, "listed system calls") == NULL, "%s", now);
    free(now);
    expect_violation("a system call", 0);
    close(listener);
}
END_TEST

START_TEST(calls_have_names)
{
    static const struct {
        int number;
        const char *name;
    } known[] = {{0, "read"},
                 {SYS_memfd_create, "memfd_create"},
                 {334, "rseq"},
                 {SYS_pidfd_send_signal, "pidfd_send_signal"},
                 {SYS_clone3, "clone3"},
                 {SYS_close_range, "close_range"},
                 {SYS_landlock_create_ruleset, "landlock_create_ruleset"},
                 {SYS_memfd_secret, "memfd_secret"},
                 {SYS_futex_waitv, "futex_waitv"},
                 {462, "mseal"},
                 {335, ""},
                 {423, ""},
                 {-1, ""},
                 {600, ""}};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        char name[40] = "";
        ck_assert_uint_eq(filter_call_name(known[i].number, name, sizeof(name)), strlen(known[i].name));
        ck_assert_str_eq(name, known[i].name);
    }
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("confine");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, a_want_of_files_is_an_error_and_no_missing_part);
    unit_add(&u, ids_that_somebody_has_are_not_used);
    unit_add(&u, a_range_that_others_have_is_refused);
    unit_add(&u, ids_that_are_all_in_use_are_no_missing_part);
    unit_add(&u, who_removes_the_common_directory_does_no_harm);
    unit_add(&u, a_cgroup_that_cannot_be_completed_is_removed);
    unit_add(&u, a_cgroup_that_stays_stays_recorded);
    unit_add(&u, a_call_that_is_not_listed_ends_the_vmm_and_is_named);
    unit_add(&u, who_has_many_files_open_confines_all_the_same);
    unit_add(&u, below_another_listener_it_is_ended_without_a_name);
    unit_add(&u, calls_have_names);
    return unit_end(&u);
}
