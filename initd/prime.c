#include "prime.h"

#include "entries.h"
#include "sys.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROCESSES_LOOKED_AT 64
#define NS_PER_TICK (NS_PER_S / 100) /* proc_pid_stat(5): USER_HZ is 100 everywhere we run */

int prime_open(struct prime *p, const char *script, uint32_t uid, uint32_t gid)
{
    int r = text_join(p->script, sizeof(p->script), script, NULL);

    if (r == 0)
        r = sys_make_parents(script, uid, gid, &p->parents_made);
    if (r < 0)
        return r;
    if (mkfifo(script, 0644) < 0 && (errno != EEXIST || unlink(script) < 0 || mkfifo(script, 0644) < 0))
        return -errno;
    if (lchown(script, uid, gid) < 0) /* another job of this user may have put a symlink there meanwhile */
        return -errno;
    p->fifo_fd = open(script, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    return p->fifo_fd < 0 ? -errno : 0;
}

void prime_close(struct prime *p)
{
    /* A FIFO left behind would block whoever opens it. After FEED a file has its name. */
    if (p->fifo_fd >= 0 && p->source_fd < 0)
        unlink(p->script);
    sys_remove_parents(p->script, p->parents_made); /* which they hold otherwise */
    p->parents_made = 0;
    sys_close(&p->fifo_fd);
    sys_close(&p->source_fd);
}

/* ---- does it sleep? -------------------------------------------------------------------------- */

void prime_set_deadline(struct prime *p, uint32_t settle_ms, uint64_t now)
{
    p->deadline = now + settle_ms * NS_PER_MS;
    p->look_at = now;
}

/* Has process pid the FIFO open? */
static bool has_open(pid_t pid, void *data)
{
    const struct stat *fifo = data;
    struct entries entries;
    const struct sys_dirent *e;
    char path[64];
    struct text t = text_of(path, sizeof(path));
    bool found = false;

    text_add_u64(&t, (uint64_t)pid);
    text_add(&t, "/fd");
    int dir = openat(sys_proc(), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return false;
    entries_start(&entries, dir);
    while (!found && (e = entries_next(&entries))) {
        struct stat st;
        found = fstatat(dir, e->name, &st, 0) == 0 && st.st_ino == fifo->st_ino && st.st_dev == fifo->st_dev;
    }
    close(dir);
    return found;
}

/* Fills in the first process's state letter, and the processor time of all; proc_pid_stat(5). */
static int read_activity(pid_t pid, const struct cgroup *g, char *ret_state, uint64_t *ret_cpu)
{
    char line[512];
    const char *fields = sys_read_stat(pid, line, sizeof(line));

    if (!fields)
        return -ESRCH;
    const char *user = text_field(fields, 11);
    const char *system = text_field(fields, 12);
    if (!user || !system)
        return -ESRCH;
    *ret_state = fields[0];
    *ret_cpu = cgroup_enabled() ? cgroup_cpu_ns(g)
                                : (text_leading_u64(user) + text_leading_u64(system)) * NS_PER_TICK;
    return 0;
}

static bool script_is_open(const struct prime *p, pid_t pid, const struct cgroup *g)
{
    struct stat fifo;

    if (fstat(p->fifo_fd, &fifo) < 0)
        return false;
    return has_open(pid, &fifo) || cgroup_find(g, has_open, &fifo, PROCESSES_LOOKED_AT);
}

/* True when the script is open and nothing has been computed for a while. */
static bool sleeps(struct prime *p, pid_t pid, const struct cgroup *g, uint64_t now)
{
    char state;
    uint64_t cpu;

    if (!p->opened) {
        p->opened = script_is_open(p, pid, g);
        p->quiet_since = 0;
    }
    if (!p->opened || read_activity(pid, g, &state, &cpu) < 0)
        return false;
    if (state != 'S' || !p->quiet_since || cpu - p->quiet_cpu > PRIME_QUIET_CPU_NS) {
        p->quiet_since = now;
        p->quiet_cpu = cpu;
        return false;
    }
    return now - p->quiet_since >= PRIME_QUIET_MS * NS_PER_MS;
}

enum prime_progress prime_look(struct prime *p, pid_t pid, const struct cgroup *g, uint64_t now)
{
    if (now < p->look_at)
        return PRIME_WAITS;
    p->look_at = now + PRIME_LOOK_MS * NS_PER_MS;
    if (sleeps(p, pid, g, now))
        return PRIME_SLEEPS;
    return now >= p->deadline ? PRIME_LATE : PRIME_WAITS;
}

/* ---- FEED ------------------------------------------------------------------------------------ */

int prime_open_source(const char *source)
{
    struct stat st;
    int fd = open(source, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        return -errno;
    int r = fstat(fd, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -EINVAL;
    if (r < 0)
        close(fd);
    return r < 0 ? r : fd;
}

void prime_feed(struct prime *p, int source_fd, struct watch token)
{
    p->source_fd = source_fd;
    prime_write(p, token);
}

void prime_write(struct prime *p, struct watch token)
{
    char chunk[4096];

    while (p->source_fd >= 0) {
        ssize_t n = pread(p->source_fd, chunk, sizeof(chunk), (off_t)p->source_offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            /* All is written, or no more can be read. The interpreter sees the end of its script. */
            sys_close(&p->fifo_fd);
            sys_close(&p->source_fd);
            return;
        }
        ssize_t put = write(p->fifo_fd, chunk, (size_t)n);
        if (put > 0)
            p->source_offset += (uint64_t)put;
        else if (put < 0 && errno != EINTR)
            break;
    }
    if (p->source_fd >= 0 && !p->watched)
        p->watched = watch_add(p->fifo_fd, EPOLLOUT, token) == 0;
}
