#include "initd_stubs.h"

#include "../../initd/cgroup.h"
#include "../../initd/limits.h"
#include "../../initd/power.h"
#include "../../initd/root.h"
#include "../../initd/service.h"
#include "../../initd/spare.h"
#include "../../initd/spawn.h"
#include "../../initd/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/random.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FILES 8
#define FIFOS 64
#define QUEUE 256
#define ENTRIES 300 /* of a directory */

struct child stub_children[CHILDREN_MAX];
uint64_t stub_now;
bool stub_no_cgroup, stub_no_fork, stub_never_sleeps, stub_over;

static struct {
    pid_t pid;
    int status;
} zombies[QUEUE];
static unsigned zombie_count, helper_first, helper_next;
static pid_t next_child;
static uint32_t next_group;
static int signals = -1, terminal = -1, offered[4];
static unsigned offered_count;
/* A path's last letter chooses its file. */
static struct {
    int fd;
    bool is_fifo;
} files[FILES];
static struct {
    int ours;
    struct stat theirs; /* what fstat(2) says of initd's end */
} fifos[FIFOS];
static unsigned fifo_count;

/* ---- never on this machine -------------------------------------------------------------------- */

#define DENY(name)                                                                                           \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1),                                                   \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES)

void stub_confine(void)
{
    static struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        DENY(mount),
        DENY(umount2),
        DENY(reboot),
        DENY(sethostname),
        DENY(setdomainname),
        DENY(clock_settime),
        DENY(settimeofday),
        DENY(clock_adjtime),
        DENY(pivot_root),
        DENY(chroot),
        DENY(kill),
        DENY(mknodat),
        DENY(symlinkat),
        DENY(renameat2),
        DENY(fchownat),
        DENY(fchown),
        DENY(fchmod),
        DENY(utimensat),
        DENY(prlimit64),
#ifdef SYS_mknod
        DENY(mknod),
        DENY(symlink),
        DENY(chown),
        DENY(lchown),
#endif
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        abort();
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void stub_reset(void)
{
    uint64_t count;

    for (unsigned i = 0; i < CHILDREN_MAX; i++) {
        struct child *c = &stub_children[i];
        if (c->pid) {
            for (unsigned n = 0; n < 3; n++)
                close_fd(&c->fds[n]);
            close_fd(&c->status_fd);
        }
        *c = (struct child){0};
    }
    for (unsigned i = 0; i < FILES; i++) {
        if (files[i].fd > 0)
            close(files[i].fd);
        files[i].fd = -1;
        files[i].is_fifo = false;
    }
    for (unsigned i = 0; i < fifo_count; i++)
        close(fifos[i].ours);
    for (unsigned i = 0; i < offered_count; i++)
        close(offered[i]);
    close_fd(&terminal);
    fifo_count = zombie_count = offered_count = 0;
    helper_first = helper_next = 0;
    next_child = FIRST_CHILD;
    next_group = 1;
    stub_now = 1000 * NS_PER_S;
    stub_over = false;
    if (signals >= 0 && read(signals, &count, sizeof(count)) < 0 && errno != EAGAIN)
        abort();
}

/* ---- processes -------------------------------------------------------------------------------- */

static void add_zombie(pid_t pid, int status)
{
    const uint64_t one = 1;

    if (zombie_count == QUEUE)
        abort();
    zombies[zombie_count].pid = pid;
    zombies[zombie_count++].status = status;
    if (write(signals, &one, sizeof(one)) < 0)
        abort();
}

int fake_signalfd(int fd, const sigset_t *set, int flags);
int fake_signalfd(int fd, const sigset_t *set, int flags)
{
    (void)fd, (void)set, (void)flags;
    signals = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return signals;
}

pid_t fake_wait4(pid_t pid, int *status, int flags, struct rusage *usage);
pid_t fake_wait4(pid_t pid, int *status, int flags, struct rusage *usage)
{
    (void)flags;
    if (pid != -1)
        abort();
    if (zombie_count == 0)
        return 0;
    *usage = (struct rusage){.ru_maxrss = 1000};
    *status = zombies[0].status;
    pid = zombies[0].pid;
    memmove(&zombies[0], &zombies[1], --zombie_count * sizeof(zombies[0]));
    return pid;
}

uint8_t child_pattern(uint32_t pid, unsigned channel, uint64_t offset)
{
    return (uint8_t)(offset ^ offset >> 8 ^ pid * 31 ^ channel << 6);
}

int spawn_limit(pid_t pid, const struct spawn_limits *l)
{
    return sys_limit(pid, RLIMIT_NOFILE, l->files);
}

const char *spawn_step_name(uint32_t step)
{
    (void)step;
    return "step";
}

int spawn_check(const struct spawn *s)
{
    return s->argv.size > 4000 ? -E2BIG : 0;
}

pid_t spawn_run(const struct spawn *s)
{
    for (unsigned i = 0; i < CHILDREN_MAX; i++) {
        struct child *c = &stub_children[i];
        if (c->pid)
            continue;
        *c = (struct child){.pid = next_child++, .group = s->cgroup->id};
        for (unsigned n = 0; n < 3; n++) {
            /* Of a terminal one end is enough, so that its bytes have one order. */
            c->fds[n] = s->fds[n] > 2 && !(s->tty && n == 2) ? fcntl(s->fds[n], F_DUPFD_CLOEXEC, 3) : -1;
            if (c->fds[n] >= 0)
                sys_set_nonblock(c->fds[n]);
        }
        c->status_fd = fcntl(s->status_fd, F_DUPFD_CLOEXEC, 3);
        return c->pid;
    }
    return -EAGAIN;
}

/* ---- spare.c: every second job finds one ------------------------------------------------------ */

static struct child *waiting;

bool spare_take(struct spare *ret)
{
    struct spawn s = {.cgroup = &ret->cgroup};
    int *ours[4] = {&ret->in_fd, &ret->out_fds[0], &ret->out_fds[1], &ret->status_fd};
    int *theirs[4] = {&s.fds[0], &s.fds[1], &s.fds[2], &s.status_fd};

    if (next_child % 2 || cgroup_make(&ret->cgroup) < 0)
        return false;
    for (unsigned i = 0; i < 4; i++)
        if (sys_pipe(ours[i], theirs[i], i == 0) < 0)
            abort();
    ret->pid = spawn_run(&s);
    for (unsigned i = 0; i < 4; i++)
        close(*theirs[i]);
    ret->request_fd = -1;
    waiting = NULL;
    for (unsigned i = 0; i < CHILDREN_MAX; i++)
        if (ret->pid > 0 && stub_children[i].pid == ret->pid)
            waiting = &stub_children[i];
    if (!waiting)
        spare_drop(ret);
    return waiting;
}

int spawn_tell(int request_fd, const struct spawn *s, bool has_input)
{
    (void)request_fd;
    if (s->argv.size > 2000)
        return -EMSGSIZE;
    if (!has_input)
        close_fd(&waiting->fds[0]);
    return 0;
}

void spare_drop(struct spare *s)
{
    close_fd(&s->in_fd);
    close_fd(&s->out_fds[0]);
    close_fd(&s->out_fds[1]);
    close_fd(&s->status_fd);
    if (waiting && waiting->pid == s->pid)
        child_exit(waiting, SIGKILL, false);
    cgroup_retire(&s->cgroup);
}

void spare_prepare(void)
{
}

uint64_t spare_run_timers(uint64_t now)
{
    (void)now;
    return 0;
}

bool spare_is(pid_t pid)
{
    (void)pid;
    return false;
}

bool spare_on_child(pid_t pid)
{
    (void)pid;
    return false;
}

/* ---- children ---------------------------------------------------------------------------------- */

void child_exec(struct child *c, int os_errno)
{
    const struct spawn_failure failure = {.os_errno = os_errno};

    if (c->status_fd >= 0 && os_errno && write(c->status_fd, &failure, sizeof(failure)) < 0 && errno != EPIPE)
        abort();
    close_fd(&c->status_fd);
}

void child_close(struct child *c, unsigned n)
{
    close_fd(&c->fds[n]);
}

void child_write(struct child *c, unsigned n, size_t size)
{
    static uint8_t bytes[70000];

    if (c->fds[n] < 0 || size > sizeof(bytes))
        return;
    for (size_t i = 0; i < size; i++)
        bytes[i] = child_pattern((uint32_t)c->pid, n, c->written[n - 1] + i);
    ssize_t put = write(c->fds[n], bytes, size);
    if (put > 0)
        c->written[n - 1] += (uint64_t)put;
}

void child_read(struct child *c, size_t size)
{
    uint8_t bytes[4096];

    while (size > 0 && c->fds[0] >= 0) {
        ssize_t n = read(c->fds[0], bytes, size < sizeof(bytes) ? size : sizeof(bytes));
        if (n <= 0)
            return;
        size -= (size_t)n;
    }
}

static void end_child(struct child *c, int status)
{
    if (c->gone)
        return;
    c->gone = true;
    close_fd(&c->status_fd);
    close_fd(&c->fds[0]);
    add_zombie(c->pid, status);
}

void child_exit(struct child *c, int status, bool leave_output)
{
    end_child(c, status);
    if (leave_output)
        return;
    for (unsigned n = 0; n < 3; n++)
        close_fd(&c->fds[n]);
    c->pid = 0;
}

int fake_kill(pid_t pid, int signal);
int fake_kill(pid_t pid, int signal)
{
    if (pid == 0 || pid == -1 || pid == 1) /* would have been initd itself, or everything */
        abort();
    for (unsigned i = 0; i < CHILDREN_MAX; i++) {
        struct child *c = &stub_children[i];
        if (c->pid != (pid < 0 ? -pid : pid) || (pid > 0 && c->gone))
            continue;
        if (signal == SIGKILL)
            child_exit(c, SIGKILL, pid > 0);
        return 0;
    }
    errno = ESRCH;
    return -1;
}

bool helper_exit(int code)
{
    if (helper_first == helper_next)
        return false;
    add_zombie((pid_t)(FIRST_HELPER + helper_first++), code << 8);
    return true;
}

int helper_count(void)
{
    return (int)helper_next;
}

pid_t sys_fork(void)
{
    return stub_no_fork ? -EAGAIN : (pid_t)(FIRST_HELPER + helper_next++);
}

/* ---- root.c ----------------------------------------------------------------------------------- */

static unsigned root_layers;
static bool root_has_disk;

/* A disk whose name begins with x is none. */
int root_make(const struct root_plan *plan, const char **ret_step)
{
    *ret_step = "layer x";
    if (!plan->bare || plan->layer_count == 0 || plan->layer_count > LAYERS_MAX)
        abort();
    for (unsigned i = 0; i < plan->layer_count; i++) {
        const char *name = plan->layers[i].device;
        if (!name[0] || strchr(name, '/') || strlen(name) >= DEVICE_NAME_MAX)
            abort();
        if (name[0] == 'x')
            return -ENOENT;
    }
    if (strchr(plan->upper, '/') || strlen(plan->upper) >= DEVICE_NAME_MAX)
        abort();
    root_layers = plan->layer_count;
    root_has_disk = plan->upper[0];
    return 0;
}

int root_enter(const struct root_plan *plan, const char **ret_step)
{
    *ret_step = "pivot_root";
    return plan->upper[0] == 'x' ? -EBUSY : 0;
}

bool root_is_changed(void)
{
    return root_has_disk;
}

bool root_can_seal(unsigned fold)
{
    return root_has_disk && fold <= root_layers;
}

int root_seal(unsigned fold)
{
    for (unsigned i = 0; i < CHILDREN_MAX; i++)
        if (stub_children[i].pid)
            child_exit(&stub_children[i], SIGKILL, false);
    return fold == 3 ? -ENOSPC : 0;
}

/* ---- cgroup.c, power.c, service.c ---------------------------------------------------------------------- */

bool cgroup_enabled(void)
{
    return !stub_no_cgroup;
}

bool cgroup_has(enum cgroup_controller c)
{
    return c != CGROUP_PIDS && !stub_no_cgroup;
}

int cgroup_make(struct cgroup *ret)
{
    *ret = CGROUP_NONE;
    ret->id = next_group++;
    return ret->id % 16 == 15 ? -ENOSPC : 0;
}

int cgroup_limit(struct cgroup *g, uint64_t memory, uint32_t pids)
{
    (void)g;
    return memory == 4096 || pids == 77 ? -EINVAL : 0;
}

static bool signal_group(const struct cgroup *g, int signal)
{
    if (stub_no_cgroup || !g->id)
        return false;
    for (unsigned i = 0; i < CHILDREN_MAX; i++)
        if (stub_children[i].pid && stub_children[i].group == g->id && signal == SIGKILL)
            child_exit(&stub_children[i], SIGKILL, false);
    return true;
}

bool cgroup_kill(const struct cgroup *g)
{
    return signal_group(g, SIGKILL);
}

bool cgroup_signal(const struct cgroup *g, int signal)
{
    return signal_group(g, signal);
}

bool cgroup_is_empty(const struct cgroup *g)
{
    if (stub_no_cgroup || !g->id)
        return false;
    for (unsigned i = 0; i < CHILDREN_MAX; i++)
        if (stub_children[i].pid && stub_children[i].group == g->id)
            return false;
    return true;
}

bool cgroup_find(const struct cgroup *g, bool (*look)(pid_t pid, void *data), void *data, unsigned max)
{
    (void)g, (void)look, (void)data, (void)max;
    return false;
}

uint64_t cgroup_cpu_ns(const struct cgroup *g)
{
    (void)g;
    return stub_never_sleeps ? stub_now : 5 * NS_PER_MS;
}

uint64_t cgroup_processes(const struct cgroup *g)
{
    return g->id % 4 == 3; /* somebody traces it, and it never goes */
}

uint64_t cgroup_memory_peak(const struct cgroup *g)
{
    return g->id;
}

uint64_t cgroup_oom_kills(const struct cgroup *g)
{
    return g->id & 1;
}

uint64_t cgroup_jobs_memory(void)
{
    return 1;
}

bool power_signal_asks(int number, uint8_t *ret_action)
{
    (void)number, (void)ret_action;
    return false;
}

uint64_t cgroup_held(const struct cgroup *g)
{
    return g->id % 8 == 7 ? 2 << 20 : 0; /* memory is always short, see sys_memory_available() */
}

uint64_t cgroup_jobs_room(void)
{
    return UINT64_MAX;
}

void cgroup_retire(struct cgroup *g)
{
    *g = CGROUP_NONE;
}

uint64_t cgroup_tidy(uint64_t now)
{
    (void)now;
    return 0;
}

pid_t service_pid(void)
{
    return 0;
}

const struct cgroup *service_group(void)
{
    return NULL;
}

void service_kill_for_memory(void)
{
    abort();
}

bool service_is_starting(pid_t pid)
{
    (void)pid;
    return false;
}

bool service_on_child(pid_t pid, int status, uint64_t now)
{
    (void)pid, (void)status, (void)now;
    return false;
}

uint64_t service_run_timers(uint64_t now)
{
    (void)now;
    return 0;
}

bool service_asks_end(uint8_t *ret_action)
{
    *ret_action = 0;
    return stub_over;
}

/* ---- sys.c ------------------------------------------------------------------------------------ */

uint64_t sys_now(void)
{
    return stub_now += 1000;
}

uint64_t sys_earlier(uint64_t a, uint64_t b)
{
    return !a || (b && b < a) ? b : a;
}

uint64_t sys_wall_clock(void)
{
    return 1700000000 * NS_PER_S + stub_now;
}

void sys_give_back(void *start, size_t size)
{
    madvise(start, size, MADV_DONTNEED);
}

uint64_t sys_memory_free(void)
{
    return 0;
}

uint64_t sys_memory_available(void)
{
    return 1 << 20;
}

uint64_t sys_resident_size(pid_t pid)
{
    return (uint64_t)pid % 4 << 20;
}

unsigned sys_processors(void)
{
    return 2;
}

int sys_limit(pid_t pid, int which, uint64_t value)
{
    (void)pid, (void)which;
    return value == 77 ? -EPERM : 0;
}

void sys_close(int *fd)
{
    close_fd(fd);
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
    *ret_ours = ends[our_end];
    *ret_theirs = ends[!our_end];
    return sys_set_nonblock(*ret_ours);
}

ssize_t sys_read_text(int dir_fd, const char *path, char *buffer, size_t size)
{
    static const char stat_text[] = "1000 (x) S 1 1 1 0 -1 0 0 0 0 0 3 4 0 0";

    (void)dir_fd;
    if (strncmp(path, "/proc/", 6) != 0 || size < sizeof(stat_text))
        return -ENOENT;
    memcpy(buffer, stat_text, sizeof(stat_text));
    if (stub_never_sleeps)
        buffer[9] = 'R';
    return sizeof(stat_text) - 1;
}

const char *sys_read_stat(pid_t pid, char *buffer, size_t size)
{
    (void)pid;
    return sys_read_text(AT_FDCWD, "/proc/", buffer, size) > 0 ? buffer + 9 : NULL; /* the state */
}

int sys_proc(void)
{
    return -1;
}

void sys_remove_parents(const char *path, size_t made)
{
    (void)path, (void)made;
}

int sys_make_parents(const char *path, uid_t uid, gid_t gid, size_t *ret_made)
{
    (void)path, (void)gid;
    *ret_made = 0;
    return uid == 77 ? -EACCES : 0;
}

/* A directory is an empty memfd whose position counts entries. */
ssize_t sys_getdents(int fd, void *buffer, size_t size)
{
    uint8_t *at = buffer;
    off_t position = lseek(fd, 0, SEEK_CUR);

    if (position < 0)
        return -errno;
    while (position < ENTRIES && size >= 64) {
        struct sys_dirent *e = (void *)at;
        e->inode = (uint64_t)position + 1;
        e->offset = position + 1;
        e->size = 32;
        e->type = 0;
        memcpy(e->name, position == 0 ? "." : "entry-00", position == 0 ? 2 : 9);
        if (position > 0) {
            e->name[6] = (char)('A' + position / 26);
            e->name[7] = (char)('a' + position % 26);
        }
        position++;
        at += 32;
        size -= 32;
    }
    lseek(fd, position, SEEK_SET);
    return at - (uint8_t *)buffer;
}

static unsigned file_of(const char *path)
{
    return (uint8_t)path[strlen(path) ? strlen(path) - 1 : 0] % FILES;
}

static void take_off(unsigned i)
{
    close_fd(&files[i].fd);
    files[i].is_fifo = false;
}

int sys_rename(const char *from, const char *to)
{
    unsigned source = file_of(from), target = file_of(to);

    if (files[source].fd < 0 && !files[source].is_fifo)
        return -ENOENT;
    if (source == target)
        return 0;
    take_off(target);
    files[target] = files[source];
    files[source].fd = -1;
    files[source].is_fifo = false;
    return 0;
}

/* ---- files ------------------------------------------------------------------------------------ */

static int fail(int error)
{
    errno = error;
    return -1;
}

/* initd's end; the other one is kept. */
static int open_pair(int *ret_theirs)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -1;
    *ret_theirs = pair[1];
    return pair[0];
}

