#include "confine/confine.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "confine/calls.h"
#include "confine/cgroup.h"
#include "confine/ids.h"
#include "confine/plan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#define FILES_MAX 256
#define PROCESSES_MAX 64
/* Beside the guest's memory, with translated code (CODE_MIB of vmm/qemu.c). QEMU 7.2 and 10.0 took 420 MiB more than both with one vCPU,
 * 560 with four; each thread for input and output may take 8 for its stack. */
#define ADDRESS_SPACE_MIB 1536
#define SIGNALS_MAX 256
#define FILE_SIZE_MIB 64
#define REHEARSALS 5 /* while the host is short of something */
#define REHEARSAL_PAUSE_MS 40

static const struct {
    const char *name;
    uint64_t namespace;
} parts[CONFINE_PARTS] = {
    [CONFINE_USER] = {"own user id", 0},
    [CONFINE_FILES] = {"own files", CLONE_NEWNS},
    [CONFINE_PID] = {"own processes", CLONE_NEWPID},
    [CONFINE_NET] = {"no network", CLONE_NEWNET},
    [CONFINE_IPC] = {"own ipc", CLONE_NEWIPC},
    [CONFINE_UTS] = {"own host name", CLONE_NEWUTS},
    [CONFINE_CALLS] = {"listed system calls", 0},
    [CONFINE_VIOLATIONS] = {"violations by name", 0},
    [CONFINE_CGROUP] = {"own cgroup", 0},
    [CONFINE_MEMORY] = {"memory limit", 0},
    [CONFINE_CPU] = {"cpu limit", 0},
    [CONFINE_PIDS] = {"process limit", 0},
    [CONFINE_IO] = {"io weight", 0},
};

const char *confine_part_name(enum confine_part part)
{
    return parts[part].name;
}

static uint64_t namespaces(const struct confinement *c)
{
    uint64_t flags = c->have[CONFINE_USER] && geteuid() != 0 ? CLONE_NEWUSER : 0;

    for (int i = 0; i < CONFINE_PARTS; i++)
        if (c->have[i])
            flags |= parts[i].namespace;
    return flags;
}

uint64_t confine_namespaces(const struct confinement *c)
{
    return namespaces(c) & (CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS);
}

static void plan_done(struct plan *p)
{
    for (unsigned i = 0; i < p->bind_count; i++) {
        free(p->binds[i].path);
        free(p->binds[i].source);
    }
    free(p->stage);
    calls_done(p);
}

static void add_bind(struct plan *p, const char *path, bool directory, bool writable, bool device)
{
    char *source = realpath(path, NULL);

    if (p->bind_count < PLAN_BINDS_MAX)
        p->binds[p->bind_count++] = (struct plan_bind){.path = text_copy(path),
                                                       .source = source ? source : text_copy(path),
                                                       .directory = directory,
                                                       .writable = writable,
                                                       .device = device};
}

static void add_limit(struct plan *p, int resource, uint64_t value)
{
    struct rlimit now;

    /* Never more than there is already. */
    if (getrlimit((__rlimit_resource_t)resource, &now) == 0 && now.rlim_max != RLIM_INFINITY &&
        value > now.rlim_max)
        value = now.rlim_max;
    p->limits[p->limit_count].resource = resource;
    p->limits[p->limit_count++].limit = (struct rlimit){value, value};
}

/* Programs, libraries and firmware: /usr, and what of the old top-level directories is not a link into it. */
static void add_system(struct plan *p)
{
    static const char *const directories[] = {"/usr", "/lib", "/lib64", "/bin", "/lib32"};

    for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
        struct stat st;
        ssize_t n = 0;
        if (lstat(directories[i], &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode)) {
            add_bind(p, directories[i], true, false, false);
            continue;
        }
        char *target = p->link_targets[p->link_count];
        n = readlink(directories[i], target, sizeof(p->link_targets[0]) - 1);
        if (n <= 0)
            continue;
        target[n] = '\0';
        p->links[p->link_count][0] = directories[i];
        p->links[p->link_count++][1] = target;
    }
}

static void add_vmm(struct plan *p, const char *vmm)
{
    cleanup_free char *directory = text_copy(vmm);

    if (strncmp(vmm, "/usr/", 5) == 0)
        return;
    add_bind(p, vmm, false, false, false);
    *strrchr(directory, '/') = '\0';
    cleanup_free char *firmware = text_format("%s/../share/qemu", directory);
    cleanup_free char *resolved = realpath(firmware, NULL);
    if (resolved && strncmp(resolved, "/usr/", 5) != 0)
        add_bind(p, resolved, true, false, false);
}

