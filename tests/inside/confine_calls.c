/*
 * confine_calls: what the system call filters let through, and how much memory a confined VMM can take. Run on this machine by
 * tests/vm/test_confine_calls.sh; links the host's own code.
 *
 *   confine_calls calls     tries every number as each kind of VMM, one process for each, and prints a line for each call
 *                           that was made: its name, and the kinds
 *   confine_calls memory    takes all the memory it can in each way that there is, and prints what it held
 *   confine_calls as-vmm ...   what these run as the VMM
 */
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "confine/confine.h"
#include "confine/filter.h"

#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kvm.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NUMBERS 600 /* some hundred more than any kernel has */
#define PATIENCE_MS 120000
#define STATUS_CALLED 40 /* of a process whose call came back */
#define STATUS_REFUSED 41
#define THREAD (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)
#define NOTHING                                                                                              \
    (CLONE_PIDFD | CLONE_PARENT_SETTID) /* together an error of clone(2), so that there is no thread */
#define X32 0x40000000

/* ---- calls ---------------------------------------------------------------------------------------- */

/* Calls whose arguments count, beside each number with zeros. */
static const struct {
    const char *name;
    long number;
    long arguments[6];
} cases[] = {
    {"ppoll", SYS_ppoll, {0, 0, -1}}, /* with zeros it waits */
    {"a thread", SYS_clone, {THREAD | NOTHING}},
    {"a process", SYS_clone, {SIGCHLD | NOTHING}},
    {"a process that shares memory", SYS_clone, {CLONE_VM | CLONE_VFORK | SIGCHLD | NOTHING}},
    {"a thread in a new user namespace", SYS_clone, {THREAD | CLONE_NEWUSER | NOTHING}},
    {"mmap of code from a file", SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, -1}},
    {"mmap of code from nowhere",
     SYS_mmap,
     {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1}},
    {"mmap of writable code", SYS_mmap, {0, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE, -1}},
    {"mprotect to code", SYS_mprotect, {0, 0, PROT_READ | PROT_EXEC}},
    {"ioctl TIOCSTI", SYS_ioctl, {0, TIOCSTI}},
    {"ioctl TCGETS", SYS_ioctl, {0, TCGETS}},
    {"ioctl TCSETS", SYS_ioctl, {0, TCSETS}},
    {"ioctl TIOCGWINSZ", SYS_ioctl, {0, TIOCGWINSZ}},
    {"ioctl FIONBIO", SYS_ioctl, {-1, FIONBIO}},
    {"ioctl KVM_RUN", SYS_ioctl, {-1, KVM_RUN}},
    {"ioctl KVM_CREATE_VM", SYS_ioctl, {-1, KVM_CREATE_VM}},
    {"fcntl F_SETFL", SYS_fcntl, {-1, F_SETFL}},
    {"fcntl F_SETOWN", SYS_fcntl, {-1, F_SETOWN}},
    {"fcntl F_SETPIPE_SZ", SYS_fcntl, {-1, F_SETPIPE_SZ}},
    {"fcntl F_ADD_SEALS", SYS_fcntl, {-1, F_ADD_SEALS}},
    {"memfd_create to be sealed", SYS_memfd_create, {-1, MFD_CLOEXEC | MFD_ALLOW_SEALING}},
    {"fcntl F_OFD_SETLK", SYS_fcntl, {-1, F_OFD_SETLK}},
    {"prctl PR_SET_NAME", SYS_prctl, {PR_SET_NAME, -1}},
    {"prctl PR_SET_PDEATHSIG", SYS_prctl, {PR_SET_PDEATHSIG, 0}},
    {"prctl PR_SET_DUMPABLE", SYS_prctl, {PR_SET_DUMPABLE, 1}},
    {"prctl PR_SET_PTRACER", SYS_prctl, {PR_SET_PTRACER, -1}},
    {"prctl PR_SET_MM", SYS_prctl, {PR_SET_MM, 0}},
    {"prctl PR_SET_NO_NEW_PRIVS", SYS_prctl, {PR_SET_NO_NEW_PRIVS, 1}},
    {"prctl PR_SET_SPECULATION_CTRL", SYS_prctl, {PR_SET_SPECULATION_CTRL, -1}},
    {"prctl PR_SET_SECCOMP", SYS_prctl, {PR_SET_SECCOMP, 0}},
    {"prlimit64 of another", SYS_prlimit64, {2}},
    {"arch_prctl ARCH_SET_FS", SYS_arch_prctl, {ARCH_SET_FS, -1}},
    {"arch_prctl ARCH_GET_XCOMP_SUPP", SYS_arch_prctl, {ARCH_GET_XCOMP_SUPP, -1}},
    {"arch_prctl ARCH_REQ_XCOMP_PERM", SYS_arch_prctl, {ARCH_REQ_XCOMP_PERM, -1}},
    {"arch_prctl ARCH_SET_CPUID", SYS_arch_prctl, {ARCH_SET_CPUID, -1}},
    {"socket AF_UNIX", SYS_socket, {AF_UNIX, -1}},
    {"socket AF_INET", SYS_socket, {AF_INET, SOCK_STREAM}},
    {"socket AF_VSOCK", SYS_socket, {AF_VSOCK, SOCK_STREAM}},
    {"setsockopt SO_SNDBUF", SYS_setsockopt, {-1, SOL_SOCKET, SO_SNDBUF}},
    {"setsockopt SO_ZEROCOPY", SYS_setsockopt, {-1, SOL_SOCKET, SO_ZEROCOPY}},
    {"unshare CLONE_NEWNS", SYS_unshare, {CLONE_NEWNS}},
    {"unshare CLONE_NEWUSER", SYS_unshare, {CLONE_NEWUSER}},
    {"x32 getpid", X32 + SYS_getpid, {0}},
    {"x32 read", X32 + SYS_read, {-1}},
    {"x32 execve", X32 + 520, {0}},
};