void fifo_drain(void)
{
    char bytes[4096];

    for (unsigned i = 0; i < fifo_count; i++)
        while (read(fifos[i].ours, bytes, sizeof(bytes)) > 0) {
        }
}

static int open_file(unsigned i, int flags)
{
    int fd;

    if (files[i].is_fifo) {
        if (fifo_count == FIFOS)
            return fail(EMFILE);
        fd = open_pair(&fifos[fifo_count].ours);
        if (fd >= 0 && fstat(fd, &fifos[fifo_count++].theirs) < 0)
            abort();
        return fd;
    }
    if ((flags & O_EXCL) && files[i].fd >= 0) /* a temporary name is always a new one */
        take_off(i);
    if (files[i].fd < 0 && !(flags & O_CREAT))
        return fail(ENOENT);
    if (files[i].fd < 0)
        files[i].fd = memfd_create("file", MFD_CLOEXEC);
    if ((flags & O_TRUNC) && ftruncate(files[i].fd, 0) < 0)
        return -1;
    return fcntl(files[i].fd, F_DUPFD_CLOEXEC, 3);
}

int fake_openat(int dir, const char *path, int flags, ...);
int fake_openat(int dir, const char *path, int flags, ...)
{
    (void)dir;
    if (strcmp(path, "ptmx") == 0) {
        close_fd(&terminal);
        return open_pair(&terminal);
    }
    if (strcmp(path, "/dev/urandom") == 0 || (flags & O_DIRECTORY))
        return strlen(path) > 200 ? fail(ENOTDIR) : memfd_create("other", MFD_CLOEXEC);
    return open_file(file_of(path), flags);
}

