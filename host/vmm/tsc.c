#include "vmm/tsc.h"

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/file.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAMPLE_NS 20000000
#define KHZ_PER_MHZ 1000

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>

/* Intel SDM volume 3, "Invariant TSC": CPUID leaf 0x80000007, EDX bit 8. */
static int has_constant_rate(void)
{
    unsigned a, b, c, d;

    return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & 1u << 8);
}

static uint64_t measure(void)
{
    const struct timespec nap = {.tv_nsec = SAMPLE_NS};

    if (!has_constant_rate())
        return 0;
    int64_t start = clock_monotonic_ns();
    uint64_t first = __rdtsc();
    nanosleep(&nap, NULL);
    uint64_t ticks = __rdtsc() - first;
    int64_t ns = clock_monotonic_ns() - start;
    double khz = (double)ticks * 1e6 / (double)ns;
    return (uint64_t)(khz / KHZ_PER_MHZ + 0.5) * KHZ_PER_MHZ;
}

#else

static uint64_t measure(void)
{
    return 0;
}

#endif

int tsc_khz(uint64_t *ret, const struct home *h, struct error *e)
{
    cleanup_free char *path = home_path(h, "cache/tsc");
    cleanup_buffer struct buffer boot = {0};
    cleanup_buffer struct buffer known = {0};
    struct error ignored = {0};

    if (file_read("/proc/sys/kernel/random/boot_id", 64, &boot, e) < 0)
        return -1;
    const char *id = text_trim(boot.data);
    size_t size = strlen(id);
    if (file_exists(path) && file_read(path, 256, &known, &ignored) == 0 &&
        strncmp(known.data, id, size) == 0 && known.data[size] == ' ' &&
        text_to_u64(text_trim(known.data + size), 0, 1u << 24, ret))
        return 0;
    *ret = measure();
    cleanup_free char *line = text_format("%s %llu\n", id, (unsigned long long)*ret);
    return file_replace(path, h->scratch, line, strlen(line), 0600, e);
}
