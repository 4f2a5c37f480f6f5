#include "vmm/tsc.h"

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAMPLE_NS 20000000
#define READINGS 8
#define LOCK_MS 10000
#define CACHE "tsc"
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

struct reading {
    uint64_t ticks;
    int64_t ns;
};

/* Both clocks at one time. On a busy machine this thread may be put aside between the two, so the closest of some
 * readings counts. */
static struct reading read_clocks(void)
{
    struct reading closest = {0};
    int64_t least = INT64_MAX;

    for (int i = 0; i < READINGS; i++) {
        int64_t before = clock_monotonic_ns();
        uint64_t ticks = __rdtsc();
        int64_t took = clock_monotonic_ns() - before;
        if (took < least) {
            least = took;
            closest = (struct reading){.ticks = ticks, .ns = before + took / 2};
        }
    }
    return closest;
}

static uint64_t measure(void)
{
    const struct timespec nap = {.tv_nsec = SAMPLE_NS};

    if (!has_constant_rate())
        return 0;
    struct reading first = read_clocks();
    nanosleep(&nap, NULL);
    struct reading last = read_clocks();
    double khz = (double)(last.ticks - first.ticks) * 1e6 / (double)(last.ns - first.ns);
    return (uint64_t)(khz / KHZ_PER_MHZ + 0.5) * KHZ_PER_MHZ;
}

#else

static uint64_t measure(void)
{
    return 0;
}

#endif

/* What this boot's measurement found, if there was one. */
static bool read_known(const struct home *h, const char *boot, uint64_t *ret)
{
    cleanup_buffer struct buffer known = {0};
    size_t size = strlen(boot);

    return home_cache_read(h, CACHE, 256, &known) && strncmp(known.data, boot, size) == 0 &&
           known.data[size] == ' ' && text_to_u64(text_trim(known.data + size), 0, 1u << 24, ret);
}

int tsc_khz(uint64_t *ret, const struct home *h, struct error *e)
{
    cleanup_buffer struct buffer boot = {0};

    if (file_read("/proc/sys/kernel/random/boot_id", 64, &boot, e) < 0)
        return -1;
    const char *id = text_trim(boot.data);
    if (read_known(h, id, ret))
        return 0;
    /* Two measurements may differ, and it is part of a snapshot's key: all processes go by the first. */
    struct error why = {0};
    cleanup_fd int lock =
        home_lock(h, "tsc", "measuring the processor's counter", deadline_in_ms(LOCK_MS), NULL, &why);
    if (lock < 0)
        log_warning("the processor's counter is measured each time: %s", why.text);
    if (read_known(h, id, ret))
        return 0;
    *ret = measure();
    cleanup_free char *line = text_format("%s %llu\n", id, (unsigned long long)*ret);
    home_cache_write(h, CACHE, line);
    return 0;
}
