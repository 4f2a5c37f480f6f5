#include "core/usage.h"

#include "base/cleanup.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Adds the values, in kB, of the lines of path that begin with one of the names; false: it cannot be read. */
static bool sum_kib(const char *path, const char *const *names, uint64_t *ret)
{
    cleanup_file FILE *f = fopen(path, "re");
    unsigned long long value;
    char line[256];

    *ret = 0;
    if (!f)
        return false;
    while (fgets(line, sizeof(line), f))
        for (size_t i = 0; names[i]; i++)
            if (strncmp(line, names[i], strlen(names[i])) == 0 &&
                sscanf(line + strlen(names[i]), " %llu kB", &value) == 1)
                *ret += value * 1024;
    return true;
}

uint64_t usage_memory_available(void)
{
    uint64_t bytes;

    return sum_kib("/proc/meminfo", (const char *const[]){"MemAvailable:", NULL}, &bytes) && bytes
               ? bytes
               : UINT64_MAX;
}

uint64_t usage_memory_total(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t usage_disk_available(const char *path)
{
    struct statvfs v;

    return statvfs(path, &v) == 0 ? (uint64_t)v.f_bavail * v.f_frsize : 0;
}

uint64_t usage_anonymous(pid_t pid)
{
    unsigned long long resident = 0, shared = 0;
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    cleanup_file FILE *f = fopen(path, "re");
    if (!f || fscanf(f, "%*u %llu %llu", &resident, &shared) != 2 || resident < shared)
        return 0;
    return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t sum_of_pages(pid_t pid, const char *const *names)
{
    uint64_t bytes;
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    return sum_kib(path, names, &bytes) ? bytes : 0;
}

uint64_t usage_unique(pid_t pid)
{
    return sum_of_pages(pid, (const char *const[]){"Anonymous:", NULL});
}

uint64_t usage_private(pid_t pid)
{
    return sum_of_pages(pid, (const char *const[]){"Private_Clean:", "Private_Dirty:", NULL});
}

uint64_t usage_open_files(void)
{
    cleanup_dir DIR *d = opendir("/proc/self/fd");
    int count = -3; /* ".", ".." and the directory itself */

    while (d && readdir(d))
        count++;
    return count > 0 ? (uint64_t)count : 0;
}

uint64_t usage_resident(void)
{
    uint64_t bytes;

    return sum_kib("/proc/self/status", (const char *const[]){"VmRSS:", NULL}, &bytes) ? bytes : 0;
}

unsigned usage_processors(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);

    return online < 1 ? 1 : (unsigned)online;
}

int64_t usage_cpu_ns(pid_t pid)
{
    unsigned long long user = 0, system = 0;
    char path[64], line[1024];

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    cleanup_file FILE *f = fopen(path, "re");
    char *p =
        f && fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL; /* the command may hold anything */
    if (!p || sscanf(p + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu", &user, &system) != 2)
        return 0;
    return (int64_t)((user + system) * (1000000000ull / (unsigned long long)sysconf(_SC_CLK_TCK)));
}