#define CASES (sizeof(cases) / sizeof(cases[0]))
#define COMPATIBLE (NUMBERS + CASES) /* getpid(2) by the entry for 32-bit programs */
#define TRIALS (COMPATIBLE + 1)

static long call_32bit(void)
{
    long result;

    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory");
    return result;
}

/* As the VMM: one call, and how it came back. */
static int call(size_t trial)
{
    static const long none[6];
    const long *a = trial < NUMBERS || trial == COMPATIBLE ? none : cases[trial - NUMBERS].arguments;
    long number = trial < NUMBERS ? (long)trial : trial == COMPATIBLE ? 0 : cases[trial - NUMBERS].number;
    long result = trial == COMPATIBLE ? call_32bit() : syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);

    return result == -1 && errno == ENOSYS ? STATUS_REFUSED : STATUS_CALLED;
}

static void trial_name(size_t trial, char *ret, size_t size)
{
    if (trial == COMPATIBLE)
        snprintf(ret, size, "32-bit getpid");
    else if (trial >= NUMBERS)
        snprintf(ret, size, "%s", cases[trial - NUMBERS].name);
    else if (filter_call_name((int)trial, ret, size) == 0)
        snprintf(ret, size, "%zu", trial);
}

/* ---- memory --------------------------------------------------------------------------------------- */

#define MEMORY_MIB 16
#define BLOCK ((size_t)8 << 20)

static size_t *held; /* in a file that the parent reads when this process has ended */

static void hold(size_t size)
{
    *held += size;
}

static void take_pages(int flags, int fd)
{
    for (;;) {
        char *p = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, flags, fd, 0);
        if (p == MAP_FAILED)
            return;
        for (size_t at = 0; at < BLOCK; at += 4096)
            p[at] = 1;
        hold(BLOCK);
    }
}

