/*
 * What a program sees of its clocks: run in a guest and on its host, the two are compared (tests/vm/kvm.py). It is no script, so
 * that it costs little where KVM emulates the kernel.
 *
 *   clocks SECONDS
 *
 * Prints two lines of JSON. When it begins: wall and monotonic clock, in seconds, and which clock the kernel uses; and a sum of
 * floating numbers. When it ends:
 * the clocks again; how often each went backwards; the rate of the TSC against the monotonic clock, in kHz; how far the wall
 * clock moved against the monotonic one, in seconds; how late it was woken from the sleep that took longest.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>

#define TRIES 50
#define NAP 50000000

enum { TSC, MONOTONIC, WALL, CLOCKS };

struct moment {
    int64_t at[CLOCKS]; /* in ticks and ns */
};

static int64_t now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static struct moment look(void)
{
    return (struct moment){{(int64_t)__rdtsc(), now_ns(CLOCK_MONOTONIC), now_ns(CLOCK_REALTIME)}};
}

/* All clocks at one moment, as nearly as a program that may be interrupted can: the closest of some readings. */
static struct moment look_closely(void)
{
    struct moment best = {0};
    int64_t least = INT64_MAX;
    for (int i = 0; i < TRIES; i++) {
        struct moment m = look();
        int64_t spread = (int64_t)__rdtsc() - m.at[TSC];
        if (spread < least) {
            least = spread;
            best = m;
            best.at[TSC] += spread / 2;
        }
    }
    return best;
}

/* One that is right only if no rounding of many was lost. */
static double number(void)
{
    volatile double sum = 0;
    for (int i = 0; i < 1000000; i++)
        sum += 1.0 / (i + 1);
    return sum;
}

static void print_kernel_clock(void)
{
    char name[64] = "";
    FILE *f = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
    if (f) {
        if (!fgets(name, sizeof name, f))
            name[0] = '\0';
        fclose(f);
    }
    name[strcspn(name, "\n")] = '\0';
    printf("\"clock\": \"%s\", \"number\": %.17g}\n", name, number());
    fflush(stdout);
}

static void print_clocks(void)
{
    printf("{\"wall\": %.9f, \"monotonic\": %.9f, ", (double)now_ns(CLOCK_REALTIME) / 1e9,
           (double)now_ns(CLOCK_MONOTONIC) / 1e9);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 3;
    int backwards[CLOCKS] = {0};
    int64_t moved = 0, late = 0;

    struct moment begin = look_closely(), last = begin, now = begin;
    print_clocks();
    print_kernel_clock();
    while ((double)(now.at[MONOTONIC] - begin.at[MONOTONIC]) < seconds * 1e9) {
        for (int i = 0; i < 200; i++) {
            now = look();
            for (int c = 0; c < CLOCKS; c++)
                backwards[c] += now.at[c] < last.at[c];
            last = now;
        }
        int64_t asleep = now_ns(CLOCK_MONOTONIC);
        nanosleep(&(struct timespec){0, NAP}, NULL);
        int64_t slept = now_ns(CLOCK_MONOTONIC) - asleep - NAP;
        late = slept > late ? slept : late;
        now = look_closely();
        int64_t apart = llabs((now.at[WALL] - now.at[MONOTONIC]) - (begin.at[WALL] - begin.at[MONOTONIC]));
        moved = apart > moved ? apart : moved;
    }
    print_clocks();
    printf("\"backwards\": [%d, %d, %d], \"khz\": %.0f, \"moved\": %.9f, \"late\": %.9f}\n", backwards[TSC],
           backwards[MONOTONIC], backwards[WALL],
           (double)(now.at[TSC] - begin.at[TSC]) * 1e6 / (double)(now.at[MONOTONIC] - begin.at[MONOTONIC]),
           (double)moved / 1e9, (double)late / 1e9);
    return 0;
}
