/*
 * sys: system calls that musl does not wrap, or wraps with more than initd wants, and small helpers around
 * files. All return 0 (or what they say) or -errno, and none blocks on anything but a local filesystem.
 */
#ifndef INITD_SYS_H
#define INITD_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

/* As a user or group id: "leave it as it is", setresuid(2), chown(2). So nobody can have it, and who asks for it would get
 * root's. */
#define SYS_NO_ID UINT32_MAX

/* Sets a resource limit of a process (0: the caller), prlimit(2), both values. RLIMIT_CPU gets a hard limit
 * of one second more: the kernel sends SIGXCPU at the soft one only when it is lower. Returns 0 or -errno. */
int sys_limit(pid_t pid, int which, uint64_t value);

/* CLOCK_MONOTONIC in ns. */
uint64_t sys_now(void);

/* The earlier one of two such times; 0 is never. */
uint64_t sys_earlier(uint64_t a, uint64_t b);

/* CLOCK_REALTIME in ns since 1970. */
uint64_t sys_wall_clock(void);

/* Memory that holds nothing, sysinfo(2), in bytes: less than the following, and sooner known. 0: unknown. */
uint64_t sys_memory_free(void);

/* MemAvailable of proc_meminfo(5) in bytes, 0: unknown. */
uint64_t sys_memory_available(void);

/* What a process has in memory, in bytes, with what it shares; 0: unknown. */
uint64_t sys_resident_size(pid_t pid);

/* Whole pages of initd's own tables, which are locked, are zero again, and need no memory. */
void sys_give_back(void *start, size_t size);

/* How many processors initd may run on, at least 1. */
unsigned sys_processors(void);

/* Closes *fd where it is not negative, and sets it to -1. */
void sys_close(int *fd);

/* Sets O_NONBLOCK on fd. */
int sys_set_nonblock(int fd);

/* A pipe whose both ends are CLOEXEC; initd has the end our_end (0: it reads, 1: it writes), which is nonblocking. After
 * a failure neither is set. */
int sys_pipe(int *ret_ours, int *ret_theirs, int our_end);

/*
 * Forks, the child being born in the cgroup of directory cgroup_fd (clone3(2), CLONE_INTO_CGROUP). cgroup_fd
 * -1: in that of initd. Returns the child's pid, 0 in the child, or -errno. *ret_placed is false when the
 * kernel cannot do it and the child has to move itself.
 */
pid_t sys_fork_into(int cgroup_fd, bool *ret_placed);

/* fork(2) without the handlers of a libc. */
pid_t sys_fork(void);

/* Reads at most size-1 bytes of a small file, relative to dir_fd (AT_FDCWD), and ends them with a NUL.
 * Returns the length or -errno. */
ssize_t sys_read_text(int dir_fd, const char *path, char *buffer, size_t size);

/* The fields of proc_pid_stat(5) from the third on, the state's letter; they stand in buffer. NULL: there is no such
 * process. */
const char *sys_read_stat(pid_t pid, char *buffer, size_t size);

/* Writes text to an existing file, relative to dir_fd. */
int sys_write_text(int dir_fd, const char *path, const char *text);

/* Makes the missing parent directories of path (mode 0755) and gives them to uid and gid. *ret_made is for
 * sys_remove_parents(); after a failure there is nothing to remove. */
int sys_make_parents(const char *path, uid_t uid, gid_t gid, size_t *ret_made);

/* Removes those that were made, as far as they are empty. */
void sys_remove_parents(const char *path, size_t made);

/* /proc as it was at the first call, also when it is taken away or covered later; for sys_read_text(). -1: none. */
int sys_proc(void);

/* getdents64(2): bytes filled, 0 at the end, or -errno. */
ssize_t sys_getdents(int fd, void *buffer, size_t size);

/* What getdents64(2) fills in. */
struct sys_dirent {
    uint64_t inode;
    int64_t offset; /* a position for lseek(2), after this entry */
    uint16_t size;
    uint8_t type;
    char name[];
};

/* rename(2), which the C standard has put into stdio.h. */
int sys_rename(const char *from, const char *to);

int sys_pivot_root(const char *new_root, const char *put_old);

#endif