int fake_open(const char *path, int flags, ...);
int fake_open(const char *path, int flags, ...)
{
    return fake_openat(AT_FDCWD, path, flags);
}

int fake_ioctl(int fd, unsigned long request, ...);
int fake_ioctl(int fd, unsigned long request, ...)
{
    int r = 0;

    (void)fd;
    if (request == TIOCGPTPEER) {
        r = terminal;
        terminal = -1;
    }
    return r;
}

int fake_mkfifo(const char *path, mode_t mode);
int fake_mkfifo(const char *path, mode_t mode)
{
    unsigned i = file_of(path);

    (void)mode;
    if (files[i].fd >= 0 || files[i].is_fifo)
        return fail(EEXIST);
    files[i].is_fifo = true;
    return 0;
}

int fake_unlink(const char *path);
int fake_unlink(const char *path)
{
    unsigned i = file_of(path);

    if (i == 5)
        return fail(EISDIR);
    if (files[i].fd < 0 && !files[i].is_fifo)
        return fail(ENOENT);
    take_off(i);
    return 0;
}

int fake_fstatat(int dir, const char *path, struct stat *st, int flags);
int fake_fstatat(int dir, const char *path, struct stat *st, int flags)
{
    (void)flags;
    /* In /proc/PID/fd: every interpreter has the newest FIFO open. */
    if (dir != AT_FDCWD && fifo_count) {
        *st = fifos[fifo_count - 1].theirs;
        return 0;
    }
    if (dir != AT_FDCWD)
        return fstat(dir, st);
    *st = (struct stat){.st_mode = S_IFREG | 0644, .st_size = 5};
    if (file_of(path) == 3)
        st->st_mode = S_IFLNK | 0777;
    return files[file_of(path)].fd < 0 ? fail(ENOENT) : 0;
}

