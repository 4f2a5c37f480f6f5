#include "boot.h"

#include "kmsg.h"
#include "root.h"
#include "sys.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* ---- steps as tables ------------------------------------------------------------------------- */

enum step_kind { MOUNT, DIRECTORY, SYMLINK, MODE, WRITE, FILE_IF_MISSING };

/* `need`: without it nothing works, so boot fails. The others are logged when they fail. */
struct step {
    enum step_kind kind;
    bool need;
    const char *path;
    const char *value; /* filesystem type; target of a symlink; text to write, content of a file */
    const char *options;
    unsigned long flags; /* MS_ flags; mode of a directory or file */
};

/* Before the overlay: on the image itself, which guarantees these directories. What the serial port takes: */
static const struct step port_steps[] = {
    {MOUNT, true, "/dev", "devtmpfs", "mode=755", MS_NOSUID},
    {MOUNT, false, "/sys", "sysfs", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC},
};

static const struct step early_steps[] = {
    {MOUNT, true, "/proc", "proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC},
};

/* What does not depend on the image: on the filesystems that are moved into the root when there is one. */
static const struct step device_steps[] = {
    {DIRECTORY, false, "/dev/pts", NULL, NULL, 0755},
    {MOUNT, false, "/dev/pts", "devpts", "gid=5,mode=620,ptmxmode=666", MS_NOSUID | MS_NOEXEC},
    {DIRECTORY, false, "/dev/shm", NULL, NULL, 01777},
    {MOUNT, false, "/dev/shm", "tmpfs", "mode=1777,size=20%", MS_NOSUID | MS_NODEV},
    {MOUNT, false, "/sys/fs/cgroup", "cgroup2", "nsdelegate", MS_NOSUID | MS_NODEV | MS_NOEXEC},
    {SYMLINK, false, "/dev/fd", "/proc/self/fd", NULL, 0},
    {SYMLINK, false, "/dev/stdin", "/proc/self/fd/0", NULL, 0},
    {SYMLINK, false, "/dev/stdout", "/proc/self/fd/1", NULL, 0},
    {SYMLINK, false, "/dev/stderr", "/proc/self/fd/2", NULL, 0},
    /* The kernel makes most of these usable by everybody, but not in every version and configuration. */
    {MODE, false, "/dev/null", NULL, NULL, 0666},
    {MODE, false, "/dev/zero", NULL, NULL, 0666},
    {MODE, false, "/dev/full", NULL, NULL, 0666},
    {MODE, false, "/dev/random", NULL, NULL, 0666},
    {MODE, false, "/dev/urandom", NULL, NULL, 0666},
    {MODE, false, "/dev/tty", NULL, NULL, 0666},
    {MODE, false, "/dev/ptmx", NULL, NULL, 0666},
    /* proc(5). Links in /tmp: the kernel's own default lets one user trap another. */
    {WRITE, false, "/proc/sys/fs/protected_symlinks", "1", NULL, 0},
    {WRITE, false, "/proc/sys/fs/protected_hardlinks", "1", NULL, 0},
    /* Files are bounded by their process, and by memory, which each of them is counted as. */
    {WRITE, false, "/proc/sys/fs/file-max", "9223372036854775807", NULL, 0},
    /* icmp(7): everybody may ping. */
    {WRITE, false, "/proc/sys/net/ipv4/ping_group_range", "0 2147483647", NULL, 0},
    /* Where IPv6 is off for interfaces (ipv6.disable_ipv6=1), it is on for this one. */
    {WRITE, false, "/proc/sys/net/ipv6/conf/lo/disable_ipv6", "0", NULL, 0},
    /* Shared memory goes with the last who uses it: what outlives its job is nobody's to free. */
    {WRITE, false, "/proc/sys/kernel/shm_rmid_forced", "1", NULL, 0},
    /* The kernel's log and addresses are no business of a job without privileges. */
    {WRITE, false, "/proc/sys/kernel/dmesg_restrict", "1", NULL, 0},
    {WRITE, false, "/proc/sys/kernel/kptr_restrict", "1", NULL, 0},
    /* Who is not root traces its descendants only. */
    {WRITE, false, "/proc/sys/kernel/yama/ptrace_scope", "1", NULL, 0},
    /* Debian's kernels know 3: performance events are for root. Others take it for 2: not those of the kernel. */
    {WRITE, false, "/proc/sys/kernel/perf_event_paranoid", "3", NULL, 0},
};

/* In the writable root. */
static const struct step root_steps[] = {
    /* /tmp is part of the writable layer, so that a script can be renamed from anywhere to there. */
    {MODE, false, "/tmp", NULL, NULL, 01777},
    /* What names mean to a libc, in an image that says nothing. hosts(5), passwd(5), group(5). */
    {DIRECTORY, false, "/etc", NULL, NULL, 0755},
    {FILE_IF_MISSING, false, "/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n", NULL, 0644},
    {FILE_IF_MISSING, false, "/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", NULL, 0644},
    {FILE_IF_MISSING, false, "/etc/group", "root:x:0:\n", NULL, 0644},
};

/* Nothing is made of what there is, a symlink to nowhere included. */
static int make_file(const struct step *s)
{
    int fd = open(s->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, (mode_t)s->flags);
    ssize_t size = (ssize_t)strlen(s->value);

    if (fd < 0)
        return -1;
    bool written = write(fd, s->value, (size_t)size) == size;
    close(fd);
    return written ? 0 : -1;
}

static int run_step(const struct step *s)
{
    struct stat is;
    int r = 0;

    switch (s->kind) {
    case MOUNT:
        r = mount(s->value, s->path, s->value, s->flags, s->options);
        break;
    case DIRECTORY:
        r = mkdir(s->path, (mode_t)s->flags);
        break;
    case SYMLINK:
        r = symlink(s->value, s->path);
        break;
    case MODE:
        /* What needs no change is not brought into the writable layer by one. */
        r = stat(s->path, &is);
        if (r == 0 && (is.st_mode & 07777) != s->flags)
            r = chmod(s->path, (mode_t)s->flags);
        break;
    case WRITE:
        r = sys_write_text(AT_FDCWD, s->path, s->value);
        return r == -ENOENT ? 0 : r; /* a kernel that was built without it */
    case FILE_IF_MISSING:
        r = make_file(s);
        break;
    }
    /* EBUSY: the kernel has mounted it already (CONFIG_DEVTMPFS_MOUNT). */
    return r < 0 && errno != EEXIST && errno != EBUSY ? -errno : 0;
}

static int run_steps(const struct step *steps, size_t count, const char **ret_step)
{
    for (size_t i = 0; i < count; i++) {
        int r = run_step(&steps[i]);
        if (r == 0)
            continue;
        if (steps[i].need) {
            *ret_step = steps[i].path;
            return r;
        }
        kmsg_log(KMSG_WARNING, "boot step failed", steps[i].path, r);
    }
    return 0;
}

#define RUN_STEPS(table, ret_step) run_steps(table, sizeof(table) / sizeof((table)[0]), ret_step)

/* ---- the rest -------------------------------------------------------------------------------- */

/* File descriptors 0, 1 and 2 become /dev/null, so that no later open(2) gets their numbers. */
static int open_null(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    for (int i = 0; i <= 2; i++)
        if (i != fd && dup2(fd, i) < 0)
            return -errno;
    if (fd <= 2)
        return fcntl(fd, F_SETFD, 0) < 0 ? -errno : 0;
    close(fd);
    return 0;
}

static void loopback_up(void)
{
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    request.ifr_flags = IFF_UP; /* netdevice(7) */
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
        kmsg_log(KMSG_WARNING, "no loopback interface", NULL, errno);
    sys_close(&fd);
}

int boot_begin(const char **ret_step)
{
    int r = RUN_STEPS(port_steps, ret_step);

    if (r < 0)
        return r;
    *ret_step = "/dev/null";
    /* Mostly the kernel has opened the console, and to close that takes longer than everything else here. */
    r = fcntl(STDERR_FILENO, F_GETFD) < 0 ? open_null() : 0;
    if (r == 0)
        kmsg_open(0);
    return r;
}

int boot_configure(struct cmdline *ret_config, const char **ret_step)
{
    char text[CMDLINE_MAX];
    int r = RUN_STEPS(early_steps, ret_step);

    if (r < 0)
        return r;
    *ret_step = "/dev/null";
    r = open_null();
    if (r < 0)
        return r;
    cmdline_init(ret_config);
    ssize_t n = sys_read_text(AT_FDCWD, "/proc/cmdline", text, sizeof(text));
    if (n < 0)
        kmsg_log(KMSG_WARNING, "cannot read /proc/cmdline", NULL, (int)n);
    else
        cmdline_parse(ret_config, text);
    return 0;
}

int boot_furnish_devices(struct cmdline *config, const char **ret_step)
{
    int r = RUN_STEPS(device_steps, ret_step);

    if (r < 0)
        return r;
    if (sethostname(config->hostname, strlen(config->hostname)) < 0)
        kmsg_log(KMSG_WARNING, "cannot set the host name", config->hostname, errno);
    loopback_up();
    return 0;
}

int boot_furnish_root(const char **ret_step)
{
    return RUN_STEPS(root_steps, ret_step);
}

int boot_begin_test(const char **ret_step)
{
    kmsg_open(1);
    syscall(SYS_close_range, 3u, ~0u,
            0u); /* what the test had open is not for jobs; the kernel leaves nothing open */
    *ret_step = "/dev/null";
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0) /* what jobs get; the others stay for the log */
        return -errno;
    sys_close(&null);
    return 0;
}

