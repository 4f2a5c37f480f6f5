#include "confine/cgroup.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define MAKE_TRIES 100
#define OVERHEAD_MIB 384 /* what a VMM takes beside the guest's memory, with translated code, and some air */
#define PROCESSES_MAX 64
#define CPU_PERIOD_US 100000

static const struct {
    enum confine_part part;
    const char *name;
} controllers[] = {
    {CONFINE_MEMORY, "memory"}, {CONFINE_CPU, "cpu"}, {CONFINE_PIDS, "pids"}, {CONFINE_IO, "io"}};

#define CONTROLLERS (sizeof(controllers) / sizeof(controllers[0]))

static int write_file(const char *directory, const char *name, const char *text)
{
    cleanup_free char *path = text_format("%s/%s", directory, name);
    cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t size = strlen(text);

    return fd >= 0 && write(fd, text, size) == (ssize_t)size ? 0 : -1;
}

bool cgroup_may_pass(int code)
{
    static const int passing[] = {EAGAIN, ENOMEM, EMFILE, ENFILE, EBUSY, EINTR};

    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
        if (code == passing[i])
            return true;
    return false;
}

/* What cannot be opened or made is not there: 0. Unless errno says that the host is short of something: -1. */
static int unreadable(void)
{
    return cgroup_may_pass(errno) ? -1 : 0;
}

/* A word of a file such as cgroup.controllers: 1 it is there, 0 it is not, -1 with errno. */
static int has_word(const char *directory, const char *name, const char *word)
{
    cleanup_free char *path = text_format("%s/%s", directory, name);
    cleanup_file FILE *f = fopen(path, "re");
    char found[64];

    if (!f)
        return unreadable();
    while (fscanf(f, "%63s", found) == 1)
        if (strcmp(found, word) == 0)
            return 1;
    return 0;
}

/* Where cgroup v2 is mounted; NULL: nowhere, or errno says why nobody knows. The caller frees it. */
static char *find_mount(void)
{
    cleanup_file FILE *f = fopen("/proc/self/mounts", "re");
    char line[4352], place[4097], type[64];

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "%*s %4096s %63s", place, type) == 2 && strcmp(type, "cgroup2") == 0)
            return text_copy(place);
    return NULL;
}

/* This process's cgroup: the line "0::PATH". */
static char *own_cgroup(const char *mount)
{
    cleanup_file FILE *f = fopen("/proc/self/cgroup", "re");
    char line[4352];

    while (f && fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "0::/", 4) == 0)
            return text_format("%s%s", mount, line[4] ? line + 3 : "");
    }
    return NULL;
}

static void miss(struct confinement *c, enum confine_part part, const char *format, const char *detail)
{
    c->have[part] = false;
    snprintf(c->reason[part], sizeof(c->reason[part]), format, detail);
}

/* Passes a controller on to the cgroups of VMs. Root's directory may have been made anew since the directory above it
 * did so last, or somebody has taken it back there. */
static int pass_on(const struct confinement *c, const char *controller)
{
    cleanup_free char *enable = text_format("+%s", controller);

    if (write_file(c->cgroups, "cgroup.subtree_control", enable) == 0)
        return 0;
    if (geteuid() != 0)
        return -1;
    cleanup_free char *above = text_copy(c->cgroups);
    *strrchr(above, '/') = '\0';
    return write_file(above, "cgroup.subtree_control", enable) < 0
               ? -1
               : write_file(c->cgroups, "cgroup.subtree_control", enable);
}

/* The controllers must be passed on by each directory above. Where processes are in the cgroup itself the kernel
 * refuses ("no internal processes", EBUSY, cgroups(7)). */
static int probe_controllers(struct confinement *c, const char *above)
{
    for (size_t i = 0; i < CONTROLLERS; i++) {
        const char *name = controllers[i].name;
        enum confine_part part = controllers[i].part;
        int there = above ? has_word(above, "cgroup.controllers", name) : 1;
        if (there < 0)
            return -1;
        if (!there) {
            miss(c, part, "cgroup v2 has no controller %s here; cgroup v1 may hold it", name);
            continue;
        }
        if (pass_on(c, name) < 0 && errno != EBUSY && cgroup_may_pass(errno))
            return -1;
        there = has_word(c->cgroups, "cgroup.subtree_control", name);
        if (there < 0)
            return -1;
        c->have[part] = there;
        if (!there)
            miss(c, part, "controller %s cannot be passed on to a cgroup; try: systemd-run -p Delegate=yes",
                 name);
    }
    return 0;
}

/* Another process may remove the directory above, when its last VM has ended; ENODEV: it is about to go. What is in it
 * keeps it. */
static int make_in_parent(const struct confinement *c, const char *path)
{
    for (int i = 0; i < MAKE_TRIES; i++) {
        if (mkdir(c->cgroups, 0755) < 0 && errno != EEXIST)
            return -1;
        if (mkdir(path, 0755) == 0)
            return 0;
        if (errno != ENOENT && errno != ENODEV)
            return -1;
    }
    return -1;
}