ssize_t fake_readlink(const char *path, char *target, size_t size);
ssize_t fake_readlink(const char *path, char *target, size_t size)
{
    (void)path;
    memset(target, 'x', size);
    return (ssize_t)size;
}

/* What has no effect that initd sees again. */
#define NOTHING(type, name, parameters)                                                                      \
    type fake_##name parameters;                                                                             \
    type fake_##name parameters                                                                              \
    {                                                                                                        \
        return (type)0;                                                                                      \
    }

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
NOTHING(int, chown, (const char *path, uid_t uid, gid_t gid))
NOTHING(int, clock_settime, (clockid_t clock, const struct timespec *t))
NOTHING(int, fchmod, (int fd, mode_t mode))
NOTHING(int, fchown, (int fd, uid_t uid, gid_t gid))
NOTHING(int, fchownat, (int dir, const char *path, uid_t uid, gid_t gid, int flags))
NOTHING(int, futimens, (int fd, const struct timespec *times))
NOTHING(int, lchown, (const char *path, uid_t uid, gid_t gid))
NOTHING(int, mkdir, (const char *path, mode_t mode))
NOTHING(int, mkdirat, (int dir, const char *path, mode_t mode))
NOTHING(int, mount, (const char *s, const char *t, const char *f, unsigned long flags, const void *data))
NOTHING(int, rmdir, (const char *path))
NOTHING(int, sethostname, (const char *name, size_t size))
NOTHING(int, symlink, (const char *target, const char *path))
NOTHING(int, symlinkat, (const char *target, int dir, const char *path))
NOTHING(int, umount2, (const char *path, int flags))
NOTHING(int, unlinkat, (int dir, const char *path, int flags))
NOTHING(int, utimensat, (int dir, const char *path, const struct timespec *times, int flags))
#pragma GCC diagnostic pop

void fake_sync(void);
void fake_sync(void)
{
}

/* ---- connections ------------------------------------------------------------------------------ */

void stub_offer(int fd)
{
    if (offered_count == sizeof(offered) / sizeof(offered[0]))
        abort();
    offered[offered_count++] = fd;
}

bool stub_offered(void)
{
    return offered_count > 0;
}

int fake_accept4(int fd, void *address, socklen_t *size, int flags);
int fake_accept4(int fd, void *address, socklen_t *size, int flags)
{
    (void)fd, (void)address, (void)size, (void)flags;
    return offered_count ? offered[--offered_count] : fail(EAGAIN);
}

int fake_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout_ms);
int fake_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout_ms)
{
    return script_step(epoll, events, max, timeout_ms);
}
