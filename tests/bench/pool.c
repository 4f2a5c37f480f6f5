/*
 * pool: measures runs from a pool, by the library that the program itself is made of. Prints medians, spread and
 * ratios; judges nothing but that every run printed what it should.
 *
 *   pool [--runs N] [--clients A,B,...] [--idle A,B,...] [--seconds N] [--rounds N]
 *   pool --tokens --runs N --clients A    only that: each run prints a token of its own
 *
 * Run by make bench, in CAPSID_HOME. SPAWN and TRUE name the guest programs for the second part
 * (tests/guest/bench_spawn.c, bench_true.c, static); without them that is left out. --rounds 0 leaves out the first
 * two.
 */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "core/pool.h"
#include "core/template.h"
#include "core/usage.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETTLE_S 15
#define WAIT_MS 120000
#define ECHOES 20 /* of a VM; the first are not counted */
#define SPAWNS "20"
/* Before each of what the first run in a fresh VM is compared with. That VM, the older of two, has idled longer. */
#define IDLE_MS 100
#define IDLE_SPAWNS 5
#define PIDS_MAX 1024

static struct host host;
static const struct call nobody = {.cancel = {.fd = -1}};
static struct error error;

static void check(int result, const char *what)
{
    if (result >= 0)
        return;
    fprintf(stderr, "Error: %s: %s\n", what, error.text);
    exit(1);
}

/* ---- numbers ------------------------------------------------------------------------------------- */

struct samples {
    double *ms; /* owned */
    size_t count, room;
};

