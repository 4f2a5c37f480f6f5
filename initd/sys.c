#include "sys.h"

#include "limits.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* madvise(2) */
#endif

static uint64_t read_clock(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t sys_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t sys_earlier(uint64_t a, uint64_t b)
{
    return !a || (b && b < a) ? b : a;
}

uint64_t sys_wall_clock(void)
{
    return read_clock(CLOCK_REALTIME);
}

int sys_limit(pid_t pid, int which, uint64_t value)
{
    struct rlimit limit = {.rlim_cur = value, .rlim_max = value};

    if (which == RLIMIT_CPU)
        limit.rlim_max++;
    /* Not setrlimit(), which looks after the other threads of a process in the libc. */
    return prlimit(pid, which, &limit, NULL) < 0 ? -errno : 0;
}

uint64_t sys_memory_free(void)
{
    struct sysinfo info;

    return sysinfo(&info) == 0 ? (uint64_t)info.freeram * info.mem_unit : 0;
}

uint64_t sys_memory_available(void)
{
    char text[256]; /* it is in the third line */
    uint64_t kib = 0;

    sys_read_text(sys_proc(), "meminfo", text, sizeof(text));
    return text_find_u64(text, "MemAvailable", &kib) ? kib * 1024 : 0;
}

uint64_t sys_resident_size(pid_t pid)
{
    char path[32], text[128];
    struct text t = text_of(path, sizeof(path));

    text_add_u64(&t, (uint64_t)pid);
    text_add(&t, "/statm"); /* proc_pid_statm(5): the second field is the resident set in pages */
    if (sys_read_text(sys_proc(), path, text, sizeof(text)) <= 0)
        return 0;
    const char *resident = text_field(text, 1);
    return resident ? text_leading_u64(resident) * (uint64_t)getpagesize() : 0;
}

void sys_give_back(void *start, size_t size)
{
    /* Of locked pages only since Linux 5.18. Before, they have to be unlocked, and stay so. */
    if (madvise(start, size, MADV_DONTNEED_LOCKED) < 0 && munlock(start, size) == 0)
        madvise(start, size, MADV_DONTNEED);
}

unsigned sys_processors(void)
{
    unsigned long mask[16] = {0}; /* 1024 processors */
    unsigned n = 0;

    syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask);
    for (size_t i = 0; i < sizeof(mask) / sizeof(mask[0]); i++)
        n += (unsigned)__builtin_popcountl(mask[i]);
    return n ? n : 1;
}

void sys_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

int sys_set_nonblock(int fd)
{
    return fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

int sys_pipe(int *ret_ours, int *ret_theirs, int our_end)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    int r = sys_set_nonblock(ends[our_end]);
    if (r < 0) {
        sys_close(&ends[0]);
        sys_close(&ends[1]);
        return r;
    }
    *ret_ours = ends[our_end];
    *ret_theirs = ends[!our_end];
    return 0;
}

pid_t sys_fork(void)
{
    /* The libc's fork() runs handlers and takes locks that a program without threads and heap has no use for.
     */
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

    return pid < 0 ? -errno : pid;
}

pid_t sys_fork_into(int cgroup_fd, bool *ret_placed)
{
    *ret_placed = true;
    if (cgroup_fd < 0)
        return sys_fork();

    struct clone_args args = {
        .flags = CLONE_INTO_CGROUP,
        .exit_signal = SIGCHLD,
        .cgroup = (unsigned)cgroup_fd,
    };
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    if (pid >= 0)
        return pid;
    /* ENOSYS: no clone3. E2BIG, EINVAL: it does not know the cgroup field (before 5.7) or the fd's
     * filesystem. */
    if (errno != ENOSYS && errno != E2BIG && errno != EINVAL)
        return -errno;
    *ret_placed = false;
    return sys_fork();
}

ssize_t sys_read_text(int dir_fd, const char *path, char *buffer, size_t size)
{
    int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    buffer[0] = '\0';
    if (fd < 0)
        return -errno;
    ssize_t n, length = 0;

    /* A file of /proc that is made of lines gives about a page of them at a time. */
    while ((n = read(fd, buffer + length, size - 1 - (size_t)length)) > 0)
        length += n;
    int error = errno;
    close(fd);
    if (n < 0 && length == 0)
        return -error;
    buffer[length] = '\0';
    return length;
}

const char *sys_read_stat(pid_t pid, char *buffer, size_t size)
{
    char path[64];
    struct text t = text_of(path, sizeof(path));

    text_add_u64(&t, (uint64_t)pid);
    text_add(&t, "/stat");
    /* The name before them may hold anything. */
    const char *after_name = sys_read_text(sys_proc(), path, buffer, size) > 0 ? strrchr(buffer, ')') : NULL;
    return after_name && after_name[1] == ' ' ? after_name + 2 : NULL;
}

int sys_write_text(int dir_fd, const char *path, const char *text)
{
    int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, text, strlen(text));
    int error = errno;
    close(fd);
    return n < 0 ? -error : 0;
}

int sys_make_parents(const char *path, uid_t uid, gid_t gid, size_t *ret_made)
{
    char part[PATH_MAX];
    int r = 0;

    *ret_made = 0;
    if (strlen(path) >= sizeof(part))
        return -ENAMETOOLONG;
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t n = (size_t)(slash - path);
        memcpy(part, path, n);
        part[n] = '\0';
        if (mkdir(part, 0755) == 0) {
            *ret_made = *ret_made ? *ret_made : n;
            if (lchown(part, uid, gid) < 0) /* a job of this user may have put a symlink there meanwhile */
                r = -errno;
        } else if (errno != EEXIST && errno != EROFS) {
            /* EROFS: the kernel looks at the mount first, also for a directory that is there. */
            r = -errno;
        }
        if (r < 0) {
            sys_remove_parents(path, *ret_made);
            return r;
        }
    }
    return 0;
}

void sys_remove_parents(const char *path, size_t made)
{
    char part[PATH_MAX];

    if (!made || text_join(part, sizeof(part), path, NULL) < 0)
        return;
    for (char *slash = strrchr(part, '/'); slash && (size_t)(slash - part) >= made;
         slash = strrchr(part, '/')) {
        *slash = '\0';
        rmdir(part);
    }
}

int sys_proc(void)
{
    static int fd = -1;

    if (fd < 0)
        fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd;
}

ssize_t sys_getdents(int fd, void *buffer, size_t size)
{
    long n = syscall(SYS_getdents64, fd, buffer, size);

    return n < 0 ? -errno : n;
}

int sys_pivot_root(const char *new_root, const char *put_old)
{
    return syscall(SYS_pivot_root, new_root, put_old) < 0 ? -errno : 0;
}

int sys_rename(const char *from, const char *to)
{
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0) < 0 ? -errno : 0;
}
