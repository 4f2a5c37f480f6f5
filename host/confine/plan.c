#include "confine/plan.h"

#include "confine/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Sets *ret_step and returns -1 from the calling function when the call fails. */
#define TRY(step, call)                                                                                      \
    do {                                                                                                     \
        if ((call) < 0) {                                                                                    \
            *ret_step = (step);                                                                              \
            return -1;                                                                                       \
        }                                                                                                    \
    } while (0)

static int write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t size = (ssize_t)strlen(text);

    if (fd < 0)
        return -1;
    ssize_t n = write(fd, text, (size_t)size);
    int cause = errno;
    close(fd);
    errno = cause;
    return n == size ? 0 : -1;
}

/* "ID ID 1" (user_namespaces(7)); snprintf is not async-signal-safe. */
static void make_map(char out[static 32], uint32_t inside, uint32_t outside)
{
    char digits[10], *p = out;
    const uint32_t numbers[] = {inside, outside, 1};

    for (unsigned i = 0; i < 3; i++) {
        unsigned count = 0;
        uint32_t n = numbers[i];
        do
            digits[count++] = (char)('0' + n % 10);
        while (n /= 10);
        while (count > 0)
            *p++ = digits[--count];
        *p++ = i < 2 ? ' ' : '\n';
    }
    *p = '\0';
}

static int enter_user_namespace(const struct plan *p, const char **ret_step)
{
    char map[32];

    TRY("/proc/self/setgroups", write_text("/proc/self/setgroups", "deny"));
    make_map(map, p->gid, p->host_gid);
    TRY("/proc/self/gid_map", write_text("/proc/self/gid_map", map));
    make_map(map, p->uid, p->host_uid);
    TRY("/proc/self/uid_map", write_text("/proc/self/uid_map", map));
    return 0;
}

