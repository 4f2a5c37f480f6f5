/*
 * cgroup: a control group (cgroup v2, Documentation/admin-guide/cgroup-v2.rst) for each job.
 *
 * initd stays in the root group. Each job lives in a jobs/N, and all of jobs/ together gets less than the whole
 * memory, so that the kernel's OOM killer takes a job, never initd. Where there is no cgroup v2, every call
 * still works and does what it can: cgroup_enabled() tells.
 */
#ifndef INITD_CGROUP_H
#define INITD_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Its files that every job needs at its end; opened ahead, and once for all jobs that use the group. */
enum cgroup_file {
    CGROUP_KILL,
    CGROUP_PEAK,
    CGROUP_PROCESSES,
    CGROUP_COUNT,
    CGROUP_DELEGATED,
    CGROUP_OOM,
    CGROUP_FILES
};

struct cgroup {
    uint32_t id;             /* its directory is named so */
    int fd;                  /* the directory, owned; -1: the job has no cgroup */
    int files[CGROUP_FILES]; /* owned; -1: the kernel has no such file */
    uint64_t memory;         /* limits that are set; 0: none */
    uint32_t pids;
};

/* Controllers that a limit needs. */
enum cgroup_controller { CGROUP_MEMORY, CGROUP_PIDS, CGROUP_CPU, CGROUP_CONTROLLERS };

/* Takes over the hierarchy mounted at root, NULL: there is none. Before any other call. */
void cgroup_init(const char *root);
bool cgroup_enabled(void);
bool cgroup_has(enum cgroup_controller c);

/* Finds or makes a group for a job. Returns 0, also without cgroups (fd is -1 then), or -errno. */
int cgroup_make(struct cgroup *ret);

#define CGROUP_NONE ((struct cgroup){.fd = -1, .files = {[0 ... CGROUP_FILES - 1] = -1}})

/* Limits; 0: none. They do nothing without their controller. Returns 0 or -errno. */
int cgroup_limit(struct cgroup *g, uint64_t memory, uint32_t pids);

/* Moves a process here. For a child that could not be born here; safe between fork and exec. */
int cgroup_enter(const struct cgroup *g, pid_t pid);

/* SIGKILL to every process. Returns false when there is no group and the caller has to do it in other ways.
 */
bool cgroup_kill(const struct cgroup *g);

/* Some time after cgroup_kill(), which freezes where the kernel has no cgroup.kill: kills what is left, and the group can be
 * used again. */
void cgroup_thaw(const struct cgroup *g);

/* Another signal to every process. The same return. */
bool cgroup_signal(const struct cgroup *g, int signal);

/* Calls look(pid, data) for at most max processes until it returns true; that is the result. */
bool cgroup_find(const struct cgroup *g, bool (*look)(pid_t pid, void *data), void *data, unsigned max);

/* How many processes there are, those included that have ended and that nobody has waited for; 0 where it is not counted. */
uint64_t cgroup_processes(const struct cgroup *g);

/* What the kernel counted; 0 where it does not. Processor time also of jobs that had the group before. */
uint64_t cgroup_cpu_ns(const struct cgroup *g);
uint64_t cgroup_memory_peak(const struct cgroup *g);
uint64_t cgroup_oom_kills(const struct cgroup *g);
uint64_t cgroup_jobs_memory(void);

/* Memory of a group that only the end of its processes, or of its files in memory, gives back: not what is read from disks. */
uint64_t cgroup_held(const struct cgroup *g);

/* How much more of that kind all jobs together may have; UINT64_MAX: there is no limit. Cheap while much is left. */
uint64_t cgroup_jobs_room(void);

/* No process is there any more; without a group nobody can tell, and it is false. */
bool cgroup_is_empty(const struct cgroup *g);

/* Gives the group up. The next job gets it when it is as good as new; otherwise cgroup_tidy() removes it when its last
 * process is gone. *g becomes CGROUP_NONE. */
void cgroup_retire(struct cgroup *g);

/* Removes retired groups, some time after they were retired, unless many have piled up: it takes as long as a job. Returns
 * when to call again (sys_now() time), 0: there is nothing to do. */
uint64_t cgroup_tidy(uint64_t now);

#endif
