/*
 * pool_run: runs one program again and again from a pool of its own, without HTTP; for tests/bench/api, which talks to
 * it by lines. "fill": waits until the pool is full, and prints "full". "run": prints how many ms a run took.
 *
 *   pool_run LANGUAGE SIZE CODE
 */
#include "base/cleanup.h"
#include "base/log.h"
#include "core/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS 120000

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

static void fill(struct pool *p, const struct pool_target *t)
{
    struct pool_stats s;

    for (int64_t end = deadline_in_ms(WAIT_MS); clock_monotonic_ns() < end; usleep(20000)) {
        pool_stats(p, t, &s);
        if (s.ready >= s.size && s.ending == 0) {
            printf("full\n");
            return;
        }
    }
    fprintf(stderr, "Error: the pool does not fill: %s\n", s.failure.text);
    exit(1);
}

static void run(struct pool *p, struct pool_target *t, const char *code)
{
    struct run_output output = {.max = 4096};
    struct buffer text = {0};
    struct sources sources = {0};
    struct run_result result;
    const struct run_request request = {
        .sources = &sources, .stdin_fd = -1, .on_output = run_output_add, .context = &output};
    int64_t start = clock_monotonic_ns();

    buffer_add(&text, code, strlen(code));
    sources_add_code(&sources, &text, NULL, &error);
    check(pool_run(p, t, &nobody, &request, &(struct pool_turn){.deadline = deadline_in_ms(WAIT_MS)}, &result,
                   &error),
          "run");
    double ms = (double)(clock_monotonic_ns() - start) / 1e6;
    if (!result.run.end || result.run.exit_code != 0) {
        fprintf(stderr, "Error: the program ended otherwise\n");
        exit(1);
    }
    printf("%.3f\n", ms);
    run_output_free(&output);
    sources_done(&sources);
}

int main(int argc, char **argv)
{
    const struct pool_options options = {0};
    struct config config;
    struct run_target target;
    struct pool_target *t;
    struct pool *p;
    char line[16];

    if (argc != 4)
        return fprintf(stderr, "usage: pool_run LANGUAGE SIZE CODE\n"), 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    log_set_level(LOG_QUIET);
    check(config_load(&config, &error), "configuration");
    check(host_open(&host, &config, &error), "host");
    check(pool_open(&p, &host, &options, &error), "pool");
    check(target_open(&target, &host, &nobody,
                      &(struct target_wish){.language = argv[1], .start = TARGET_RESTORE}, &error),
          argv[1]);
    check(pool_add(p, &nobody, &target, (unsigned)atoi(argv[2]), &t, &error), argv[1]);
    while (fgets(line, sizeof(line), stdin)) {
        if (strcmp(line, "fill\n") == 0)
            fill(p, t);
        else
            run(p, t, argv[3]);
    }
    pool_close(p);
    host_close(&host);
    return 0;
}