/* Makes the directories above path. */
static int make_parents(const char *path)
{
    char copy[PATH_MAX];
    size_t size = strnlen(path, sizeof(copy));

    if (size >= sizeof(copy)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(copy, path, size + 1);
    for (char *s = strchr(copy + 1, '/'); s; s = strchr(s + 1, '/')) {
        *s = '\0';
        if (mkdir(copy, 0755) < 0 && errno != EEXIST)
            return -1;
        *s = '/';
    }
    return 0;
}

static int make_place(const struct plan_bind *b)
{
    if (make_parents(b->path) < 0)
        return -1;
    if (b->directory)
        return mkdir(b->path, 0755) < 0 && errno != EEXIST ? -1 : 0;
    /* What is below a view that was made before, as an installed kernel is below /usr, has its place there. */
    if (access(b->path, F_OK) == 0)
        return 0;
    int fd = open(b->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
    return fd < 0 ? -1 : close(fd);
}

static int bind_one(const struct plan_bind *b)
{
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_NOSUID};
    char source[PATH_MAX] = PLAN_OLD_ROOT;
    size_t at = strlen(PLAN_OLD_ROOT), size = strlen(b->source);

    if (at + size >= sizeof(source)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(source + at, b->source, size + 1);
    if (make_place(b) < 0 || mount(source, b->path, NULL, MS_BIND | MS_REC, NULL) < 0)
        return -1;
    if (!b->writable && !b->device)
        attributes.attr_set |= MOUNT_ATTR_RDONLY;
    attributes.attr_set |= b->device ? MOUNT_ATTR_NOEXEC : MOUNT_ATTR_NODEV;
    return (int)syscall(SYS_mount_setattr, AT_FDCWD, b->path, AT_RECURSIVE, &attributes, sizeof(attributes));
}

static int bind_proc(const char *name, bool directory)
{
    char from[64] = PLAN_PROC "/self/", to[64] = "/proc/self/";

    strcat(from, name);
    strcat(to, name);
    int fd = directory ? mkdir(to, 0555) : open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
    if (fd < 0 || (!directory && close(fd) < 0))
        return -1;
    return mount(from, to, NULL, MS_BIND, NULL);
}

/*
 * /proc/self/fd is how an inherited memory file is opened, /proc/self/exe how QEMU finds its firmware, and its libnuma reads
 * /proc/self/status. That is all there is: in a whole /proc, also one of processes only (subset=pid), mountinfo tells where on
 * the host each view is. The child becomes the VMM, so what is its own now stays so; as a file, exe is a plain link.
 */
static int make_proc(const struct plan *p)
{
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;

    if (mkdir("/proc", 0555) < 0 || mkdir("/proc/self", 0555) < 0 || mkdir(PLAN_PROC, 0700) < 0)
        return -1;
    /* subset=pid (Linux 5.8) is allowed where the host's own proc is covered in part. */
    if (mount("proc", PLAN_PROC, "proc", flags, "subset=pid") < 0 &&
        mount("proc", PLAN_PROC, "proc", flags, NULL) < 0)
        return -1;
    if (bind_proc("fd", true) < 0 || bind_proc("status", false) < 0 ||
        (p->executable && symlink(p->executable, "/proc/self/exe") < 0))
        return -1;
    return umount2(PLAN_PROC, MNT_DETACH) < 0 ? -1 : rmdir(PLAN_PROC);
}

/* The host's node is for root, or for a group; this one is for this VM's user. */
static int make_kvm(const struct plan *p)
{
    return mknod("/dev/kvm", S_IFCHR | 0600, p->own_kvm) < 0 || chown("/dev/kvm", p->uid, p->gid) < 0 ? -1
                                                                                                      : 0;
}

/*
 * A root of its own. After pivot_root(2) the host's files are below PLAN_OLD_ROOT, each view is a bind mount out
 * of there, and then that place goes.
 */
static int build_root(const struct plan *p, const char **ret_step)
{
    const unsigned long flags = MS_NOSUID | (p->own_kvm ? 0 : MS_NODEV);

    TRY("make mounts private", mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    TRY("mount tmpfs", mount("capsid", p->stage, "tmpfs", flags, "mode=0755,size=256k,nr_inodes=1k"));
    TRY("chdir", chdir(p->stage));
    TRY("mkdir", mkdir(&PLAN_OLD_ROOT[1], 0700));
    TRY("pivot_root", syscall(SYS_pivot_root, ".", &PLAN_OLD_ROOT[1]));
    TRY("chdir", chdir("/"));
    for (unsigned i = 0; i < p->bind_count; i++)
        TRY(p->binds[i].path, bind_one(&p->binds[i]));
    for (unsigned i = 0; i < p->link_count; i++)
        TRY(p->links[i][0], symlink(p->links[i][1], p->links[i][0]));
    if (p->own_kvm)
        TRY("/dev/kvm", make_kvm(p));
    TRY("make proc", make_proc(p));
    TRY("leave the host's root", umount2(PLAN_OLD_ROOT, MNT_DETACH));
    TRY("rmdir", rmdir(PLAN_OLD_ROOT));
    TRY("make the root read-only", mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, NULL));
    return 0;
}

static int drop_privileges(const struct plan *p, const char **ret_step)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

    /* EINVAL: beyond the last capability of this kernel. EPERM: an ordinary user without a namespace has none. */
    for (unsigned long i = 0; prctl(PR_CAPBSET_DROP, i, 0, 0, 0) == 0; i++)
        ;
    if (p->change_user) {
        TRY("setgroups", (int)syscall(SYS_setgroups, 0, NULL));
        TRY("setresgid", (int)syscall(SYS_setresgid, p->gid, p->gid, p->gid));
        TRY("setresuid", (int)syscall(SYS_setresuid, p->uid, p->uid, p->uid));
    }
    TRY("capset", (int)syscall(SYS_capset, &header, none));
    return 0;
}

int plan_enter(const void *plan, const char **ret_step)
{
    const struct plan *p = plan;

    if (p->user_namespace && enter_user_namespace(p, ret_step) < 0)
        return -1;
    if (p->files && build_root(p, ret_step) < 0)
        return -1;
    for (unsigned i = 0; i < p->limit_count; i++)
        TRY("setrlimit", (int)syscall(SYS_prlimit64, 0, p->limits[i].resource, &p->limits[i].limit, NULL));
    return drop_privileges(p, ret_step);
}

int plan_seal(const void *plan, const char **ret_step)
{
    const struct plan *p = plan;

    if (p->filter.listens)
        close(p->room);
    return seal_calls(&p->filter, p->handover[1], ret_step);
}