/* What a script becomes nobody knows; without /proc/self/exe QEMU looks for its files where it was built to be. */
static bool is_script(const char *vmm)
{
    cleanup_fd int fd = open(vmm, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char head[2];

    return fd >= 0 && pread(fd, head, sizeof(head), 0) == sizeof(head) && memcmp(head, "#!", 2) == 0;
}

static void add_kvm(struct plan *p, const struct confinement *c)
{
    struct stat st;

    if (c->have[CONFINE_USER] && geteuid() == 0 && stat("/dev/kvm", &st) == 0)
        p->own_kvm = st.st_rdev;
    else
        add_bind(p, "/dev/kvm", false, false, true);
}

/* What all confined programs get. */
static void plan_begin(struct plan *p, const struct confinement *c)
{
    static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/urandom"};
    bool root = geteuid() == 0;

    *p = (struct plan){.user_namespace = !root && c->have[CONFINE_USER],
                       .files = c->have[CONFINE_FILES],
                       .uid = geteuid(),
                       .host_uid = geteuid(),
                       .gid = getegid(),
                       .host_gid = getegid(),
                       .stage = text_copy(c->home->scratch),
                       .handover = {-1, -1}};
    add_system(p);
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
        add_bind(p, devices[i], false, false, true);
    add_limit(p, RLIMIT_CORE, 0);
    add_limit(p, RLIMIT_MEMLOCK, 0);
    add_limit(p, RLIMIT_MSGQUEUE, 0);
    add_limit(p, RLIMIT_SIGPENDING, SIGNALS_MAX);
}

static void plan_vmm(struct plan *p, const struct confinement *c, const struct confine_need *need)
{
    plan_begin(p, c);
    if (need->kvm)
        add_kvm(p, c);
    if (need->vmm) {
        add_vmm(p, need->vmm);
        p->executable = is_script(need->vmm) ? NULL : need->vmm;
    }
    for (size_t i = 0; i < CONFINE_READABLE_MAX && need->readable[i]; i++)
        add_bind(p, need->readable[i], false, false, false);
    if (need->writable)
        add_bind(p, need->writable, false, true, false);

    uint64_t memory = need->shape.memory_mib << 20;
    add_limit(p, RLIMIT_NOFILE, FILES_MAX);
    add_limit(p, RLIMIT_AS, memory + ((uint64_t)ADDRESS_SPACE_MIB << 20));
    uint64_t largest =
        need->shape.disk_mib > need->shape.memory_mib ? need->shape.disk_mib : need->shape.memory_mib;
    add_limit(p, RLIMIT_FSIZE, (largest + FILE_SIZE_MIB) << 20);
    /* The kernel counts per user and user namespace, so only of use where the VM has one for itself. */
    if (c->have[CONFINE_USER])
        add_limit(p, RLIMIT_NPROC, PROCESSES_MAX);
}

/* ---- users ----------------------------------------------------------------------------------------- */

/* What a VM, or a front, writes belongs to its user while it runs; writable NULL: it writes nothing. A rehearsal executes nothing,
 * so that it does no harm when another VM has the id. */
static int take_user(struct confined *ret, const struct confinement *c, struct plan *p, const char *writable,
                     bool rehearsal, struct error *e)
{
    uint32_t id = c->first_id;

    if (geteuid() != 0 || !c->have[CONFINE_USER])
        return 0;
    if (!rehearsal && (ret->id_fd = confine_take_id(c, &id, e)) < 0)
        return -1;
    p->change_user = true;
    p->uid = p->gid = id;
    if (!writable)
        return 0;
    if (file_give_to(writable, id, id) < 0)
        return error_errno(e, "cannot give %s to user %u", writable, id);
    ret->writable = text_copy(writable);
    return 0;
}

void confine_release(struct confined *c)
{
    if (c->writable && file_give_to(c->writable, geteuid(), getegid()) < 0)
        c->writable[0] = '\0'; /* gone with its directory */
    if (c->cgroup)
        home_remove_cgroup(c->cgroup);
    /* The record of one that stays is for the next process to go by. */
    if (c->cgroup_record && !(c->cgroup && access(c->cgroup, F_OK) == 0))
        home_forget_cgroup(c->home, &c->cgroup_record);
    close_fd(&c->id_fd);
    guard_release(c->guarded);
    free(c->writable);
    free(c->cgroup);
    *c = CONFINED_NONE;
}

/* ---- spawn ----------------------------------------------------------------------------------------- */

/* Starts the child as planned. Each of glibc's arenas reserves 64 MiB of address space (mallopt(3), M_ARENA_MAX). */
static int carry_out(struct child *child, struct confined *ret, struct plan *p, const struct child_spec *spec,
                     const struct child_isolation *where, struct error *e)
{
    static const char *const environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", "MALLOC_ARENA_MAX=4", NULL};
    struct child_isolation isolation = *where;
    struct child_spec confined = *spec;

    isolation.envp = environment;
    isolation.enter = plan_enter;
    isolation.seal = plan_seal;
    isolation.attend = calls_attend;
    isolation.context = p;
    confined.isolation = &isolation;
    int result = child_spawn(child, &confined, e);
    ret->guarded = p->guarded;
    if (result == 0 && ret->guarded && guard_arm(ret->guarded, child->pidfd, e) < 0) {
        child_kill(child);
        return -1;
    }
    return result;
}

static int spawn_confine(struct child *child, struct confined *ret, const struct confinement *c,
                         const struct confine_need *need, const struct child_spec *spec, bool rehearsal,
                         struct error *e)
{
    cleanup_fd int cgroup = -1;
    struct plan p;

    *ret = CONFINED_NONE;
    if (c->have[CONFINE_CGROUP] && cgroup_make(c, need, ret, &cgroup, e) < 0)
        return -1;
    plan_vmm(&p, c, need);
    int result = take_user(ret, c, &p, need->writable, rehearsal, e);
    const struct child_isolation where = {
        .namespaces = namespaces(c), .cgroup_fd = cgroup, .rehearsal = rehearsal};
    if (result == 0)
        result = calls_plan(&p, c, FILTER_QEMU | (need->kvm ? FILTER_KVM : FILTER_TCG), e);
    if (result == 0)
        result = carry_out(child, ret, &p, spec, &where, e);
    plan_done(&p);
    return result;
}

int confine_spawn(struct child *child, struct confined *ret, const struct confinement *c,
                  const struct confine_need *need, const struct child_spec *spec, struct error *e)
{
    *ret = CONFINED_NONE;
    if (c->off)
        return child_spawn(child, spec, e);
    return spawn_confine(child, ret, c, need, spec, false, e);
}

int confine_spawn_front(struct child *child, struct confined *ret, const struct confinement *c,
                        const struct confine_front_need *need, const struct child_spec *spec, struct error *e)
{
    const struct child_isolation where = {.namespaces = namespaces(c), .cgroup_fd = -1};
    struct plan p;

    *ret = CONFINED_NONE;
    if (c->off)
        return child_spawn(child, spec, e);
    plan_begin(&p, c);
    add_bind(&p, need->program, false, false, false);
    add_bind(&p, need->readable, true, false, false);
    add_bind(&p, need->file, false, false, false);
    add_bind(&p, need->writable, true, true, false);
    int result = take_user(ret, c, &p, need->writable, false, e);
    if (result == 0)
        result = calls_plan(&p, c, FILTER_FRONT, e);
    if (result == 0)
        result = carry_out(child, ret, &p, spec, &where, e);
    plan_done(&p);
    return result;
}

/* ---- what there is --------------------------------------------------------------------------------- */

/* -1 with errno, too. */
static int rehearse(const struct confinement *c, struct error *e)
{
    const char *const argv[] = {"confined", NULL};
    const struct child_spec spec = {.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
    const struct confine_need need = {.shape.memory_mib = 64, .shape.vcpus = 1};
    struct child child = CHILD_NONE;
    struct confined held;

    errno = 0;
    int result = spawn_confine(&child, &held, c, &need, &spec, true, e);
    int cause = errno;
    child_kill(&child);
    confine_release(&held);
    errno = cause;
    return result;
}

/* 1: these parts can be had; 0: they cannot, and *e says why; -1: that remained unknown, and *e says why. */
static int try_parts(const struct confinement *c, struct error *e)
{
    for (int i = 0; i < REHEARSALS; i++) {
        if (i > 0)
            deadline_pause(REHEARSAL_PAUSE_MS);
        if (rehearse(c, e) == 0)
            return 1;
        if (!cgroup_may_pass(errno))
            return 0;
    }
    return -1;
}

static int try_cgroup(struct confinement *c, struct error *e)
{
    for (int i = 0; i < REHEARSALS; i++) {
        if (i > 0)
            deadline_pause(REHEARSAL_PAUSE_MS);
        if (cgroup_probe(c) == 0)
            return 0;
    }
    return error_errno(e, "cannot look for cgroups");
}

/* Everything at once works nearly everywhere. Where it does not, each part is tried on top of what works. */
static int probe(struct confinement *c, struct error *e)
{
    static const enum confine_part order[] = {CONFINE_CGROUP, CONFINE_VIOLATIONS, CONFINE_USER,
                                              CONFINE_PID,    CONFINE_NET,        CONFINE_IPC,
                                              CONFINE_UTS,    CONFINE_FILES};
    struct error why = {0};
    bool cgroup = c->have[CONFINE_CGROUP];

    for (size_t i = 1; i < sizeof(order) / sizeof(order[0]); i++)
        c->have[order[i]] = true;
    int can = try_parts(c, &why);
    if (can > 0)
        return 0;
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
        c->have[order[i]] = false;
    for (size_t i = 0; can >= 0 && i < sizeof(order) / sizeof(order[0]); i++) {
        if (order[i] == CONFINE_CGROUP && !cgroup)
            continue;
        c->have[order[i]] = true;
        can = try_parts(c, &why);
        if (can > 0)
            continue;
        c->have[order[i]] = false;
        snprintf(c->reason[order[i]], sizeof(c->reason[0]), "%.150s", why.text);
    }
    if (can < 0) {
        *e = why;
        return -1;
    }
    /* A user of its own could not reach the files in the state directory by their own names. */
    if (geteuid() == 0 && c->have[CONFINE_USER] && !c->have[CONFINE_FILES]) {
        c->have[CONFINE_USER] = false;
        snprintf(c->reason[CONFINE_USER], sizeof(c->reason[0]), "needs own files");
    }
    return 0;
}

/* The lenient filter tells nothing. */
static int decide_calls(struct confinement *c, const struct config *config, struct error *e)
{
    c->have[CONFINE_CALLS] = config->vmm_calls == CALLS_LISTED;
    for (int i = CONFINE_CALLS; i <= CONFINE_VIOLATIONS && !c->have[CONFINE_CALLS]; i++)
        snprintf(c->reason[i], sizeof(c->reason[i]), "vmm_calls is lenient");
    if (c->have[CONFINE_CALLS])
        c->guard = guard_open(e);
    return c->have[CONFINE_CALLS] && !c->guard ? -1 : 0;
}

int confine_decide(struct confinement *c, const struct config *config, struct home *home, struct error *e)
{
    *c = (struct confinement){.home = home, .off = config->confine == CONFINE_OFF};
    if (ids_decide(c, config->vm_uids, e) < 0) {
        confine_done(c);
        return -1;
    }
    if (c->off) {
        for (int i = 0; i < CONFINE_PARTS; i++)
            snprintf(c->reason[i], sizeof(c->reason[i]), "confine is off");
        return 0;
    }
    if (decide_calls(c, config, e) < 0 || try_cgroup(c, e) < 0 || probe(c, e) < 0) {
        confine_done(c);
        return error_wrap(e, "cannot find out how the VMM can be confined here; try again later");
    }
    cleanup_free char *missing = confine_missing(c);
    if (config->confine == CONFINE_STRICT && missing) {
        confine_done(c);
        return error_set(e, ERROR_GENERAL,
                         "confine is strict, but this is missing: %.600s; capsid doctor says why", missing);
    }
    return 0;
}

void confine_done(struct confinement *c)
{
    guard_close(c->guard);
    free(c->cgroups);
    buffer_free(&c->held);
    *c = (struct confinement){.off = true};
}

char *confine_missing(const struct confinement *c)
{
    struct buffer b = {0};

    for (int i = 0; i < CONFINE_PARTS; i++)
        if (!c->have[i])
            buffer_add_text(&b, "%s%s", b.size ? ", " : "", parts[i].name);
    return b.data;
}

int confine_sealed_begin(const char *path, struct error *e)
{
    cleanup_fd int to = memfd_create("capsid-sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct stat st;

    if (stat(path, &st) < 0)
        return error_errno(e, "cannot open %s", path);
    if (to < 0 || ftruncate(to, st.st_size) < 0)
        return error_errno(e, "cannot load %s into memory", path);
    return take_fd(&to);
}

int confine_sealed_fill(int to, const char *path, struct error *e)
{
    cleanup_fd int from = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (from < 0 || fstat(from, &st) < 0)
        return error_errno(e, "cannot open %s", path);
    for (off_t at = 0; at < st.st_size;) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            break; /* a hole up to the end */
        off_t end = data < 0 ? -1 : lseek(from, data, SEEK_HOLE);
        if (end < 0 || lseek(to, data, SEEK_SET) < 0)
            return error_errno(e, "cannot read %s", path);
        for (at = data; at < end;) {
            ssize_t n = sendfile(to, from, &at, (size_t)(end - at));
            if (n <= 0 && !(n < 0 && errno == EINTR))
                return error_set(e, ERROR_CORRUPT, "%s cannot be read to its end", path);
        }
    }
    if (lseek(to, 0, SEEK_SET) < 0 || file_seal(to) < 0)
        return error_errno(e, "cannot seal the copy of %s", path);
    return 0;
}
