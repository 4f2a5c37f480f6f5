/* core/admission: what fits, whose turn it is, what one owner leaves to others. */
/* also: threads */
#include "core/admission.h"

#include "unit.h"

#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define WAIT_MS 20000

static struct admission *a;
static struct error e;

/* Someone who wants a VM, in a thread of its own. */
struct wanting {
    struct admission_wish wish;
    struct cancel cancel;
    int64_t deadline;
    int result;
    struct error error;
    atomic_uint *turn;
    unsigned place; /* in the order of turns, from 1 */
    pthread_t thread;
};

static struct admission_wish small(const char *owner)
{
    return (struct admission_wish){owner, ADMISSION_POOLED, {.memory_mib = 100, .vcpus = 1}};
}

static void open_bounds(unsigned pooled, uint64_t memory_mib, bool shared)
{
    const struct admission_bounds b = {
        .vms = {[ADMISSION_POOLED] = pooled, [ADMISSION_OWN] = 4, [ADMISSION_SESSION] = 4},
        .memory_mib = memory_mib,
        .disk_mib = 1000,
        .waiting = 8};

    e = (struct error){0};
    a = admission_open(&b, shared);
}

static int enter(struct admission_wish w)
{
    return admission_enter(a, &w, 0, NULL, &e);
}

static void leave(struct admission_wish w)
{
    admission_leave(a, &w);
}

static unsigned waiting(void)
{
    return admission_used(a, NULL).waiting;
}

static void *want(void *context)
{
    struct wanting *w = context;

    w->result = admission_enter(a, &w->wish, w->deadline, &w->cancel, &w->error);
    if (w->result == 0)
        w->place = atomic_fetch_add(w->turn, 1) + 1;
    return NULL;
}

/* Comes back when it waits. */
static void start(struct wanting *w, struct admission_wish wish, atomic_uint *turn)
{
    unsigned before = waiting();

    *w = (struct wanting){.wish = wish, .cancel.fd = -1, .deadline = DEADLINE_NEVER, .turn = turn};
    ck_assert_int_eq(pthread_create(&w->thread, NULL, want, w), 0);
    for (int64_t end = deadline_in_ms(WAIT_MS); waiting() == before; usleep(1000))
        ck_assert(clock_monotonic_ns() < end);
}

static unsigned turn_of(struct wanting *w)
{
    pthread_join(w->thread, NULL);
    ck_assert_int_eq(w->result, 0);
    return w->place;
}

START_TEST(all_have_a_bound_of_each_thing)
{
    struct admission_wish disk = {"", ADMISSION_OWN, {.memory_mib = 10, .disk_mib = 600}};

    open_bounds(3, 250, false);
    ck_assert_int_eq(enter(small("")), 0);
    ck_assert_int_eq(enter(small("")), 0);
    ck_assert_int_lt(enter(small("")), 0); /* memory */
    ck_assert_int_eq(e.kind, ERROR_BUSY);
    ck_assert_int_eq(enter(disk), 0);
    ck_assert_int_lt(enter(disk), 0);
    leave(disk);
    ck_assert_int_eq(enter(disk), 0);
    ck_assert_uint_eq(admission_used(a, NULL).memory_mib, 210);
    ck_assert_uint_eq(admission_used(a, NULL).disk_mib, 600);
    ck_assert_uint_eq(admission_used(a, NULL).vms[ADMISSION_POOLED], 2);
    leave(disk);
    leave(small(""));
    leave(small(""));
    ck_assert_uint_eq(admission_used(a, NULL).memory_mib, 0);
    admission_close(a);
}
END_TEST

START_TEST(what_never_fits_is_told_at_once)
{
    open_bounds(3, 250, false);
    ck_assert_int_lt(enter((struct admission_wish){"", ADMISSION_OWN, {.memory_mib = 251}}), 0);
    ck_assert_int_eq(e.kind, ERROR_USAGE);
    ck_assert_int_lt(enter((struct admission_wish){"", ADMISSION_OWN, {.disk_mib = 1001}}), 0);
    ck_assert_int_eq(e.kind, ERROR_USAGE);
    admission_close(a);
}
END_TEST

START_TEST(one_of_several_owners_leaves_something)
{
    unsigned got = 0;

    open_bounds(8, 10000, true);
    while (enter(small("greedy")) == 0)
        got++;
    ck_assert_uint_eq(got, 6);
    ck_assert_int_eq(enter(small("other")), 0);
    ck_assert_int_eq(enter(small("third")), 0);
    leave(small("third"));
    leave(small("other"));
    while (got-- > 0)
        leave(small("greedy"));
    admission_close(a);
}
END_TEST