/* With the directory for VMs there. */
static int probe_directory(struct confinement *c, const char *above)
{
    if (access(c->cgroups, W_OK) < 0)
        return -1;
    c->have[CONFINE_CGROUP] = true;
    if (probe_controllers(c, above) == 0)
        return 0;
    c->have[CONFINE_CGROUP] = false;
    return -1;
}

/* Root's directory is held by a cgroup of this process's own meanwhile. */
static int probe_held(struct confinement *c, const char *above)
{
    static atomic_uint counter;
    const char *id = strrchr(c->home->scratch, '/') + 1;
    cleanup_free char *path = text_format("%s/probe-%d-%s-%u", c->cgroups, (int)getpid(), id, counter++);
    struct error ignored = {0};
    uint64_t record = 0;

    if (home_record_cgroup(c->home, path, &record, &ignored) < 0)
        return -1;
    int result = make_in_parent(c, path) < 0 ? -1 : probe_directory(c, above);
    int cause = errno;
    home_remove_cgroup(path);
    home_forget_cgroup(c->home, &record);
    errno = cause;
    return result;
}

int cgroup_probe(struct confinement *c)
{
    bool root = geteuid() == 0;

    free(c->cgroups);
    c->cgroups = NULL;
    for (size_t i = 0; i < CONTROLLERS; i++)
        miss(c, controllers[i].part, "%s", "there is no cgroup for it");
    miss(c, CONFINE_CGROUP, "%s", "cgroup v2 is not mounted");
    errno = 0;
    cleanup_free char *mount = find_mount();
    cleanup_free char *own = mount ? own_cgroup(mount) : NULL;
    if (!own)
        return unreadable();
    /* Root's are directly below the top; others have at most what was delegated to them. */
    c->cgroups = root ? text_format("%s/capsid", mount) : text_copy(own);
    if ((root ? probe_held(c, mount) : probe_directory(c, NULL)) == 0)
        return 0;
    int cause = errno;
    miss(c, CONFINE_CGROUP, "%s cannot be written; try: systemd-run -p Delegate=yes", c->cgroups);
    free(c->cgroups);
    c->cgroups = NULL;
    errno = cause;
    return unreadable();
}

static int set_limits(const struct confinement *c, const char *path, const struct confine_need *need,
                      struct error *e)
{
    unsigned long long bytes = (need->shape.memory_mib + OVERHEAD_MIB) << 20, cpus = need->shape.vcpus + 1;
    cleanup_free char *memory = text_format("%llu", bytes);
    cleanup_free char *cpu = text_format("%llu %d", cpus * CPU_PERIOD_US, CPU_PERIOD_US);
    cleanup_free char *pids = text_format("%d", PROCESSES_MAX);
    /* Among cgroups only their weights count. */
    int nice = getpriority(PRIO_PROCESS, 0);
    cleanup_free char *weight = text_format("%d", nice);
    const struct {
        enum confine_part part;
        const char *file, *value;
    } limits[] = {{CONFINE_MEMORY, "memory.max", memory},
                  {CONFINE_CPU, "cpu.max", cpu},
                  {CONFINE_CPU, "cpu.weight.nice", weight},
                  {CONFINE_PIDS, "pids.max", pids},
                  {CONFINE_IO, "io.weight", nice > 0 ? "15" : "50"}};

    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
        if (c->have[limits[i].part] && write_file(path, limits[i].file, limits[i].value) < 0)
            return error_errno(e, "cannot set %s/%s", path, limits[i].file);
    /* Not there where the kernel has no swap. */
    if (c->have[CONFINE_MEMORY] && write_file(path, "memory.swap.max", "0") < 0 && errno != ENOENT)
        return error_errno(e, "cannot set %s/memory.swap.max", path);
    return 0;
}

int cgroup_make(const struct confinement *c, const struct confine_need *need, struct confined *ret,
                int *ret_fd, struct error *e)
{
    static atomic_uint counter;
    const char *id = strrchr(c->home->scratch, '/') + 1;
    cleanup_free char *path = text_format("%s/vm-%d-%s-%u", c->cgroups, (int)getpid(), id, counter++);

    ret->home = c->home;
    if (home_record_cgroup(c->home, path, &ret->cgroup_record, e) < 0)
        return -1;
    if (make_in_parent(c, path) < 0)
        return error_errno(e, "cannot create %s", path);
    ret->cgroup = text_copy(path);
    for (size_t i = 0; i < CONTROLLERS; i++)
        if (c->have[controllers[i].part] && pass_on(c, controllers[i].name) < 0)
            return error_errno(e, "cannot use the controller %s in %s", controllers[i].name, c->cgroups);
    if (set_limits(c, path, need, e) < 0)
        return -1;
    *ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *ret_fd < 0 ? error_errno(e, "cannot open %s", path) : 0;
}