static void put(struct samples *s, double ms)
{
    if (s->count == s->room) {
        s->room = s->room ? 2 * s->room : 64;
        s->ms = realloc(s->ms, s->room * sizeof(*s->ms));
        if (!s->ms)
            abort();
    }
    s->ms[s->count++] = ms;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double quantile(struct samples *s, double q)
{
    if (s->count == 0)
        return 0;
    qsort(s->ms, s->count, sizeof(*s->ms), compare);
    return s->ms[(size_t)(q * (double)(s->count - 1) + 0.5)];
}

static double row(const char *name, struct samples *s)
{
    printf("  %-52s %9.3f ms   %9.3f .. %.3f\n", name, quantile(s, 0.5), quantile(s, 0.1), quantile(s, 0.9));
    return quantile(s, 0.5);
}

static double since(int64_t start)
{
    return (double)(clock_monotonic_ns() - start) / 1e6;
}

/* ---- pools --------------------------------------------------------------------------------------- */

/* unprimed: as if no interpreter waited in the snapshot; the pool warms such VMs up by starting a program. */
static struct pool *open_pool(const char *language, bool unprimed, unsigned size, unsigned max,
                              struct pool_target **ret)
{
    const struct pool_options options = {.max_vms = max, .max_waiters = 1024};
    const struct target_wish wish = {.language = language, .start = TARGET_RESTORE};
    struct run_target target;
    struct pool *p;

    check(pool_open(&p, &host, &options, &error), "pool");
    check(target_open(&target, &host, &nobody, &wish, &error), language);
    if (unprimed)
        target.snapshot.primed_job = 0;
    check(pool_add(p, &nobody, &target, size, ret, &error), language);
    return p;
}

static void wait_filled(struct pool *p, const struct pool_target *t)
{
    struct pool_stats s;

    for (int64_t end = deadline_in_ms(WAIT_MS); clock_monotonic_ns() < end; usleep(20000)) {
        pool_stats(p, t, &s);
        if (s.ready >= s.size)
            return;
    }
    fprintf(stderr, "Error: only %u of %u VMs became ready: %s%s\n", s.ready, s.size, s.failure.text,
            s.memory_bound ? " (memory)" : "");
    exit(1);
}

/* ---- one program --------------------------------------------------------------------------------- */

static int take_text(void *buffer, int channel, const void *data, size_t size, struct error *e)
{
    (void)channel, (void)e;
    buffer_add(buffer, data, size);
    return 0;
}

/* argv: words with their NULs */
static double execute(struct guest *g, const char *argv, size_t size, struct buffer *ret)
{
    const struct job_io io = {.stdin_fd = -1, .on_output = take_text, .context = ret};
    const struct msg_exec m = {.argv = {.data = argv, .size = (uint32_t)size}, .cwd = "/"};
    struct msg_exit end;
    int64_t start = clock_monotonic_ns();

    check(guest_run_job(g, &m, NULL, &io, deadline_in_ms(WAIT_MS), &end, &error), argv);
    double took = since(start);
    if (end.cause != PROTO_CAUSE_EXITED || end.status != 0) {
        fprintf(stderr, "Error: %s ended with cause %u, status %u\n", argv, end.cause, (unsigned)end.status);
        exit(1);
    }
    return took;
}

struct trips {
    struct samples first, again, echo, spawn;
    struct samples idle_echo, idle_spawn; /* each after a pause as long as the one before the first run */
};

/* Static, so that it is the starting of a program that is measured, not the loading of libraries. */
#define TRUE "/run/true"

static void put_program(struct guest *g, const char *path, const struct buffer *program)
{
    check(guest_write_file(g, path, S_IFREG | 0755, 0, 0, 0, program->data, program->size,
                           deadline_in_ms(WAIT_MS), &error),
          path);
}

#define TEXT(number) TEXT_OF(number)
#define TEXT_OF(number) #number

/* Words of a program that starts TRUE without initd, and prints how many ns each time took. */
#define SPAWN(count) "/run/spawn\0" count "\0plain\0" TRUE

static void spawn_inside(struct guest *g, const char *argv, size_t size, struct samples *ret)
{
    cleanup_buffer struct buffer out = {0};

    execute(g, argv, size, &out);
    buffer_add(&out, "", 1);
    double ns;
    for (char *at = out.data; (ns = strtod(at, &at)) > 0;)
        put(ret, ns / 1e6);
}

static double echo(struct guest *g)
{
    int64_t start = clock_monotonic_ns();

    check(guest_ping(g, deadline_in_ms(WAIT_MS), &error), "ping");
    return since(start);
}

/* What idles grows cold: the processor's caches, and the host's tables of the VM's memory. */
static void idle_trips(struct guest *g, struct trips *r)
{
    static const char argv[] = SPAWN(TEXT(IDLE_SPAWNS) "/" TEXT(IDLE_MS));

    for (int i = 0; i < IDLE_SPAWNS; i++) {
        usleep(IDLE_MS * 1000);
        put(&r->idle_echo, echo(g));
    }
    spawn_inside(g, argv, sizeof(argv), &r->idle_spawn);
}

/* A fresh VM: what the first program costs from the taking on; then, in turns, what echo and programs cost. */
static void round_trip(struct pool *p, struct pool_target *t, const struct buffer programs[2],
                       struct trips *r)
{
    static const char spawn[] = SPAWN(SPAWNS);
    cleanup_buffer struct buffer out = {0};
    struct pool_vm *vm;

    wait_filled(p, t);
    usleep(IDLE_MS * 1000);
    int64_t start = clock_monotonic_ns();
    check(pool_take(p, t, deadline_in_ms(WAIT_MS), NULL, &vm, &error), "take");
    struct guest *g = &pool_machine(vm)->guest;
    double taking = since(start);
    put_program(g, TRUE, &programs[1]);
    put(&r->first, taking + execute(g, TRUE, sizeof(TRUE), &out));
    put_program(g, "/run/spawn", &programs[0]);
    wait_filled(p, t); /* the VM that comes instead of this one, so that its making does not count */
    for (int i = 0; i < ECHOES; i++) {
        double answer = echo(g), again = execute(g, TRUE, sizeof(TRUE), &out);
        if (i >= ECHOES / 4) {
            put(&r->echo, answer);
            put(&r->again, again);
        }
    }
    spawn_inside(g, spawn, sizeof(spawn), &r->spawn);
    idle_trips(g, r);
    pool_discard(p, vm);
}

static void round_trips(unsigned rounds)
{
    const char *const paths[] = {getenv("SPAWN"), getenv("TRUE")};
    struct buffer programs[2] = {0};
    struct trips r = {0};
    struct pool_target *t;

    if (!paths[0] || !paths[1])
        return;
    for (int i = 0; i < 2; i++) {
        check(file_read(paths[i], 1 << 20, &programs[i], &error), paths[i]);
        programs[i].size--; /* the NUL that file_read() adds */
    }
    struct pool *p = open_pool("sh", true, 2, 4, &t);
    for (unsigned i = 0; i < rounds; i++)
        round_trip(p, t, programs, &r);
    pool_close(p);
    printf("%s from a pool, the image of sh; %u fresh VMs; median, 10th .. 90th percentile\n", TRUE, rounds);
    row("take and first run in a fresh VM", &r.first);
    double again = row("run again in the same VM", &r.again);
    double bare = row("echo (PING)", &r.echo) + row("bare fork, exec and wait inside the guest", &r.spawn);
    double idle = row("echo after " TEXT(IDLE_MS) " ms of idling", &r.idle_echo) +
                  row("bare fork, exec and wait after as much", &r.idle_spawn);
    double first = quantile(&r.first, 0.5);
    printf("  first run / (echo + fork and exec) %.2f, to those after idling %.2f;  run again / (echo + fork "
           "and exec) %.2f\n",
           first / bare, first / idle, again / bare);
    buffer_free(&programs[0]);
    buffer_free(&programs[1]);
}

/* ---- restore and boot ---------------------------------------------------------------------------- */

static void open_target(struct run_target *ret, bool cold)
{
    const struct target_wish wish = {.language = "python", .start = cold ? TARGET_BOOT : TARGET_RESTORE};

    check(target_open(ret, &host, &nobody, &wish, &error), "python");
}

/* From nothing to RESUME confirmed, which both wait for. */
static double load_once(const struct run_target *target, const struct vm_template *template)
{
    struct machine m;
    int64_t start = clock_monotonic_ns();

    check(target_load(&m, &host, &nobody, target, template, &error), "load");
    double took = since(start);
    machine_destroy(&m);
    return took;
}

static void restores(unsigned rounds)
{
    struct samples boot = {0}, file = {0}, memory = {0};
    struct run_target cold, warm;
    struct template *template;

    open_target(&cold, true);
    open_target(&warm, false);
    check(template_load(&template, &warm.snapshot, NULL, &error), "template");
    for (unsigned i = 0; i < rounds; i++) {
        put(&boot, load_once(&cold, NULL));
        put(&file, load_once(&warm, NULL));
        put(&memory, load_once(&warm, template_files(template)));
    }
    printf("python, until RESUME is confirmed, %u rounds in turns; median, 10th .. 90th percentile\n",
           rounds);
    double all = row("cold boot", &boot),
           one = row("restored, from the snapshot's files (capsid run)", &file);
    double pooled = row("restored, from a template in memory (pool)", &memory);
    printf("  restored / cold boot: files %.3f, template %.3f\n", one / all, pooled / all);
    template_unref(template);
    target_done(&warm);
    target_done(&cold);
}

/* ---- many clients -------------------------------------------------------------------------------- */

struct load {
    struct pool *pool;
    struct pool_target *target;
    unsigned runs;
    atomic_uint next, failed;
    pthread_mutex_t lock;
    struct samples took, waited;
};

static int run_token(struct load *l, unsigned number, struct error *e)
{
    struct run_output output = {.max = 4096};
    struct sources sources = {0};
    struct buffer code = {0};
    struct run_result result;
    const struct run_request request = {
        .sources = &sources, .stdin_fd = -1, .on_output = run_output_add, .context = &output};
    cleanup_free char *wanted = text_format("token %u %d\n", number, (int)getpid());
    int64_t start = clock_monotonic_ns();

    buffer_add_text(&code, "print('token', %u, %d)\n", number, (int)getpid());
    sources_add_code(&sources, &code, NULL, e);
    int status = pool_run(l->pool, l->target, &nobody, &request,
                          &(struct pool_turn){.deadline = deadline_in_ms(WAIT_MS)}, &result, e);
    double took = since(start);
    if (status == 0 && (!output.channel[0].data || strcmp(output.channel[0].data, wanted) != 0))
        status =
            error_set(e, ERROR_GENERAL, "run %u printed \"%.100s\" (%s)", number,
                      output.channel[0].data ? output.channel[0].data : "", run_end_name(result.run.end));
    pthread_mutex_lock(&l->lock);
    put(&l->took, took);
    put(&l->waited, (double)result.load_ns / 1e6);
    pthread_mutex_unlock(&l->lock);
    run_output_free(&output);
    sources_done(&sources);
    return status;
}

static void *client(void *load)
{
    struct load *l = load;

    for (unsigned number; (number = atomic_fetch_add(&l->next, 1)) < l->runs;) {
        struct error e = {0};
        if (run_token(l, number, &e) < 0) {
            atomic_fetch_add(&l->failed, 1);
            fprintf(stderr, "Error: %s\n", e.text);
        }
    }
    return NULL;
}

static unsigned run_load_of(unsigned clients, unsigned runs)
{
    struct load l = {.runs = runs, .lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t *threads = memory_allocate(clients * sizeof(*threads));

    l.pool = open_pool("python", false, clients < 8 ? clients + 1 : 8, 2 * clients + 2, &l.target);
    wait_filled(l.pool, l.target);
    int64_t start = clock_monotonic_ns();
    for (unsigned i = 0; i < clients; i++)
        if (pthread_create(&threads[i], NULL, client, &l) != 0)
            abort();
    for (unsigned i = 0; i < clients; i++)
        pthread_join(threads[i], NULL);
    double seconds = since(start) / 1000;
    pool_close(l.pool);
    printf("  %u clients: %u runs, %u failed, %.1f runs/s; p50 %.0f, p95 %.0f, p99 %.0f ms; waited p50 %.1f, "
           "p99 %.1f ms\n",
           clients, runs, (unsigned)l.failed, (double)runs / seconds, quantile(&l.took, 0.5),
           quantile(&l.took, 0.95), quantile(&l.took, 0.99), quantile(&l.waited, 0.5),
           quantile(&l.waited, 0.99));
    fflush(stdout);
    free(threads);
    free(l.took.ms);
    free(l.waited.ms);
    return l.failed;
}

/* ---- idle ---------------------------------------------------------------------------------------- */

static int64_t own_cpu_ns(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000ll +
           (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000ll;
}

static void idle(unsigned size, unsigned seconds)
{
    static pid_t pids[PIDS_MAX];
    struct samples unique = {0}, private = {0};
    struct pool_target *t;
    struct pool_stats s;
    double sum = 0;
    int64_t cpu = 0;
    struct pool *p = open_pool("python", false, size, size, &t);

    wait_filled(p, t);
    usleep(SETTLE_S *
           1000000); /* a restored guest catches up with its timers: some 10 ms of computing, once */
    size_t count = pool_pids(p, t, true, pids, PIDS_MAX);
    int64_t start = clock_monotonic_ns(), own = own_cpu_ns();
    for (size_t i = 0; i < count; i++)
        cpu -= usage_cpu_ns(pids[i]);
    usleep(seconds * 1000000);
    for (size_t i = 0; i < count; i++)
        cpu += usage_cpu_ns(pids[i]);
    own = own_cpu_ns() - own;
    double took = since(start) * 1e6;
    for (size_t i = 0; i < count; i++) {
        double mib = (double)usage_unique(pids[i]) / (1 << 20);
        put(&unique, mib);
        put(&private, (double)usage_private(pids[i]) / (1 << 20));
        sum += mib;
    }
    pool_stats(p, t, &s);
    printf("  %2u idle VMs: unique %.1f MiB each (%.1f .. %.1f), %.0f MiB together, mapped by it alone %.1f; "
           "template "
           "%.1f MiB; CPU of the VMs %.2f %%, of the supervisor %.2f %% of a core; replaced %llu\n",
           size, quantile(&unique, 0.5), quantile(&unique, 0), quantile(&unique, 1), sum,
           quantile(&private, 0.5), (double)s.template_size / (1 << 20), 100 * (double)cpu / took,
           100 * (double)own / took, (unsigned long long)(s.lost + s.unanswered));
    fflush(stdout);
    free(unique.ms);
    free(private.ms);
    pool_close(p);
}

/* ---- main ---------------------------------------------------------------------------------------- */

/* Calls visit with each number of a list. */
static unsigned each(const char *list, unsigned (*visit)(unsigned, unsigned), unsigned argument)
{
    unsigned sum = 0;

    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
        sum += visit((unsigned)atoi(p), argument);
    return sum;
}

static unsigned visit_idle(unsigned size, unsigned seconds)
{
    idle(size, seconds);
    return 0;
}

int main(int argc, char **argv)
{
    const char *clients = "1,2,4,8", *idles = "1,10,50";
    unsigned runs = 1000, seconds = 60, rounds = 30;
    bool tokens = false;
    struct config config;

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--tokens") == 0)
            tokens = true;
        else if (strcmp(argv[i], "--runs") == 0)
            runs = (unsigned)atoi(value), i++;
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = (unsigned)atoi(value), i++;
        else if (strcmp(argv[i], "--rounds") == 0)
            rounds = (unsigned)atoi(value), i++;
        else if (strcmp(argv[i], "--clients") == 0)
            clients = value, i++;
        else if (strcmp(argv[i], "--idle") == 0)
            idles = value, i++;
        else
            return fprintf(stderr, "Error: unknown option %s\n", argv[i]), 2;
    }
    log_set_level(LOG_PROGRESS);
    check(config_load(&config, &error), "configuration");
    check(host_open(&host, &config, &error), "host");
    if (!tokens && rounds) {
        restores(rounds);
        round_trips(rounds);
    }
    printf("python, print of a token, a fresh VM for each run\n");
    unsigned failed = each(clients, run_load_of, runs);
    if (!tokens && idles[0]) {
        printf("pools that nobody uses, %d s after they were filled, for %u s; mapped by it alone: with the "
               "VMM's program and what it has "
               "touched of the template, while no other VM has\n",
               SETTLE_S, seconds);
        each(idles, visit_idle, seconds);
    }
    host_close(&host);
    return failed ? 1 : 0;
}
