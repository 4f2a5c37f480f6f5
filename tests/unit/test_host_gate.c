/* base/gate: order, bound, deadline and cancel of those who wait. */
/* also: threads */
#include "base/gate.h"

#include "unit.h"

#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define WAIT_MS 20000

struct guest_of {
    struct gate *gate;
    struct cancel cancel;
    int64_t deadline;
    int result;
    struct error error;
    atomic_uint *order;
    unsigned place; /* in the order of those who came in */
    pthread_t thread;
};

static unsigned waiting(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    unsigned count = g->line.count;
    pthread_mutex_unlock(&g->lock);
    return count;
}

static void *enter(void *context)
{
    struct guest_of *who = context;

    who->result = gate_enter(who->gate, who->deadline, &who->cancel, &who->error);
    if (who->result == 0)
        who->place = atomic_fetch_add(who->order, 1);
    if (who->result == 0)
        gate_leave(who->gate);
    return NULL;
}

/* Starts it, and comes back when it waits. */
static void start(struct guest_of *who)
{
    unsigned before = waiting(who->gate);

    ck_assert_int_eq(pthread_create(&who->thread, NULL, enter, who), 0);
    for (int64_t end = deadline_in_ms(WAIT_MS); waiting(who->gate) == before;) {
        ck_assert(clock_monotonic_ns() < end);
        usleep(1000);
    }
}

START_TEST(first_come_first_served)
{
    struct guest_of all[8];
    atomic_uint order = 0;
    struct error e = {0};
    struct gate g;

    gate_open(&g, 1, 8, "no place was free");
    ck_assert_int_eq(gate_enter(&g, DEADLINE_NEVER, NULL, &e), 0);
    for (unsigned i = 0; i < 8; i++) {
        all[i] = (struct guest_of){.gate = &g, .cancel.fd = -1, .deadline = DEADLINE_NEVER, .order = &order};
        start(&all[i]);
    }
    ck_assert_int_eq(gate_enter(&g, DEADLINE_NEVER, NULL, &e), -1); /* the bound */
    ck_assert_int_eq(e.kind, ERROR_BUSY);
    gate_leave(&g);
    for (unsigned i = 0; i < 8; i++) {
        pthread_join(all[i].thread, NULL);
        ck_assert_int_eq(all[i].result, 0);
        ck_assert_uint_eq(all[i].place, i);
    }
    ck_assert_int_eq(gate_enter(&g, 0, NULL, &e), 0); /* free again */
    gate_leave(&g);
    gate_close(&g);
}
END_TEST

START_TEST(who_gives_up_leaves_the_line)
{
    const int fd = eventfd(0, EFD_CLOEXEC);
    atomic_uint order = 0;
    struct error e = {0};
    struct gate g;

    gate_open(&g, 2, 8, "no place was free");
    ck_assert_int_eq(gate_enter(&g, DEADLINE_NEVER, NULL, &e), 0);
    ck_assert_int_eq(gate_enter(&g, DEADLINE_NEVER, NULL, &e), 0);
    ck_assert_int_eq(gate_enter(&g, deadline_in_ms(10), NULL, &e), -1);
    ck_assert_int_eq(e.kind, ERROR_BUSY);
    struct guest_of quits = {.gate = &g, .cancel.fd = fd, .deadline = DEADLINE_NEVER, .order = &order};
    struct guest_of stays = {.gate = &g, .cancel.fd = -1, .deadline = DEADLINE_NEVER, .order = &order};
    start(&quits);
    start(&stays);
    ck_assert_int_eq(eventfd_write(fd, 1), 0);
    pthread_join(quits.thread, NULL);
    ck_assert_int_eq(quits.result, -1);
    ck_assert_int_eq(quits.error.kind, ERROR_CANCELLED);
    ck_assert_uint_eq(waiting(&g), 1);
    gate_leave(&g);
    pthread_join(stays.thread, NULL);
    ck_assert_int_eq(stays.result, 0);
    gate_leave(&g);
    ck_assert_uint_eq(g.busy, 0);
    gate_close(&g);
    close(fd);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("gate");

    unit_add(&u, first_come_first_served);
    unit_add(&u, who_gives_up_leaves_the_line);
    return unit_end(&u);
}
