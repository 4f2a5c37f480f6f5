/* service/lane: turns, shares and bounds of owners, and how many threads there are. */
/* also: threads */
#include "service/lane.h"

#include "base/deadline.h"
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#define WAIT_MS 20000
#define WORKS_MAX 600

/* Work that goes on until it is let go. */
struct work {
    struct lane_ticket ticket;
    bool running, may_end, ended;
    unsigned place; /* in the order of those that began */
};

static struct lane lane;
static struct work works[WORKS_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned begun;

static void do_work(struct lane_ticket *t, void *context)
{
    struct work *w = (struct work *)t; /* of which it is the first member */

    ck_assert_ptr_eq(context, works);
    pthread_mutex_lock(&lock);
    w->running = true;
    w->place = begun++;
    pthread_cond_broadcast(&changed);
    while (!w->may_end)
        pthread_cond_wait(&changed, &lock);
    w->running = false;
    w->ended = true;
    pthread_mutex_unlock(&lock);
}

static void open_lane(unsigned threads, unsigned waiting, bool shared)
{
    memset(works, 0, sizeof(works));
    begun = 0;
    lane_open(&lane, &(struct lane_bounds){threads, waiting, shared}, do_work, works);
}

static void let_end(unsigned i)
{
    pthread_mutex_lock(&lock);
    works[i].may_end = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void close_lane(void)
{
    for (unsigned i = 0; i < WORKS_MAX; i++)
        let_end(i);
    lane_close(&lane);
}

static void wait_until_running(unsigned i)
{
    pthread_mutex_lock(&lock);
    while (!works[i].running)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void push(const char *owner, unsigned i)
{
    struct refusal r = {0};

    ck_assert_msg(lane_push(&lane, owner, &works[i].ticket, &r) == 0, "%u: %s", i, r.text);
}

static void expect_refused(const char *owner, unsigned i, enum refusal_kind kind)
{
    struct refusal r = {0};

    ck_assert_int_eq(lane_push(&lane, owner, &works[i].ticket, &r), -1);
    ck_assert_int_eq(r.kind, kind);
    ck_assert_int_gt(r.retry_after, 0);
}

/* How many of an owner wait or are in work. */
struct sum {
    const char *owner;
    unsigned busy, waiting;
};

static void add(const char *owner, unsigned busy, unsigned waiting, void *context)
{
    struct sum *s = context;

    if (strcmp(owner, s->owner) == 0) {
        s->busy += busy;
        s->waiting += waiting;
    }
}

static struct sum sum_of(const char *owner)
{
    struct sum s = {.owner = owner};

    lane_each(&lane, add, &s);
    return s;
}

START_TEST(one_owner_cannot_take_all_threads)
{
    open_lane(16, 64, true);
    for (unsigned i = 0; i < 16; i++)
        push("attacker", i);
    ck_assert_uint_eq(sum_of("attacker").busy, 12);
    ck_assert_uint_eq(sum_of("attacker").waiting, 4);
    push("other", 16);
    wait_until_running(16);
    close_lane();
}
END_TEST

START_TEST(one_owner_cannot_fill_what_waits)
{
    open_lane(1, 16, true);
    push("attacker", 0);
    for (unsigned i = 1; i <= 12; i++)
        push("attacker", i);
    expect_refused("attacker", 13, REFUSAL_LIMIT);
    push("other", 14);
    push("other", 15);
    ck_assert_uint_eq(lane_used(&lane).waiting, 14);
    push("third", 16);
    push("fourth", 17);
    expect_refused("fifth", 18, REFUSAL_OVERLOAD);
    close_lane();
}
END_TEST

START_TEST(alone_an_owner_has_everything)
{
    open_lane(4, 2, false);
    for (unsigned i = 0; i < 6; i++)
        push("anonymous", i);
    ck_assert_uint_eq(lane_used(&lane).busy, 4);
    expect_refused("anonymous", 6, REFUSAL_OVERLOAD);
    close_lane();
}
END_TEST

/* Where there is one thread, turns are all there is to share. */
START_TEST(owners_take_turns)
{
    open_lane(1, 64, true);
    push("attacker", 0);
    wait_until_running(0);
    for (unsigned i = 1; i < 10; i++)
        push("attacker", i);
    push("other", 10);
    push("other", 11);
    push("third", 12);
    close_lane();
    ck_assert_uint_eq(works[10].place, 1);
    ck_assert_uint_eq(works[12].place, 2);
    ck_assert_uint_eq(works[1].place, 3);
    ck_assert_uint_eq(works[11].place, 4);
    ck_assert_uint_eq(works[2].place, 5);
}
END_TEST

/* Who comes again and again, one at a time, keeps nobody waiting. */
START_TEST(who_comes_back_is_not_first)
{
    open_lane(1, 64, true);
    push("a", 0);
    wait_until_running(0);
    push("a", 1);
    push("b", 2);
    let_end(0);
    wait_until_running(2);
    push("b", 3);
    let_end(2);
    wait_until_running(1);
    close_lane();
}
END_TEST

START_TEST(the_owner_with_the_least_is_next)
{
    open_lane(4, 64, false);
    push("a", 0);
    push("a", 1);
    push("b", 2);
    push("c", 3);
    push("a", 4);
    push("b", 5);
    let_end(3);
    wait_until_running(5);
    ck_assert_uint_eq(sum_of("a").waiting, 1);
    close_lane();
}
END_TEST

START_TEST(threads_of_a_burst_end)
{
    open_lane(500, 0, false);
    for (unsigned i = 0; i < 500; i++)
        push("anonymous", i);
    ck_assert_uint_eq(lane_used(&lane).threads, 500);
    for (unsigned i = 0; i < 500; i++)
        let_end(i);
    for (int64_t end = deadline_in_ms(WAIT_MS); lane_used(&lane).threads > LANE_THREADS_SPARE; usleep(1000))
        ck_assert(clock_monotonic_ns() < end);
    push("anonymous", 500);
    wait_until_running(500);
    ck_assert_uint_le(lane_used(&lane).threads, LANE_THREADS_SPARE);
    close_lane();
}
END_TEST

START_TEST(what_waits_can_be_taken_out)
{
    open_lane(1, 64, false);
    push("a", 0);
    wait_until_running(0);
    push("a", 1);
    push("a", 2);
    ck_assert(!lane_withdraw(&lane, &works[0].ticket));
    ck_assert(lane_withdraw(&lane, &works[2].ticket));
    ck_assert(!lane_withdraw(&lane, &works[2].ticket));
    push("a", 3);
    ck_assert_ptr_null(lane_expired(&lane, works[1].ticket.since));
    ck_assert_ptr_eq(lane_expired(&lane, works[1].ticket.since + 1), &works[1].ticket);
    ck_assert_uint_eq(lane_used(&lane).waiting, 1);
    close_lane();
    ck_assert(!works[1].ended && !works[2].ended && works[3].ended);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("lane");

    unit_add(&u, one_owner_cannot_take_all_threads);
    unit_add(&u, one_owner_cannot_fill_what_waits);
    unit_add(&u, alone_an_owner_has_everything);
    unit_add(&u, owners_take_turns);
    unit_add(&u, who_comes_back_is_not_first);
    unit_add(&u, the_owner_with_the_least_is_next);
    unit_add(&u, threads_of_a_burst_end);
    unit_add(&u, what_waits_can_be_taken_out);
    return unit_end(&u);
}
