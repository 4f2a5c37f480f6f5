#include "confine/cgroup.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MAKE_TRIES 10
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

/* A word of a file such as cgroup.controllers. */
static bool has_word(const char *directory, const char *name, const char *word)
{
    cleanup_free char *path = text_format("%s/%s", directory, name);
    cleanup_file FILE *f = fopen(path, "re");
    char found[64];

    while (f && fscanf(f, "%63s", found) == 1)
        if (strcmp(found, word) == 0)
            return true;
    return false;
}

/* Where cgroup v2 is mounted; NULL: nowhere. The caller frees it. */
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

/* The controllers must be passed on by each directory above. Where processes are in the cgroup itself the kernel
 * refuses ("no internal processes", cgroups(7)). */
static void probe_controllers(struct confinement *c, const char *above)
{
    for (size_t i = 0; i < CONTROLLERS; i++) {
        cleanup_free char *enable = text_format("+%s", controllers[i].name);
        enum confine_part part = controllers[i].part;
        if (above && !has_word(above, "cgroup.controllers", controllers[i].name)) {
            miss(c, part, "cgroup v2 has no controller %s here; cgroup v1 may hold it", controllers[i].name);
            continue;
        }
        if (above)
            write_file(above, "cgroup.subtree_control", enable);
        write_file(c->cgroups, "cgroup.subtree_control", enable);
        c->have[part] = has_word(c->cgroups, "cgroup.subtree_control", controllers[i].name);
        if (!c->have[part])
            miss(c, part, "controller %s cannot be passed on to a cgroup; try: systemd-run -p Delegate=yes",
                 controllers[i].name);
    }
}

static int make_parent(const struct confinement *c)
{
    return mkdir(c->cgroups, 0755) == 0 || errno == EEXIST ? 0 : -1;
}

void cgroup_probe(struct confinement *c)
{
    cleanup_free char *mount = find_mount();
    cleanup_free char *own = mount ? own_cgroup(mount) : NULL;
    bool root = geteuid() == 0;

    for (size_t i = 0; i < CONTROLLERS; i++)
        miss(c, controllers[i].part, "%s", "there is no cgroup for it");
    if (!own) {
        miss(c, CONFINE_CGROUP, "%s", "cgroup v2 is not mounted");
        return;
    }
    /* Root's are directly below the top; others have at most what was delegated to them. */
    c->cgroups = root ? text_format("%s/capsid", mount) : text_copy(own);
    if ((root && make_parent(c) < 0) || access(c->cgroups, W_OK) < 0) {
        miss(c, CONFINE_CGROUP, "%s cannot be written; try: systemd-run -p Delegate=yes", c->cgroups);
        free(c->cgroups);
        c->cgroups = NULL;
        return;
    }
    c->have[CONFINE_CGROUP] = true;
    probe_controllers(c, root ? mount : NULL);
    if (root)
        rmdir(c->cgroups);
}

static int set_limits(const struct confinement *c, const char *path, const struct confine_need *need,
                      struct error *e)
{
    unsigned long long bytes = (need->memory_mib + OVERHEAD_MIB) << 20, cpus = need->vcpus + 1;
    cleanup_free char *memory = text_format("%llu", bytes);
    cleanup_free char *cpu = text_format("%llu %d", cpus * CPU_PERIOD_US, CPU_PERIOD_US);
    cleanup_free char *pids = text_format("%d", PROCESSES_MAX);
    const struct {
        enum confine_part part;
        const char *file, *value;
    } limits[] = {{CONFINE_MEMORY, "memory.max", memory},
                  {CONFINE_CPU, "cpu.max", cpu},
                  {CONFINE_PIDS, "pids.max", pids},
                  {CONFINE_IO, "io.weight", "50"}};

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
    int made = -1;

    ret->home = c->home;
    if (home_record_cgroup(c->home, path, &ret->cgroup_record, e) < 0)
        return -1;
    /* Another process may remove the directory above, when its last VM has ended. */
    for (int i = 0; made < 0 && i < MAKE_TRIES; i++) {
        if (make_parent(c) == 0 && (made = mkdir(path, 0755)) < 0 && errno != ENOENT)
            break;
        for (size_t k = 0; made == 0 && k < CONTROLLERS; k++) {
            cleanup_free char *enable = text_format("+%s", controllers[k].name);
            if (c->have[controllers[k].part] && write_file(c->cgroups, "cgroup.subtree_control", enable) < 0)
                return error_errno(e, "cannot use the controller %s in %s", controllers[k].name, c->cgroups);
        }
    }
    if (made < 0)
        return error_errno(e, "cannot create %s", path);
    ret->cgroup = text_copy(path);
    if (set_limits(c, path, need, e) < 0)
        return -1;
    *ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *ret_fd < 0 ? error_errno(e, "cannot open %s", path) : 0;
}