START_TEST(a_single_owner_has_all)
{
    open_bounds(8, 10000, false);
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(enter(small("")), 0);
    ck_assert_int_lt(enter(small("")), 0);
    for (int i = 0; i < 8; i++)
        leave(small(""));
    admission_close(a);
}
END_TEST

START_TEST(the_owner_with_the_fewest_is_next)
{
    struct wanting first, second, poor;
    atomic_uint turn = 0;

    open_bounds(2, 10000, false);
    ck_assert_int_eq(enter(small("rich")), 0);
    ck_assert_int_eq(enter(small("rich")), 0);
    start(&first, small("rich"), &turn);
    start(&second, small("rich"), &turn);
    start(&poor, small("poor"), &turn);
    leave(small("rich"));
    ck_assert_uint_eq(turn_of(&poor), 1);
    leave(small("rich"));
    ck_assert_uint_eq(turn_of(&first), 2);
    leave(small("poor"));
    ck_assert_uint_eq(turn_of(&second), 3);
    leave(small("rich"));
    leave(small("rich"));
    admission_close(a);
}
END_TEST

START_TEST(a_large_one_is_not_passed_by_its_like)
{
    const struct admission_wish large = {"one", ADMISSION_POOLED, {.memory_mib = 200}};
    struct wanting waits, behind;
    atomic_uint turn = 0;

    open_bounds(8, 250, false);
    ck_assert_int_eq(enter(small("one")), 0);
    start(&waits, large, &turn);
    start(&behind, (struct admission_wish){"one", ADMISSION_POOLED, {.memory_mib = 50}}, &turn);
    ck_assert_int_eq(enter((struct admission_wish){"two", ADMISSION_POOLED, {.memory_mib = 50}}), 0);
    leave(small("one"));
    ck_assert_uint_eq(turn_of(&waits), 1);
    leave((struct admission_wish){"two", ADMISSION_POOLED, {.memory_mib = 50}});
    ck_assert_uint_eq(turn_of(&behind), 2);
    leave(large);
    leave(behind.wish);
    admission_close(a);
}
END_TEST

START_TEST(kinds_do_not_wait_for_each_other)
{
    struct wanting pooled;
    atomic_uint turn = 0;

    open_bounds(1, 10000, false);
    ck_assert_int_eq(enter(small("")), 0);
    start(&pooled, small(""), &turn);
    ck_assert_int_eq(enter((struct admission_wish){"", ADMISSION_SESSION, {.memory_mib = 1}}), 0);
    leave((struct admission_wish){"", ADMISSION_SESSION, {.memory_mib = 1}});
    ck_assert_uint_eq(waiting(), 1);
    leave(small(""));
    ck_assert_uint_eq(turn_of(&pooled), 1);
    leave(small(""));
    admission_close(a);
}
END_TEST

START_TEST(who_gives_up_leaves_the_line)
{
    const int fd = eventfd(0, EFD_CLOEXEC);
    const struct admission_wish large = {"one", ADMISSION_POOLED, {.memory_mib = 200}};
    struct wanting quits = {.wish = large, .cancel.fd = fd, .deadline = DEADLINE_NEVER}, behind;
    atomic_uint turn = 0;

    open_bounds(8, 250, false);
    ck_assert_int_eq(enter(small("one")), 0);
    quits.turn = &turn;
    ck_assert_int_eq(pthread_create(&quits.thread, NULL, want, &quits), 0);
    for (int64_t end = deadline_in_ms(WAIT_MS); waiting() == 0; usleep(1000))
        ck_assert(clock_monotonic_ns() < end);
    start(&behind, small("one"), &turn);
    ck_assert_int_eq(eventfd_write(fd, 1), 0);
    pthread_join(quits.thread, NULL);
    ck_assert_int_eq(quits.result, -1);
    ck_assert_int_eq(quits.error.kind, ERROR_CANCELLED);
    ck_assert_uint_eq(turn_of(&behind), 1); /* which fits, now that nobody is before it */
    leave(small("one"));
    leave(small("one"));
    admission_close(a);
    close(fd);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("admission");

    unit_add(&u, all_have_a_bound_of_each_thing);
    unit_add(&u, what_never_fits_is_told_at_once);
    unit_add(&u, one_of_several_owners_leaves_something);
    unit_add(&u, a_single_owner_has_all);
    unit_add(&u, the_owner_with_the_fewest_is_next);
    unit_add(&u, a_large_one_is_not_passed_by_its_like);
    unit_add(&u, kinds_do_not_wait_for_each_other);
    unit_add(&u, who_gives_up_leaves_the_line);
    return unit_end(&u);
}
