/*
 * hijacked_vmm: runs in place of QEMU and tries what a guest that took it over would try. It prints one line, which
 * capsid reports: "hijacked, uid N, got away with: NAME, NAME" or "... nothing".
 *
 * What to look for the test appends to a copy of this program, which reads itself: after a line MARK, lines of
 * "read PATH", "write PATH" and "abstract NAME". Nothing is written, and nothing that is tried changes the machine
 * when it succeeds.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MARK "\n#targets of the test\n"
#define FORKS 300
#define SPACE (256ull << 30)

static char won[2000];

static void check(bool success, const char *name)
{
    size_t at = strlen(won);

    if (success)
        snprintf(won + at, sizeof(won) - at, "%s%s", at ? ", " : "", name);
}

static bool can_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);

    if (fd < 0)
        return false;
    close(fd);
    return true;
}

static bool can_connect(const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t size = strlen(name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(a.sun_path + 1, name, size);
    return fd >= 0 && connect(fd, (struct sockaddr *)&a,
                              (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + size)) == 0;
}

static void try_targets(void)
{
    static char self[4 << 20];
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, self, sizeof(self) - 1) : -1;
    char *end = self + (size > 0 ? size : 0), *list = NULL;

    /* The last one: the program has it in its own strings, too. */
    for (char *p = self; (p = memmem(p, (size_t)(end - p), MARK, strlen(MARK))); p++)
        list = p + strlen(MARK);
    check(!list || strncmp(list, "read /", 6) != 0, "NO TARGETS");
    if (!list)
        return;
    for (char *line = strtok(list, "\n"); line; line = strtok(NULL, "\n")) {
        if (strncmp(line, "read ", 5) == 0)
            check(can_open(line + 5, O_RDONLY), strrchr(line, '/'));
        else if (strncmp(line, "write ", 6) == 0)
            check(can_open(line + 6, O_WRONLY) || can_open(line + 6, O_RDWR), strrchr(line, '/'));
        else if (strncmp(line, "abstract ", 9) == 0)
            check(can_connect(line + 9), line);
    }
}

/* Files that it was told to use, and those that it inherited. */
static void try_own_files(int argc, char **argv)
{
    char path[64], where[64];

    for (int i = 1; i < argc; i++) {
        char *file = strstr(argv[i], "file=/");
        file = argv[i][0] == '/' ? argv[i] : file ? file + 5 : NULL;
        if (!file)
            continue;
        file[strcspn(file, ",")] = '\0';
        check(can_open(file, O_WRONLY) || chmod(file, 0666) == 0, "write an own file");
    }
    for (int fd = 3; fd < 1024; fd++) {
        struct stat st;
        if (fstat(fd, &st) < 0 || S_ISSOCK(st.st_mode))
            continue;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        snprintf(where, sizeof(where), "write fd %d", fd);
        int again = open(path, O_RDWR | O_CLOEXEC);
        check(!S_ISREG(st.st_mode), "an inherited fd");
        check(pwrite(fd, "", 1, 0) == 1 || (again >= 0 && pwrite(again, "", 1, 0) == 1), where);
        check(again >= 0 && mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0) != MAP_FAILED, where);
        check(again >= 0 && ftruncate(again, 0) == 0, where);
        close(again);
    }
}

static void try_creation(void)
{
    static const char *const directories[] = {"/", "/tmp", "/dev", "/dev/shm", "/usr", "/run", "/proc"};
    char path[64];

    for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
        snprintf(path, sizeof(path), "%s/hijacked-%d", directories[i], (int)getpid());
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        check(fd >= 0, directories[i]);
        if (fd >= 0)
            unlink(path);
        int made = mknod(path, S_IFBLK | 0600, 0x800);
        check(made == 0, "mknod");
        if (made == 0)
            unlink(path);
    }
}

/* In a mount namespace of its own where it can have one, so that nothing happens to the machine. */
static void try_privileges(void)
{
    check(geteuid() == 0, "being root");
    check(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1, "new privileges");
    check(prctl(PR_CAPBSET_READ, 21, 0, 0, 0) == 1, "the bounding set");
    check(getenv("CAPSID_TEST_SECRET") != NULL, "the environment");
    check(getppid() != 0, "seeing the parent");
    check(kill(-1, 0) == 0, "signals");
    pid_t pid = fork();
    if (pid == 0) {
        int result = unshare(CLONE_NEWUSER) == 0 ? 1 : 0;
        result |= unshare(CLONE_NEWNS) == 0 ? 2 : 0;
        result |= (result || geteuid() != 0) && mount("none", "/usr", "tmpfs", 0, NULL) == 0 ? 4 : 0;
        result |=
            (result || geteuid() != 0) && mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL) == 0 ? 4 : 0;
        result |= geteuid() != 0 && setuid(0) == 0 ? 8 : 0;
        result |= ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 16 : 0;
        _exit(result);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    check(status & 1, "a user namespace");
    check(status & 2, "a mount namespace");
    check(status & 4, "mount");
    check(status & 8, "setuid");
    check(status & 16, "ptrace");
}

static void try_resources(void)
{
    static pid_t pids[FORKS];
    int count = 0;

    check(mmap(NULL, SPACE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) !=
              MAP_FAILED,
          "memory");
    while (count < FORKS && (pids[count] = fork()) > 0)
        count++;
    if (count < FORKS && pids[count] == 0) {
        pause();
        _exit(0);
    }
    check(count == FORKS, "a fork bomb");
    for (int i = 0; i < count; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
}

int main(int argc, char **argv)
{
    static const int domains[] = {AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_VSOCK};
    static const char *const secrets[] = {"/etc/passwd",
                                          "/etc/shadow",
                                          "/root",
                                          "/home",
                                          "/sys/kernel",
                                          "/var/log",
                                          "/proc/sys/kernel",
                                          "/proc/kcore",
                                          "/proc/1/root/etc/passwd",
                                          "/dev/mem"};

    /* Every VMM is asked this once, before it is trusted with nothing. */
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return write(STDOUT_FILENO, "hijacked VMM 1\n", 15) == 15 ? 0 : 2;
    try_targets();
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
        check(can_open(secrets[i], O_RDONLY), secrets[i]);
    for (size_t i = 0; i < sizeof(domains) / sizeof(domains[0]); i++)
        check(socket(domains[i], SOCK_DGRAM | SOCK_CLOEXEC, 0) >= 0, "a socket");
    try_own_files(argc, argv);
    try_creation();
    try_privileges();
    try_resources();
    char line[400];
    snprintf(line, sizeof(line), "hijacked, uid %d, got away with: %s\n", (int)getuid(),
             won[0] ? won : "nothing");
    return write(STDERR_FILENO, line, strlen(line)) > 0 ? 1 : 2;
}
