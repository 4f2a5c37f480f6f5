#include "cgroup.h"

#include "entries.h"
#include "kmsg.h"
#include "limits.h"
#include "sys.h"
#include "text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IDS_NOT_USED_AGAIN 300 /* RESERVED_PIDS of the kernel: below this no id is given a second time */
#define NUMBER_MAX 21          /* digits of a uint64_t, and a NUL */

static int jobs_fd = -1;        /* the directory jobs/ */
static int jobs_memory_fd = -1; /* its memory.current */
static uint64_t jobs_limit;     /* its memory.max; 0: none */
static bool has_controller[CGROUP_CONTROLLERS];
static struct cgroup retired[CGROUPS_RETIRED_MAX];
static unsigned retired_count;
static struct cgroup waiting[CGROUPS_WAITING_MAX];
static unsigned waiting_count;
static uint64_t tidy_at;

bool cgroup_enabled(void)
{
    return jobs_fd >= 0;
}

bool cgroup_has(enum cgroup_controller c)
{
    return has_controller[c];
}

static const char *number_text(char *buffer, uint64_t v)
{
    struct text t = text_of(buffer, NUMBER_MAX);

    text_add_u64(&t, v);
    return buffer;
}

/* ---- the hierarchy --------------------------------------------------------------------------- */

/* The jobs pass on what the root passes to them. */
static int enable(int root_fd, const char *controllers)
{
    int r = sys_write_text(root_fd, "cgroup.subtree_control", controllers);

    return r < 0 ? r : sys_write_text(jobs_fd, "cgroup.subtree_control", controllers);
}

static void enable_controllers(int root_fd)
{
    static const char *const names[CGROUP_CONTROLLERS] = {"+memory", "+pids", "+cpu"};
    bool all = enable(root_fd, "+memory +pids +cpu") == 0; /* costs as much as one of them */

    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        int r = all ? 0 : enable(root_fd, names[i]);
        if (r < 0)
            kmsg_log(KMSG_WARNING, "no cgroup controller", names[i], r);
        has_controller[i] = r == 0;
    }
}

/* A number of the kernel's; UINT64_MAX where it is not known. */
static uint64_t kernel_number(const char *file)
{
    char text[NUMBER_MAX + 1];
    uint64_t v;

    return sys_read_text(AT_FDCWD, file, text, sizeof(text)) > 0 && text_parse_u64(text, &v) ? v : UINT64_MAX;
}

/* How many threads there can be: so many that the kernel allows, and each has an id. */
static uint64_t threads_of_all(void)
{
    uint64_t threads = kernel_number("/proc/sys/kernel/threads-max");
    uint64_t ids = kernel_number("/proc/sys/kernel/pid_max");

    ids = ids > IDS_NOT_USED_AGAIN ? ids - IDS_NOT_USED_AGAIN : 0;
    return threads < ids ? threads : ids;
}

static void limit_all_jobs(void)
{
    char text[NUMBER_MAX + 1];

    if (has_controller[CGROUP_MEMORY]) {
        /* Nothing runs yet, so what is available now is what jobs can ever have. */
        uint64_t available = sys_memory_available();
        uint64_t reserve = available / 32;
        if (reserve < RESERVE_MEMORY_MIN)
            reserve = RESERVE_MEMORY_MIN;
        if (reserve > RESERVE_MEMORY_MAX)
            reserve = RESERVE_MEMORY_MAX;
        if (available > 2 * reserve &&
            sys_write_text(jobs_fd, "memory.max", number_text(text, available - reserve)) == 0)
            jobs_limit = available - reserve;
        jobs_memory_fd = openat(jobs_fd, "memory.current", O_RDONLY | O_CLOEXEC);
    }
    uint64_t threads = threads_of_all();
    if (has_controller[CGROUP_PIDS] && threads > 2 * RESERVE_THREADS && threads < UINT64_MAX / 2)
        sys_write_text(jobs_fd, "pids.max", number_text(text, threads - RESERVE_THREADS));
}

