#include "stats.h"

#include "cgroup.h"
#include "job.h"
#include "sys.h"

#include <errno.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

int stats_disk(const char *path, struct msg_disk_info *ret)
{
    struct statvfs fs;

    *ret = (struct msg_disk_info){0};
    if (statvfs(path, &fs) < 0)
        return -errno;
    ret->total = (uint64_t)fs.f_blocks * fs.f_frsize;
    ret->free = (uint64_t)fs.f_bavail * fs.f_frsize;
    ret->names = fs.f_files;
    ret->names_free = fs.f_favail;
    return 0;
}

void stats_fill(struct msg_usage *ret)
{
    struct msg_disk_info disk;
    struct sysinfo info;

    *ret = (struct msg_usage){
        .uptime_ns = sys_now(), .initd_rss = sys_resident_size(getpid()), .jobs = job_count()};
    ret->jobs_memory = cgroup_jobs_memory();
    if (sysinfo(&info) == 0) {
        ret->memory_total = (uint64_t)info.totalram * info.mem_unit;
        ret->load_milli = (uint32_t)(info.loads[0] * 1000ull >> SI_LOAD_SHIFT);
        ret->processes = info.procs;
    }
    ret->memory_available = sys_memory_available();
    stats_disk("/", &disk);
    ret->disk_total = disk.total;
    ret->disk_free = disk.free;
}
