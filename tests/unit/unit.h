/*
 * unit: what the unit tests share. A test program is
 *
 *   START_TEST(cuts_at_the_limit) { ... } END_TEST
 *
 *   int main(void)
 *   {
 *       struct unit u = unit_begin("wire");
 *       unit_add(&u, cuts_at_the_limit);
 *       return unit_end(&u);
 *   }
 *
 * Each test runs in a process of its own, and fails when it leaves a file descriptor open.
 */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <check.h>

#include <dirent.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define UNIT_TIMEOUT 60 /* seconds for one test; slow machines and sanitizers included */

struct unit {
    Suite *suite;
    TCase *tests;
};

static int unit_open_files_before;

static inline int unit_open_files(void)
{
    int count = 0;
    DIR *d = opendir("/proc/self/fd");

    ck_assert_ptr_nonnull(d);
    while (readdir(d))
        count++;
    closedir(d);
    return count;
}

static inline void unit_setup(void)
{
    unit_open_files_before = unit_open_files();
}

static inline void unit_teardown(void)
{
    ck_assert_msg(unit_open_files() == unit_open_files_before,
                  "%d file descriptors before the test, %d after", unit_open_files_before, unit_open_files());
}

static inline struct unit unit_begin(const char *name)
{
    struct unit u = {.suite = suite_create(name), .tests = tcase_create(name)};

    tcase_set_timeout(u.tests, UNIT_TIMEOUT);
    tcase_add_checked_fixture(u.tests, unit_setup, unit_teardown);
    suite_add_tcase(u.suite, u.tests);
    return u;
}

#define unit_add(u, test) tcase_add_test((u)->tests, test)

/* What runs before and after each test, inside the leak check. */
#define unit_fixture(u, setup, teardown) tcase_add_checked_fixture((u)->tests, setup, teardown)

/* Runs test with _i from 0 to count - 1. */
#define unit_add_loop(u, test, count) tcase_add_loop_test((u)->tests, test, 0, (int)(count))

static inline int unit_end(struct unit *u)
{
    SRunner *runner = srunner_create(u->suite);

    srunner_run_all(runner, CK_NORMAL);
    int ran = srunner_ntests_run(runner), failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return ran > 0 && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* A copy in a block of exactly that size, so that the address sanitizer sees the first byte too far.
 * The caller frees it. */
static inline void *unit_exact(const void *data, size_t size)
{
    void *p = malloc(size);

    ck_assert(p || size == 0);
    if (size > 0)
        memcpy(p, data, size);
    return p;
}

/* Numbers that look random and are the same in every run. */
static inline uint32_t unit_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

#endif