static void take_anonymous(void)
{
    take_pages(MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static void take_shared(void)
{
    take_pages(MAP_SHARED | MAP_ANONYMOUS, -1);
}

static void take_file(int fd)
{
    static char block[1 << 20];

    while (fd >= 0 && write(fd, block, sizeof(block)) > 0)
        hold(sizeof(block));
}

static void take_memfd(void)
{
    take_file((int)syscall(SYS_memfd_create, "x", 0));
}

static void take_secret(void)
{
    int fd = (int)syscall(SYS_memfd_secret, 0);

    if (fd >= 0 && ftruncate(fd, (off_t)BLOCK) == 0)
        take_pages(MAP_SHARED, fd);
}

static void take_segments(void)
{
    for (;;) {
        long id = syscall(SYS_shmget, IPC_PRIVATE, BLOCK, IPC_CREAT | 0600);
        if (id < 0)
            return;
        hold(BLOCK);
    }
}

static void take_places(void)
{
    static const char *const places[] = {"/x", "/dev/x", "/dev/shm/x", "/tmp/x", "/run/x"};

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        take_file(open(places[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    take_file(open("/", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
}

/* Each process may have as much as the first. */
static void take_processes(void)
{
    while (fork() == 0)
        hold(BLOCK);
}

static void take_pipes(void)
{
    int ends[2];

    while (pipe(ends) == 0) {
        fcntl(ends[1], F_SETFL, O_NONBLOCK);
        take_file(ends[1]);
    }
}

static void take_sockets(void)
{
    int ends[2];

    while (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0)
        take_file(ends[0]);
}

static void take_messages(void)
{
    for (;;) {
        long id = syscall(SYS_msgget, IPC_PRIVATE, IPC_CREAT | 0600);
        if (id < 0)
            return;
        hold(16384);
    }
}

static void take_contexts(void)
{
    unsigned long context = 0;

    while (syscall(SYS_io_setup, 1024, &context) == 0) {
        hold(64 << 10);
        context = 0;
    }
}

static void take_rings(void)
{
    char parameters[120] = {0};

    while (syscall(SYS_io_uring_setup, 4096, parameters) >= 0)
        hold(512 << 10);
}

static void take_huge_pages(void)
{
    take_pages(MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);
}

static const struct {
    const char *name;
    void (*take)(void);
} ways[] = {
    {"pages", take_anonymous},
    {"shared pages", take_shared},
    {"huge pages", take_huge_pages},
    {"memory files", take_memfd},
    {"secret memory", take_secret},
    {"System V segments", take_segments},
    {"System V messages", take_messages},
    {"files in the cage", take_places},
    {"processes", take_processes},
    {"pipes", take_pipes},
    {"sockets", take_sockets},
    {"input and output contexts", take_contexts},
    {"rings", take_rings},
};

#define WAYS (sizeof(ways) / sizeof(ways[0]))

/* As the VMM. */
static int take(size_t way)
{
    held = mmap(NULL, sizeof(*held), PROT_READ | PROT_WRITE, MAP_SHARED, STDOUT_FILENO, 0);
    if (held == MAP_FAILED)
        return 1;
    ways[way].take();
    return 0;
}

/* ---- as the supervisor ---------------------------------------------------------------------------- */

struct trier {
    struct confinement confinement;
    const char *self;
};

enum kind { QEMU_TCG, QEMU_KVM, FIRECRACKER, KINDS };

static const char *const kind_names[KINDS] = {"qemu-tcg", "qemu-kvm", "firecracker"};

/* Runs this program as the VMM; its wait(2) status, and in *why what it was ended for. */
static int run(const struct trier *t, enum kind kind, const char *what, size_t number, int out,
               int *ret_status, struct error *why, struct error *e)
{
    cleanup_free char *text = text_format("%zu", number);
    const char *const argv[] = {t->self, "as-vmm", what, text, NULL};
    const struct child_spec spec = {.argv = argv, .stdin_fd = -1, .stdout_fd = out, .stderr_fd = -1};
    const struct confine_need need = {
        .vmm = t->self, .shape.memory_mib = MEMORY_MIB, .shape.vcpus = 1, .kvm = kind == QEMU_KVM};
    struct confined parts = CONFINED_NONE;
    struct child child = CHILD_NONE;

    int result = kind == FIRECRACKER ? confine_spawn_listed(&child, &parts, &t->confinement, &spec, e)
                                     : confine_spawn(&child, &parts, &t->confinement, &need, &spec, e);
    if (result == 0)
        result = child_wait(&child, deadline_in_ms(PATIENCE_MS), NULL, ret_status, e);
    *why = (struct error){.kind = ERROR_VM_LOST};
    confine_explain(&parts, &child, why);
    child_kill(&child);
    confine_release(&parts);
    return result == 0  ? error_set(e, ERROR_TIMEOUT, "%s %zu does not end", what, number)
           : result < 0 ? -1
                        : 0;
}

/* NULL: it was ended, for that very call. */
static const char *outcome(const struct trier *t, enum kind kind, size_t trial, struct error *e)
{
    struct error why;
    int status = 0;

    if (run(t, kind, "call", trial, -1, &status, &why, e) < 0)
        return "error";
    if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_REFUSED)
        return ":refused";
    if (!why.text[0])
        return "";
    long number = trial < NUMBERS ? (long)trial : trial == COMPATIBLE ? 20 : cases[trial - NUMBERS].number;
    cleanup_free char *wanted = text_format("system call %ld ", number);
    cleanup_free char *text = text_format("%s ", why.text); /* with or without a name */
    for (char *p = text; *p; p++)
        *p = *p == ';' ? ' ' : *p;
    return strstr(text, wanted) ? NULL : ":ended for another call";
}

/* uretprobe and uprobe, which are for the kernel's own trampolines and end everybody else: since Linux 6.11 no filter is asked. */
static bool passes_any_filter(size_t trial)
{
    return trial == 335 || trial == 336;
}

static int try_calls(const struct trier *t, struct error *e)
{
    for (size_t trial = 0; trial < TRIALS; trial++) {
        cleanup_buffer struct buffer line = {0};
        char name[64];
        if (passes_any_filter(trial) || trial == SYS_ppoll) /* which has a case */
            continue;
        for (enum kind kind = 0; kind < KINDS; kind++) {
            const char *how = outcome(t, kind, trial, e);
            if (e->kind != ERROR_NONE)
                return -1;
            if (how)
                buffer_add_text(&line, " %s%s", kind_names[kind], how);
        }
        trial_name(trial, name, sizeof(name));
        if (line.size > 0)
            printf("%s:%s\n", name, line.data);
    }
    return 0;
}

static int try_memory(const struct trier *t, struct error *e)
{
    for (size_t way = 0; way < WAYS; way++) {
        cleanup_fd int told = memfd_create("told", MFD_CLOEXEC);
        struct error why;
        size_t size = 0;
        int status = 0;
        if (told < 0 || ftruncate(told, sizeof(size)) < 0)
            return error_errno(e, "memfd_create");
        if (run(t, QEMU_TCG, "take", way, told, &status, &why, e) < 0)
            return -1;
        if (pread(told, &size, sizeof(size), 0) != sizeof(size))
            return error_errno(e, "read");
        char *name = why.text[0] ? strstr(why.text, "system call") : NULL;
        if (name)
            name[strcspn(name, ";")] = '\0';
        printf("%s: %zu MiB, %s\n", ways[way].name, size >> 20,
               name                  ? name
               : WIFSIGNALED(status) ? "killed"
               : WEXITSTATUS(status) ? "failed"
                                     : "no more");
        fflush(stdout);
    }
    return 0;
}

static int supervise(const char *self, const char *what, struct error *e)
{
    char ids[] = CONFIG_VM_UIDS;
    const struct config config = {.confine = CONFINE_AUTO, .vm_uids = ids};
    struct trier t = {.self = self};
    struct home home;

    if (!getenv("CAPSID_HOME"))
        return error_set(e, ERROR_USAGE, "CAPSID_HOME is not set");
    if (home_open(&home, getenv("CAPSID_HOME"), e) < 0)
        return -1;
    log_set_level(LOG_QUIET);
    int result = confine_decide(&t.confinement, &config, &home, e);
    if (result == 0)
        result = strcmp(what, "calls") == 0 ? try_calls(&t, e) : try_memory(&t, e);
    confine_done(&t.confinement);
    home_close(&home);
    return result;
}

int main(int argc, char **argv)
{
    char self[PATH_MAX];
    struct error e = {0};

    if (argc == 4 && strcmp(argv[1], "as-vmm") == 0) {
        size_t number = strtoul(argv[3], NULL, 10);
        if (strcmp(argv[2], "call") == 0)
            return call(number);
        return take(number);
    }
    if (argc != 2 || !realpath(argv[0], self))
        return 2;
    if (supervise(self, argv[1], &e) == 0)
        return 0;
    fprintf(stderr, "%s\n", e.text);
    return 1;
}