int boot_configure_test(struct cmdline *ret_config, const char **ret_step)
{
    cmdline_init(ret_config);
    *ret_step = "/proc";
    /* A pid namespace shows through its own /proc only. The mount namespace may share its mounts with the
     * machine's. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        return -errno;
    return 0;
}

/* Replaces the octal escapes of proc_pid_mounts(5) in place: \040 is a space. */
static void unescape(char *s)
{
    char *to = s;

    for (; *s; s++, to++) {
        *to = *s;
        if (s[0] == '\\' && s[1] && s[2] && s[3]) {
            *to = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 3;
        }
    }
    *to = '\0';
}

/* The mount point of the last line of text, which is cut off; NULL when there is no line. */
static char *take_last_mount(char *text)
{
    char *line = strrchr(text, '\n');

    line = line ? line + 1 : text;
    char *point = strchr(line, ' ');
    char *end = point ? strchr(point + 1, ' ') : NULL;
    if (!end)
        return NULL;
    *end = '\0';
    if (line > text)
        line[-1] = '\0';
    else
        *line = '\0';
    unescape(point + 1);
    return point + 1;
}

void boot_undo(void)
{
    static char mounts[16 * 1024]; /* touched here only, when nothing else needs memory any more */

    sys_read_text(AT_FDCWD, "/proc/self/mounts", mounts, sizeof(mounts));
    sync();
    char *last_end = strrchr(mounts, '\n');
    if (last_end) /* what comes after it is a line that had no room */
        *last_end = '\0';
    for (char *point = take_last_mount(mounts); point; point = take_last_mount(mounts)) {
        /* Filesystems that cannot go, above all the root, become read-only, so that their disks are clean. */
        if (strcmp(point, "/proc") != 0 && strcmp(point, ROOT_UP_INSIDE) != 0 && umount2(point, 0) < 0)
            mount(NULL, point, NULL, MS_REMOUNT | MS_RDONLY, NULL);
    }
    /* Last, because the root writes to it. Where there is no such disk, this does nothing. */
    mount(NULL, ROOT_UP_INSIDE, NULL, MS_REMOUNT | MS_RDONLY, NULL);
    sync();
}