void cgroup_init(const char *root)
{
    int root_fd = root ? open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (root_fd >= 0 && sys_write_text(root_fd, "cgroup.subtree_control", "") == 0 &&
        (mkdirat(root_fd, "jobs", 0755) == 0 || errno == EEXIST))
        jobs_fd = openat(root_fd, "jobs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (jobs_fd < 0) {
        kmsg_log(KMSG_WARNING, "no cgroups: limits are weaker, and daemons can outlive their job", NULL, 0);
    } else {
        enable_controllers(root_fd);
        limit_all_jobs();
    }
    sys_close(&root_fd);
}

/* ---- one group ------------------------------------------------------------------------------- */

static void open_files(struct cgroup *g)
{
    static const char *const names[CGROUP_FILES] = {
        [CGROUP_KILL] = "cgroup.kill", /* since Linux 5.14 */
        [CGROUP_PEAK] = "memory.peak", /* since Linux 5.19 */
        [CGROUP_PROCESSES] = "cgroup.events",
        [CGROUP_COUNT] = "pids.current",
        [CGROUP_DELEGATED] = "cgroup.subtree_control",
        [CGROUP_OOM] = "memory.events",
    };

    for (int i = 0; i < CGROUP_FILES; i++)
        g->files[i] = openat(g->fd, names[i], (i == CGROUP_KILL ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
}

static void close_group(struct cgroup *g)
{
    sys_close(&g->fd);
    for (int i = 0; i < CGROUP_FILES; i++)
        sys_close(&g->files[i]);
}

static int make_group(struct cgroup *ret, uint32_t id)
{
    char name[NUMBER_MAX];

    number_text(name, id);
    if (mkdirat(jobs_fd, name, 0755) < 0 && errno != EEXIST)
        return -errno;
    int fd = openat(jobs_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    /* When memory runs out, the whole job goes, not one of its processes. */
    if (has_controller[CGROUP_MEMORY])
        sys_write_text(fd, "memory.oom.group", "1");
    *ret = (struct cgroup){.id = id, .fd = fd};
    open_files(ret);
    return 0;
}

/* Of one that is kept open. Returns how much there is, -1 when there is none. */
static ssize_t read_file(const struct cgroup *g, enum cgroup_file file, char *text, size_t size)
{
    ssize_t n = pread(g->files[file], text, size - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    return n;
}

/* Nor has anybody removed it meanwhile. */
bool cgroup_is_empty(const struct cgroup *g)
{
    char text[64];

    read_file(g, CGROUP_PROCESSES, text, sizeof(text));
    return strcmp(text, "populated 0\nfrozen 0\n") == 0;
}

/* For cgroup_tidy() to remove. */
static void discard(const struct cgroup *g)
{
    if (retired_count == CGROUPS_RETIRED_MAX) {
        /* Jobs that cannot be killed (uninterruptible sleep). Forget the oldest; it only costs a directory.
         */
        kmsg_log(KMSG_WARNING, "too many cgroups that cannot be removed", NULL, 0);
        close_group(&retired[0]);
        memmove(retired, retired + 1, --retired_count * sizeof(retired[0]));
    }
    retired[retired_count++] = *g;
}

int cgroup_make(struct cgroup *ret)
{
    static uint32_t next_id;

    while (waiting_count > 0) {
        *ret = waiting[0];
        memmove(waiting, waiting + 1, --waiting_count * sizeof(waiting[0]));
        if (cgroup_is_empty(ret))
            return 0;
        discard(ret);
    }
    *ret = CGROUP_NONE;
    return cgroup_enabled() ? make_group(ret, next_id++) : 0;
}

static int set_limit(const struct cgroup *g, const char *file, uint64_t value)
{
    char text[NUMBER_MAX];

    return sys_write_text(g->fd, file, value ? number_text(text, value) : "max");
}

int cgroup_limit(struct cgroup *g, uint64_t memory, uint32_t pids)
{
    int r = 0;

    if (g->fd < 0)
        return 0;
    if (memory != g->memory && has_controller[CGROUP_MEMORY])
        r = set_limit(g, "memory.max", memory);
    if (r < 0)
        return r;
    g->memory = memory;
    if (pids != g->pids && has_controller[CGROUP_PIDS])
        r = set_limit(g, "pids.max", pids);
    if (r == 0)
        g->pids = pids;
    return r;
}

int cgroup_enter(const struct cgroup *g, pid_t pid)
{
    char text[NUMBER_MAX];

    return g->fd < 0 ? 0 : sys_write_text(g->fd, "cgroup.procs", number_text(text, (uint64_t)pid));
}

bool cgroup_find(const struct cgroup *g, bool (*look)(pid_t pid, void *data), void *data, unsigned max)
{
    char text[2048];
    int fd = g->fd < 0 ? -1 : openat(g->fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    bool found = false;
    size_t kept = 0;

    while (fd >= 0 && !found && max > 0) {
        ssize_t n = read(fd, text + kept, sizeof(text) - 1 - kept);
        if (n <= 0)
            break;
        text[kept + (size_t)n] = '\0';
        char *line = text;
        for (char *end = strchr(line, '\n'); end && !found && max > 0; end = strchr(line, '\n')) {
            found = look((pid_t)text_leading_u64(line), data);
            line = end + 1;
            max--;
        }
        kept = strlen(line);
        memmove(text, line, kept);
    }
    sys_close(&fd);
    return found;
}

static bool send_signal(pid_t pid, void *data)
{
    /* 0: a process outside of our pid namespace; 1 is initd. */
    if (pid > 1)
        kill(pid, *(const int *)data);
    return false;
}

bool cgroup_signal(const struct cgroup *g, int signal)
{
    if (g->fd < 0)
        return false;
    cgroup_find(g, send_signal, &signal, UINT32_MAX);
    return true;
}

bool cgroup_kill(const struct cgroup *g)
{
    if (g->fd < 0)
        return false;
    if (write(g->files[CGROUP_KILL], "1", 1) == 1)
        return true;
    /* A frozen process can be killed but not fork, so this cannot be outrun for long; what was born meanwhile
     * is met again by the sweep, which kills until the group is empty. */
    sys_write_text(g->fd, "cgroup.freeze", "1");
    return cgroup_signal(g, SIGKILL);
}

void cgroup_thaw(const struct cgroup *g)
{
    cgroup_signal(g, SIGKILL); /* what was born while the others were killed cannot fork any more */
    if (g->fd >= 0)
        sys_write_text(g->fd, "cgroup.freeze", "0");
}

/* ---- what the kernel counted ----------------------------------------------------------------- */

uint64_t cgroup_cpu_ns(const struct cgroup *g)
{
    char text[1024];
    uint64_t us = 0;

    if (g->fd >= 0 && sys_read_text(g->fd, "cpu.stat", text, sizeof(text)) > 0)
        text_find_u64(text, "usage_usec", &us);
    return us * 1000;
}

/* The number that is all of a file; 0 where the kernel has none. */
static uint64_t number_in(const struct cgroup *g, enum cgroup_file file)
{
    char text[NUMBER_MAX + 1];
    uint64_t v;

    return read_file(g, file, text, sizeof(text)) > 0 && text_parse_u64(text, &v) ? v : 0;
}

uint64_t cgroup_processes(const struct cgroup *g)
{
    return number_in(g, CGROUP_COUNT);
}

uint64_t cgroup_memory_peak(const struct cgroup *g)
{
    return number_in(g, CGROUP_PEAK);
}

uint64_t cgroup_oom_kills(const struct cgroup *g)
{
    char text[256];
    uint64_t v = 0;

    read_file(g, CGROUP_OOM, text, sizeof(text));
    text_find_u64(text, "oom_kill", &v);
    return v;
}

uint64_t cgroup_jobs_memory(void)
{
    char text[NUMBER_MAX + 1];
    ssize_t n = pread(jobs_memory_fd, text, sizeof(text) - 1, 0);

    return n > 0 ? text_leading_u64(text) : 0;
}

static uint64_t held_in(int fd, uint64_t current)
{
    /* What can be written back or read again, cgroup-v2.rst: memory.stat. */
    static const char *const given_back[] = {"inactive_file", "active_file", "slab_reclaimable"};
    char text[2048]; /* they are in the first half of the file */
    uint64_t v;

    if (sys_read_text(fd, "memory.stat", text, sizeof(text)) <= 0)
        return current;
    for (size_t i = 0; i < sizeof(given_back) / sizeof(given_back[0]); i++)
        if (text_find_u64(text, given_back[i], &v))
            current -= v < current ? v : current;
    return current;
}

uint64_t cgroup_held(const struct cgroup *g)
{
    char text[NUMBER_MAX + 1];

    if (g->fd < 0 || sys_read_text(g->fd, "memory.current", text, sizeof(text)) <= 0)
        return 0;
    return held_in(g->fd, text_leading_u64(text));
}

uint64_t cgroup_jobs_room(void)
{
    uint64_t used = cgroup_jobs_memory();

    if (jobs_limit == 0)
        return UINT64_MAX;
    if (used + CGROUP_ROOM_PLENTY > jobs_limit)
        used = held_in(jobs_fd, used);
    return used < jobs_limit ? jobs_limit - used : 0;
}

/* ---- removal --------------------------------------------------------------------------------- */

/* Nothing in it makes a difference to another job, but for what a job of root wrote to the group's other files; such a
 * job could change those of all groups. */
static bool is_as_new(const struct cgroup *g)
{
    uint64_t peak = cgroup_memory_peak(g);
    struct stat st;
    char text[64];

    return peak > 0 && peak <= CGROUP_AGAIN_PEAK &&
           read_file(g, CGROUP_DELEGATED, text, sizeof(text)) == 0 && /* the group could take no process */
           fstat(g->fd, &st) == 0 && st.st_nlink == 2 &&              /* no groups in it */
           cgroup_oom_kills(g) == 0;
}

void cgroup_retire(struct cgroup *g)
{
    if (g->fd < 0)
        return;
    if (waiting_count < CGROUPS_WAITING_MAX && is_as_new(g))
        waiting[waiting_count++] = *g;
    else
        discard(g);
    *g = CGROUP_NONE;
}

static unsigned children_left; /* of what this sweep may remove */

/* Groups that the job has made inside of its own. Nothing lives in them. */
static void remove_children(int fd, unsigned depth)
{
    struct entries entries;
    const struct sys_dirent *e;

    lseek(fd, 0, SEEK_SET);
    entries_start(&entries, fd);
    while (children_left > 0 && (e = entries_next(&entries))) {
        if (e->type != DT_DIR)
            continue;
        children_left--;
        if (unlinkat(fd, e->name, AT_REMOVEDIR) == 0 || errno != EBUSY || depth == CGROUP_DEPTH_MAX)
            continue;
        int child = openat(fd, e->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (child >= 0)
            remove_children(child, depth + 1);
        sys_close(&child);
        unlinkat(fd, e->name, AT_REMOVEDIR);
    }
}

/* True when the group is gone. */
static bool remove_group(struct cgroup *g)
{
    char name[NUMBER_MAX];

    if (unlinkat(jobs_fd, number_text(name, g->id), AT_REMOVEDIR) < 0 && errno == EBUSY) {
        /* Somebody is still there: killed and not yet gone, or born while the others were killed one by one.
         */
        cgroup_kill(g);
        remove_children(g->fd, 0);
        return false;
    }
    close_group(g);
    return true;
}

static void sweep(void)
{
    unsigned kept = 0;

    children_left = CGROUP_CHILDREN_AT_ONCE;
    for (unsigned i = 0; i < retired_count; i++)
        if (!remove_group(&retired[i]))
            retired[kept++] = retired[i];
    retired_count = kept;
}

uint64_t cgroup_tidy(uint64_t now)
{
    if (retired_count == 0)
        return 0;
    if (tidy_at == 0 && retired_count < CGROUPS_RETIRED_MAX / 2)
        tidy_at = now + CGROUP_POSTPONE_MS * NS_PER_MS;
    if (now < tidy_at)
        return tidy_at;
    sweep();
    tidy_at = retired_count ? now + CGROUP_RETRY_MS * NS_PER_MS : 0;
    return tidy_at;
}
