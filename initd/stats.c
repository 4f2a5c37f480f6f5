#include "stats.h"

#include "cgroup.h"
#include "job.h"
#include "sys.h"

#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

void stats_fill(struct msg_usage *ret)
{
    struct sysinfo info;
    struct statvfs fs;

    *ret = (struct msg_usage){
        .uptime_ns = sys_now(), .initd_rss = sys_resident_size(getpid()), .jobs = job_count()};
    ret->jobs_memory = cgroup_jobs_memory();
    if (sysinfo(&info) == 0) {
        ret->memory_total = (uint64_t)info.totalram * info.mem_unit;
        ret->load_milli = (uint32_t)(info.loads[0] * 1000ull >> SI_LOAD_SHIFT);
        ret->processes = info.procs;
    }
    ret->memory_available = sys_memory_available();
    if (statvfs("/", &fs) == 0) {
        ret->disk_total = (uint64_t)fs.f_blocks * fs.f_frsize;
        ret->disk_free = (uint64_t)fs.f_bavail * fs.f_frsize;
    }
}
