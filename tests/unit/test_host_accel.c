/* vmm/: what is remembered of KVM, and the process that tries it. A double stands for the guest that is timed. */
#include "base/file.h"
#include "vmm/accel.h"
#include "vmm/kvm_probe.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENOUGH_MS 10000

/* What the double does, and what it saw; it runs in a process of its own. */
struct double_kvm {
    int error; /* fails with it */
    bool hangs;
    int64_t ns, user_ns; /* of the two modes; user_ns 0: that one fails */
    int calls;
    int open_files;
    pid_t pid; /* once it hangs */
};

static volatile struct double_kvm *probe;

int kvm_probe_run(enum kvm_probe_mode mode, int64_t *ret_ns, const char **ret_step)
{
    if (mode == KVM_PROBE_USER) {
        *ret_ns = probe->user_ns;
        return probe->user_ns ? 0 : -1;
    }
    probe->calls++;
    probe->open_files = unit_open_files();
    *ret_step = "KVM_CREATE_VM";
    if (probe->hangs) {
        probe->pid = getpid();
        for (;;)
            pause();
    }
    *ret_ns = probe->ns;
    errno = probe->error;
    return probe->error ? -1 : 0;
}

static char root[64];
static struct home h;
static struct error e;

static void setup(void)
{
    e = (struct error){0};
    probe = mmap(NULL, sizeof(*probe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne((void *)probe, MAP_FAILED);
    probe->ns = 1000;
    strcpy(root, "/tmp/capsid-accel-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    ck_assert_msg(home_open(&h, root, &e) == 0, "%s", e.text);
}

static void teardown(void)
{
    home_close(&h);
    file_remove_tree(root, &e);
    munmap((void *)probe, sizeof(*probe));
}

static struct accel_verdict decide(void)
{
    struct accel_verdict v = {0};

    ck_assert_msg(accel_decide(&v, &h, ACCEL_AUTO, &e) == 0, "%s", e.text);
    return v;
}

START_TEST(how_the_machine_is_is_remembered)
{
    static const int codes[] = {ENOENT, EACCES, ENODEV, ENXIO};

    probe->error = codes[_i];
    ck_assert_int_eq(decide().accel, ACCEL_TCG);
    ck_assert_int_eq(decide().accel, ACCEL_TCG);
    ck_assert_int_eq(probe->calls, 1);
}
END_TEST

START_TEST(how_busy_it_was_is_not)
{
    static const int codes[] = {EMFILE, ENFILE, EAGAIN, ENOMEM, EINTR, EBUSY, EPROTO, ETIMEDOUT};

    probe->error = codes[_i];
    ck_assert_int_eq(decide().accel, ACCEL_TCG);
    probe->error = 0;
    struct accel_verdict v = decide();
    ck_assert_int_eq(v.accel, ACCEL_KVM);
    ck_assert(v.open);
}
END_TEST

/* Slow kernel code: what is said of it depends on user code, and not on how busy the machine is. */
START_TEST(how_much_is_emulated_is_told)
{
    static const struct {
        int64_t ns, user_ns;
        const char *reason;
    } kinds[] = {{600000000, 300000, "is paravirtual: "},
                 {100000000, 300000, "is paravirtual: "},
                 {600000000, 30000000, "is paravirtual: "},
                 {100000000, 99000000, "/dev/kvm emulates guest instructions"},
                 {100000000, 0, "/dev/kvm emulates guest instructions"}};

    probe->ns = kinds[_i].ns;
    probe->user_ns = kinds[_i].user_ns;
    struct accel_verdict v = decide();
    ck_assert_int_eq(v.accel, ACCEL_TCG);
    ck_assert_msg(strstr(v.reason, kinds[_i].reason), "%s", v.reason);
    ck_assert_str_eq(decide().reason, v.reason);
    ck_assert_int_eq(probe->calls, 3); /* it had to be slow each time, and was remembered */
}
END_TEST

START_TEST(a_hang_is_not)
{
    probe->hangs = true;
    ck_assert_int_eq(decide().accel, ACCEL_TCG);
    ck_assert_int_eq(probe->calls, 1);
    probe->hangs = false;
    ck_assert_int_eq(decide().accel, ACCEL_KVM);
}
END_TEST

START_TEST(a_want_of_files_is_not)
{
    struct rlimit before, few;
    int taken[64], count = 0;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 48;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    while (count < 64 && (taken[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        count++;
    ck_assert_int_gt(count, 0);
    close(taken[--count]); /* enough for the cache, too few for a pipe */
    ck_assert_int_eq(decide().accel, ACCEL_TCG);
    ck_assert_int_eq(probe->calls, 0);
    while (count > 0)
        close(taken[--count]);
    setrlimit(RLIMIT_NOFILE, &before);
    ck_assert_int_eq(decide().accel, ACCEL_KVM);
}
END_TEST

START_TEST(a_guest_that_was_ready_with_kvm_counts_for_more_than_one_without)
{
    struct accel_verdict first = decide(), second = first;

    ck_assert(first.open);
    accel_confirm(&first, &h);
    second.accel = ACCEL_TCG;
    accel_confirm(&second, &h);
    ck_assert(!second.open);
    struct accel_verdict v = decide();
    ck_assert_int_eq(v.accel, ACCEL_KVM);
    ck_assert(!v.open);
    ck_assert_int_eq(probe->calls, 1);
}
END_TEST

START_TEST(a_guest_that_was_ready_without_kvm_counts_for_more_than_the_probe)
{
    struct accel_verdict v = decide();

    v.accel = ACCEL_TCG;
    accel_confirm(&v, &h);
    ck_assert_int_eq(decide().accel, ACCEL_TCG);
}
END_TEST

START_TEST(the_probe_holds_nothing_of_this_process)
{
    probe->open_files = -1;
    decide();
    ck_assert_int_eq(probe->open_files,
                     2 + 2); /* its pipe and the directory that counts them; "." and ".." */
}
END_TEST

START_TEST(the_probe_ends_with_this_process)
{
    int64_t deadline = deadline_in_ms(ENOUGH_MS);
    pid_t gone = 0;

    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    probe->hangs = true;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct accel_verdict v;
        accel_decide(&v, &h, ACCEL_AUTO, &e);
        _exit(0);
    }
    while (!probe->pid && !deadline_passed(deadline))
        usleep(1000);
    ck_assert_int_gt(probe->pid, 0);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    deadline = deadline_in_ms(1000);
    while ((gone = waitpid(probe->pid, NULL, WNOHANG)) == 0 && !deadline_passed(deadline))
        usleep(1000);
    if (gone == 0)
        kill(probe->pid, SIGKILL);
    ck_assert_int_eq(gone, probe->pid);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("accel");

    unit_fixture(&u, setup, teardown);
    unit_add_loop(&u, how_the_machine_is_is_remembered, 4);
    unit_add_loop(&u, how_busy_it_was_is_not, 8);
    unit_add_loop(&u, how_much_is_emulated_is_told, 5);
    unit_add(&u, a_hang_is_not);
    unit_add(&u, a_want_of_files_is_not);
    unit_add(&u, a_guest_that_was_ready_with_kvm_counts_for_more_than_one_without);
    unit_add(&u, a_guest_that_was_ready_without_kvm_counts_for_more_than_the_probe);
    unit_add(&u, the_probe_holds_nothing_of_this_process);
    unit_add(&u, the_probe_ends_with_this_process);
    return unit_end(&u);
}
